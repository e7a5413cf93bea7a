"""torchrun: processes share what a command does; files and scores are those of one process."""

import json
import socket
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest

from tests.commands import pattern
from tests.conftest import write_videos
from utils.config import ROOT
from utils.image import write_image

# name -> command and folder of its data; torchrun is started once for all of them
COMMANDS = {
    "videos": ("test.py cdvd_tsp --device cpu", "videos"),
    "long": ("inference.py cdvd_tsp --device cpu --scale 1", "long"),
    "photos": ("test.py image_deblur --device cpu", "photos"),
    "pairs": ("generate.py sbdd --config tiny --min_img_size 50 --n_images 2", "pictures"),
    "stacks": (
        "generate.py irp --height 64 --width 64 --kernel_size 33 --blur 4 20 --ratios 1 5 50 "
        "--restorers denoise deconvolve --device cpu",
        "pictures",
    ),
}
# Every command meets at a port of its own, as the second one would find the first one's traces.
RUN_ALL = """
import json, os, sys
sys.path.insert(0, os.getcwd())
from methods import run

os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
for port, words in json.loads(sys.argv[1]):
    os.environ["MASTER_PORT"] = str(port)
    sys.argv = words
    code = run(words[0].partition(".")[0])
    assert code == 0, (words, code)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Data for every command, three or four items each."""
    root = tmp_path_factory.mktemp("shared")
    rng = np.random.default_rng(0)
    write_videos(root / "videos", "clips", {"a": 6, "b": 5, "c": 7})
    write_videos(root / "long", "frames", {"one": 9})
    for index in range(3):
        for kind in ("blurry", "sharp"):
            noise = rng.integers(0, 255, (40, 48, 3), np.uint8)
            write_image(root / "photos" / kind / f"{index}.png", noise)
    for index in range(4):
        write_image(root / f"pictures/p{index}.png", pattern((112, 120), index))
    return root


def words_of(name, root, output):
    command, data = COMMANDS[name]
    return [*command.split(), "--data_path", str(root / data), "--output_dir", str(output)]


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def said_by_two(root):
    """What two processes print; their results are in root/two/NAME."""
    (root / "run_all.py").write_text(RUN_ALL)
    commands = [words_of(name, root, root / "two" / name) for name in COMMANDS]
    commands = list(zip(free_ports(len(commands)), commands))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [sys.executable, *launcher, root / "run_all.py", json.dumps(commands)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def both(root, said_by_two, run_command):
    """A function from a command's name to the folders of one process and of two."""

    def folders(name):
        words = words_of(name, root, root / "one" / name)
        assert run_command(" ".join(words)) == (0, "")
        return root / "one" / name, root / "two" / name

    return folders


def files_of(folder, pattern="*"):
    """Content of the files below a folder, without the one that says where it lies."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob(pattern)
        if path.is_file() and path.name != "config.yaml"
    }


def scored(folder):
    """The rows of the scores, and the restored pictures."""
    scores = json.loads((folder / "scores.json").read_text())
    return scores["rows"], files_of(folder, "*.png")


def test_two_processes_restore_videos_as_one(both, said_by_two):
    one, two = map(scored, both("videos"))
    assert one == two and len(one[1]) == 12  # all but the first and last frame
    assert said_by_two.count("protocol cdvd, 6 images") == 1


def test_two_processes_restore_one_long_video_as_one(both):
    """Each takes a range of its frames, and reads the neighbours that these need."""
    one, two = (files_of(folder, "one/*.png") for folder in both("long"))
    assert one == two and len(one) == 9


def test_runs_for_parts_restore_photos_as_one(root, run_command):
    """Runs that know nothing of each other; the last call finds all results and scores them."""
    plain = f"inference.py image_deblur --device cpu --data_path {root / 'photos'} --output_dir"
    expected = root / "all"
    assert run_command(f"{plain} {expected}") == (0, "")
    folder = root / "parts"
    words = f"{plain} {folder} --skip_existing"
    for part in ("2/2", "1/2"):
        before = files_of(folder, "*.png")
        assert run_command(f"{words} --part {part}") == (0, "")
        assert before.items() <= files_of(folder, "*.png").items()
    assert not (folder / "scores.json").exists()
    assert run_command(words) == (0, "")
    assert len(json.loads((folder / "scores.json").read_text())["rows"]) == 3
    names = {f"{index}.png" for index in range(3)}
    found, wanted = (files_of(path, "*.png") for path in (folder, expected))
    assert {name: found[name] for name in names} == {name: wanted[name] for name in names}
    code, said = run_command(f"{words} --part 3/2")
    assert code == 2 and "give K/N" in said


def test_two_processes_restore_photos_as_one(both, said_by_two):
    one, two = map(scored, both("photos"))
    assert one == two and len(one[1]) == 3
    assert said_by_two.count("3 images") == 1


def test_two_processes_make_pairs_as_one(both, said_by_two):
    one, two = map(files_of, both("pairs"))
    for files in (one, two):
        del files["contact_sheet.jpg"]  # of what was made last
    assert one == two and len(one) == 3 * 8
    assert "process 0 of 2: 4 pairs made" in said_by_two
    assert "process 1" not in said_by_two  # the first one talks


def test_two_processes_make_stacks_as_one(both, root, run_command):
    one, two = both("stacks")
    # The labels are made by this call where the first process was done before the other.
    assert run_command(" ".join(words_of("stacks", root, two))) == (0, "")
    assert "splits.json" in files_of(one) and files_of(one) == files_of(two)
