"""What ends a run early, through every command: a full disk, Ctrl-C, a kill, a second run.

Nothing half is left under a final name.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from data.sample import sample_folder, sample_sequences
from tests.commands import contents, largest_file, pattern, sentence
from tests.utils.test_video import make_file
from utils import distributed
from utils.checkpoint import load_checkpoint
from utils.config import ROOT
from utils.image import is_image, read_image, write_image
from utils.video import VideoFile, is_video

STACKS = (
    "generate.py irp --height 64 --width 64 --kernel_size 21 --blur 2 10 --ratios 1 5 "
    "--restorers denoise --device cpu"
)
WINDOWS = "generate.py sbdd --config tiny --height 100 --width 130 --blur 1"
# name -> (command, kind of its data, bytes that its first results or later ones don't fit into)
WRITING = {
    "inference cdvd_tsp": ("inference.py cdvd_tsp --device cpu", "frames", 20_000),
    "inference cdvd_tsp, video": ("inference.py cdvd_tsp --device cpu --lossless", "video", 20_000),
    "inference image_deblur": ("inference.py image_deblur --device cpu", "frames", 20_000),
    "inference blur2vid": ("inference.py blur2vid --device cpu", "photo", 20_000),
    "inference irp": ("inference.py irp --task select --device cpu", "frames", 20_000),
    "test cdvd_tsp": ("test.py cdvd_tsp --device cpu", "pairs", 20_000),
    "test image_deblur": ("test.py image_deblur --device cpu", "pairs", 20_000),
    "generate pairs": ("generate.py sbdd --config tiny", "frames", 20_000),
    "generate shards": ("generate.py sbdd --config tiny --shards 9", "frames", 20_000),
    "generate clips": (f"{WINDOWS} --what clips", "frames", 20_000),
    "generate sequences": (f"{WINDOWS} --what sequences", "frames", 20_000),
    "generate irp": (STACKS, "frames", 6_000),
}
# kind of data -> its files
PATTERNS = {
    "frames": ["in/{}.png"],
    "photo": ["in/{}.png"],
    "pairs": ["in/blur/v/{}.png", "in/gt/v/{}.png"],
}


@pytest.fixture
def material(tmp_path):
    def make(kind: str) -> Path:
        if kind == "video":
            return make_file(tmp_path / "in.mp4", [40 * index for index in range(8)], (120, 160))
        for number in range(1 if kind == "photo" else 6):
            rng = np.random.default_rng(number)
            grain = rng.integers(0, 40, (120, 160, 3), dtype=np.uint8)
            picture = pattern((120, 160), number) // 2 + grain
            for file in PATTERNS[kind]:
                write_image(tmp_path / file.format(number), picture)
        return tmp_path / "in"

    return make


def whole(folder: Path) -> None:
    """Every file that has its final name can be read to its end."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file() or ".partial" in path.name:
            continue
        if is_image(path):
            read_image(path)
        elif is_video(path):
            assert len(list(VideoFile(path))) > 0
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".pt":
            load_checkpoint(path)


@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk(name, run_command, material, tmp_path):
    """No file may grow beyond a limit; then there is room again and the same command goes on."""
    command, kind, limit = WRITING[name]
    words = [command, "--data_path", material(kind), "--output_dir", tmp_path / "out"]
    with largest_file(limit):
        done = run_command(*words)
    sentence(done, "File too large", str(tmp_path / "out"))
    whole(tmp_path / "out")
    hidden = [path for path in (tmp_path / "out").rglob(".*") if path.is_file()]
    assert not hidden  # nothing half under another name either
    assert run_command(*words) == (0, "")


@pytest.mark.parametrize("method", ["image_deblur", "blur2vid"])
@pytest.mark.parametrize("limit", [3_000, 60_000])
def test_a_full_disk_while_training(method, limit, run_command, tmp_path, monkeypatch):
    """At the first checkpoint, or at the curves before it; the run can be started again."""
    monkeypatch.setattr(import_module(f"methods.{method}.train"), "ROOT", tmp_path)
    command = f"train.py {method} --config tiny --epochs 1 --save run"
    sample_folder()  # the samples are made while there is room
    sample_sequences()
    with largest_file(limit):
        done = run_command(command)
    sentence(done, str(tmp_path / "experiment/run"))
    assert re.search("File too large|the disk may be full", done[1])
    whole(tmp_path / "experiment/run")
    assert not list((tmp_path / "experiment/run").rglob(".*"))
    assert run_command(command) == (0, "")
    assert load_checkpoint(tmp_path / "experiment/run/last.pt")["step"] > 0


@pytest.mark.parametrize("name", WRITING)
def test_a_second_run_into_the_folder_is_refused(name, run_command, material, tmp_path):
    command, kind, _ = WRITING[name]
    out = tmp_path / "out"
    words = [command, "--data_path", material(kind), "--output_dir", out]
    said = f"another run is writing into {out}: wait for it, or choose another --output_dir"
    with distributed.only_run(out):
        sentence(run_command(*words), said)
        assert not contents(out).keys() - {".lock"}
    assert not (out / ".lock").exists()


def started(*words: object) -> subprocess.Popen:
    command = [sys.executable, *" ".join(map(str, words)).split()]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def stopped(process: subprocess.Popen, number: signal.Signals, begun: Callable[[], bool]) -> str:
    """Send a signal at a random time after the work has begun; returns what the process said."""
    deadline = time.monotonic() + 120
    while not begun() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.5))
    # Python drops an interrupt that arrives inside a destructor: a user presses the keys again.
    for _ in range(5):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
            break
    said = process.communicate(timeout=60)[1]
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), said
    return said


def test_training_interrupted_at_any_time_goes_on(run_command, tmp_path):
    """For a kill see tests/utils/test_training.py."""
    folder = tmp_path / "run"
    words = ["train.py image_deblur --config tiny --steps 1000000 --save", folder]
    said = stopped(started(*words), signal.SIGINT, (folder / "log.txt").is_file)
    assert "Traceback" not in said and "interrupted" in said
    whole(folder)
    step = load_checkpoint(folder / "last.pt")["step"]
    sentence(run_command(*words), f"{folder} already holds a run: add --resume to go on")
    assert run_command(*words, "--resume", "--max_minutes", 1e-6) == (0, "")
    assert load_checkpoint(folder / "last.pt")["step"] == step + 1


def times_of(folder: Path) -> dict[str, int]:
    """When its visible pictures were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.png")}


def test_photos_killed_at_any_time_go_on(run_command, material, tmp_path):
    source = material("frames")
    out = tmp_path / "out"
    for number in range(6, 80):
        shutil.copy(source / f"{number % 6}.png", source / f"{number}.png")
    command = "inference.py image_deblur --device cpu --no_report"
    words = [command, "--data_path", source, "--output_dir", out]
    stopped(started(*words), signal.SIGKILL, (out / "3.png").is_file)
    whole(out)
    earlier = times_of(out)
    assert 1 < len(earlier) < 80
    assert run_command(*words, "--skip_existing") == (0, "")
    now = times_of(out)
    assert earlier.items() <= now.items()
    assert len(now) == 80
    assert np.array_equal(read_image(out / "79.png"), read_image(out / "1.png"))


def test_stacks_interrupted_at_any_time_go_on(run_command, material, tmp_path):
    out = tmp_path / "out"
    words = [STACKS, "--n_images", 8, "--data_path", material("frames"), "--output_dir"]
    assert run_command(*words, tmp_path / "whole") == (0, "")
    process = started(*words, out)
    said = stopped(process, signal.SIGINT, (out / "records/scene2.json").is_file)
    assert "interrupted; what was finished before is kept" in said and "Traceback" not in said
    whole(out)
    assert 1 < len(list((out / "records").glob("*.json"))) < 48
    assert not (out / "IRP_label").exists()
    assert run_command(*words, out) == (0, "")
    made = contents(out)
    expected = contents(tmp_path / "whole")
    assert made.pop("config.yaml") and expected.pop("config.yaml")
    assert made == expected
