"""Files that want to do harm: none runs code or reaches outside its folder, each is one sentence.

And the source keeps it so.
"""

import ast
import io
import json
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from data.sequences import read_box
from methods import METHODS
from tests.commands import contents, pattern, sentence
from utils.errors import UserError
from utils.image import encode_image, write_image

ROOT = Path(__file__).resolve().parents[1]


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def _raw_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {"a": Evil(mark)}}))


def _header(path: Path, size: int, content: bytes) -> None:
    path.write_bytes(struct.pack("<Q", size) + content)


def _described(path: Path, network: str, arguments: str) -> None:
    from safetensors.numpy import save_file

    metadata = {"network": network, "arguments": arguments}
    metadata |= {"method": "image_deblur", "version": "0.1"}
    save_file({"a": np.zeros(3, np.float32)}, path, metadata=metadata)


def _saved(path: Path, mark: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Evil(mark)}, path)


def _old_format(path: Path, mark: Path) -> None:
    torch.save({"args": Evil(mark)}, path, _use_new_zipfile_serialization=False)


BEYOND = b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,9999]}}   '
# name -> writer(path, mark)
WEIGHTS = {
    "saved.pt": _saved,
    "old.pth": _old_format,
    "raw.pkl": _raw_pickle,
    "raw.pt": _raw_pickle,
    "long.safetensors": lambda path, mark: _header(path, 2**60, b"{}"),
    "cut.safetensors": lambda path, mark: _header(path, 500, b'{"a":{"dtype":"F32"'),
    "words.safetensors": lambda path, mark: _header(path, 9, b"no header"),
    "beyond.safetensors": lambda path, mark: _header(path, len(BEYOND), BEYOND),
    "module.safetensors": lambda path, mark: _described(path, "os.system", "{}"),
    "giant.safetensors": lambda path, mark: _described(path, "nafnet", '{"width": 1000000}'),
    "list.safetensors": lambda path, mark: _described(path, "nafnet", "[1, 2]"),
    "kinds.safetensors": lambda path, mark: _described(path, "nafnet", '{"width": "wide"}'),
    "lines.safetensors": lambda path, mark: _described(path, "nafnet", "{"),
}
READERS_OF_WEIGHTS = [
    "inference.py cdvd_tsp",
    "inference.py image_deblur",
    "inference.py blur2vid",
    "inference.py irp --data_path {picture}",  # its sample takes ten seconds to make
    "test.py hypercut",
    "generate.py hypercut --save_path gone.json",
]


@pytest.fixture
def mark(tmp_path):
    """Where evil files leave their mark; nothing may be there in the end."""
    (tmp_path / "outside").mkdir()
    yield tmp_path / "outside/mark"
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name, run_command, mark, tmp_path):
    WEIGHTS[name](tmp_path / name, mark)
    write_image(tmp_path / "in.png", pattern())
    for command in READERS_OF_WEIGHTS:
        words = command.format(picture=tmp_path / "in.png")
        sentence(run_command(words, "--device", "cpu", "--weights", tmp_path / name), name)


def test_the_mark_is_made_by_what_is_refused(tmp_path):
    """The evil files do work where they are let."""
    WEIGHTS["saved.pt"](tmp_path / "a.pt", tmp_path / "mark")
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert (tmp_path / "mark").is_file()


def test_configurations(run_command, mark, tmp_path):
    texts = (
        f"data_path: !!python/object/apply:os.system ['touch {mark}']",
        f"!!python/object/new:os.system ['touch {mark}']",
        "data_path: !!python/name:os.system",
        "data_path: !unknown x",
    )
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        for method, found in METHODS.items():
            for name in found.commands:
                done = run_command(f"{name}.py {method} --config", path)
                sentence(done, f"{path} is not valid YAML")


def _matlab(path: Path, number: int) -> None:
    """An array K whose class says what it is: 3 an object, 16 a function handle."""
    flags = struct.pack("<IIII", 6, 8, number, 0)
    shape = struct.pack("<IIii", 5, 8, 1, 1)
    name = struct.pack("<HH4s", 1, 1, b"K\0\0\0")
    body = flags + shape + name + struct.pack("<II8s", 1, 6, b"system\0\0")
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    path.write_bytes(header + struct.pack("<II", 14, len(body)) + body)


def _array(mark: Path) -> np.ndarray:
    return np.array([Evil(mark)], dtype=object)


def _cells(path: Path, mark: Path) -> None:
    savemat(path, {"K": np.array([np.eye(3), "x"], dtype=object)})


def _seven(path: Path, mark: Path) -> None:
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")


KERNELS = {
    "object.npy": lambda path, mark: np.save(path, _array(mark), allow_pickle=True),
    "raw.npy": _raw_pickle,
    "function.mat": lambda path, mark: _matlab(path, 16),
    "object.mat": lambda path, mark: _matlab(path, 3),
    "cells.mat": _cells,
    "fields.mat": lambda path, mark: savemat(path, {"K": {"a": 1}}),
    "seven.mat": _seven,
    "old.mat": lambda path, mark: savemat(path, {"K": np.eye(3)}, format="4"),
    "out.txt": lambda path, mark: path.write_text("../outside/k.npy"),
    "root.txt": lambda path, mark: path.write_text("/etc/passwd"),
}


PAIRS = "generate.py sbdd --config tiny --min_img_size 30"


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_and_ground_truth(name, run_command, mark, tmp_path):
    write_image(tmp_path / "in/a.png", pattern())
    KERNELS[name](tmp_path / name, mark)
    words = [PAIRS, "--data_path", tmp_path / "in", "--output_dir", tmp_path / "out"]
    sentence(run_command(*words, "--kernel_path", tmp_path / name), name)
    if name.endswith(".mat"):
        (tmp_path / "sharp").mkdir()
        (tmp_path / name).rename(tmp_path / "sharp" / name)
        write_image(tmp_path / "restored" / Path(name).with_suffix(".png"), pattern())
        folders = ["-r", tmp_path / "restored", "-s", tmp_path / "sharp"]
        sentence(run_command("test.py sbdd --protocol kohler", *folders), name)


def test_masks(run_command, mark, tmp_path):
    write_image(tmp_path / "in/a.png", pattern())
    (tmp_path / "masks").mkdir()
    words = [PAIRS, "--data_path", tmp_path / "in", "--output_dir", tmp_path / "out"]
    np.savez(tmp_path / "masks/a.npz", pred_masks=_array(mark), scores=np.ones(1))
    sentence(run_command(*words, "--mask_path", tmp_path / "masks"), "a.npz", "masks")
    annotation = {"image_id": 1, "file_name": "../outside/a.png", "segments_info": []}
    (tmp_path / "panoptic").mkdir()
    (tmp_path / "panoptic.json").write_text(json.dumps({"annotations": [annotation]}))
    done = run_command(*words, "--mask_path", tmp_path / "panoptic.json")
    sentence(done, "panoptic.json", "'../outside/a.png' leads out of")


def test_boxes(mark, tmp_path):
    for name, box in (("evil", Evil(mark)), ("array", _array(mark))):
        (tmp_path / name).write_bytes(pickle.dumps({"bbox": box}))
        said = f"{name} can't be read as a box .*system, which could run code"
        with pytest.raises(UserError, match=said):
            read_box(tmp_path / name)


@pytest.mark.parametrize("value", ["../outside/0000.png", "/etc/hostname", "a/../../outside/x.png"])
@pytest.mark.parametrize("key", ["blur_path", "frame003_path", "bbox", "id"])
def test_metadata(key, value, run_command, mark, tmp_path):
    frames = {f"frame{number:03d}_path": f"a/sharp/0000_{number}.png" for number in range(1, 8)}
    entry = {"id": "a", "order": "ignore", "partition": "test", "blur_path": "a/blur/0000.png"}
    entry |= frames | {key: value}
    for name in ("0000.png", *frames.values(), "a/blur/0000.png"):
        write_image(tmp_path / "set" / name, pattern())
    metadata = {"name": "set", "frame_per_seq": 7, "data": [entry]}
    (tmp_path / "set/metadata.json").write_text(json.dumps(metadata))
    for command in ("test.py hypercut", "test.py blur2vid", "generate.py hypercut"):
        done = run_command(command, "--data_path", tmp_path / "set")
        sentence(done, "metadata.json, entry", value)


def test_list_files(run_command, mark, tmp_path):
    write_image(tmp_path / "set/blur/1.png", pattern())
    write_image(tmp_path / "gt/1.png", pattern())
    words = ["--data_path", tmp_path / "set/list.txt", "--output_dir", tmp_path / "out"]
    for sharp in ("../gt/1.png", f"{tmp_path}/gt/1.png", "gt/../../gt/1.png"):
        (tmp_path / "set/list.txt").write_text(f"{sharp} blur/1.png")
        for command in ("inference.py image_deblur", "test.py image_deblur"):
            done = run_command(command, "--device", "cpu", *words)
            sentence(done, "list.txt, line 1", "leads out of")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("../outside/a.blurry.png", tarfile.REGTYPE, "leads out of"),
        ("/tmp/a.blurry.png", tarfile.REGTYPE, "leads out of"),
        ("a.blurry.png", tarfile.SYMTYPE, "is a link"),
        ("a.blurry.png", tarfile.LNKTYPE, "is a link"),
        ("a.blurry.png", tarfile.FIFOTYPE, "is a link, or another thing"),
    ],
)
def test_shards(name, kind, part, run_command, mark, tmp_path):
    (tmp_path / "set").mkdir()
    content = encode_image(pattern(), ".png")
    with tarfile.open(tmp_path / "set/a.tar", "w") as tar:
        for member, what in (("a.sharp.png", tarfile.REGTYPE), (name, kind)):
            entry = tarfile.TarInfo(member)
            entry.type = what
            entry.linkname = "/etc/passwd"
            entry.size = len(content) if what == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(content))
    before = contents(tmp_path)
    words = ["--data_path", tmp_path / "set", "--save", tmp_path / "run"]
    sentence(run_command("train.py image_deblur --config tiny", *words), "a.tar", part)
    assert contents(tmp_path) == before


# What runs what it reads, or writes where a file says
ALWAYS_FORBIDDEN = (
    "eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.loads", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "scipy.io.loadmat",
    "shutil.unpack_archive", "tempfile.mktemp",
)  # fmt: skip
# name -> the argument that makes it harmless
HARMLESS_WITH = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}
FORBIDDEN_METHODS = ("extractall", "extract")  # of tar and zip files
FORBIDDEN_MODULES = ("dill", "joblib", "shelve", "cloudpickle", "marshal")


def dangers(source: str) -> list[str]:
    """What a file calls that could run or overwrite something, with the line."""
    tree = ast.parse(source)
    names = imported_names(tree)
    modules = {name.split(".")[0] for name in names.values()}
    found = [f"import {name}" for name in modules & set(FORBIDDEN_MODULES)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_danger(node, names):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What a file imports: name in the file -> dotted name."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def is_danger(call: ast.Call, names: dict[str, str]) -> bool:
    head, _, rest = ast.unparse(call.func).partition(".")
    name = ".".join(filter(None, (names.get(head, head), rest)))
    constants = [word for word in call.keywords if isinstance(word.value, ast.Constant)]
    given = {word.arg: word.value.value for word in constants}
    if name in ALWAYS_FORBIDDEN or given.get("shell"):
        return True
    if name in HARMLESS_WITH:
        argument, harmless = HARMLESS_WITH[name]
        return given.get(argument) is not harmless
    return isinstance(call.func, ast.Attribute) and call.func.attr in FORBIDDEN_METHODS


def test_the_source_calls_nothing_that_runs_what_it_reads():
    folders = ("utils", "losses", "data", "models", "restoration", "methods", "benchmarks")
    files = list(ROOT.glob("*.py"))
    for folder in folders:
        files += (ROOT / folder).rglob("*.py")
    found = {str(path): dangers(path.read_text()) for path in files}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "import os\nos.system('ls')",
        "from os import popen\npopen('ls')",
        "import subprocess as s\ns.run('ls', shell=True)",
        "import pickle\npickle.load(file)",
        "from pickle import loads as read\nread(b'')",
        "import torch\ntorch.load('a.pt')",
        "import torch\ntorch.load('a.pt', weights_only=False)",
        "import numpy as np\nnp.load('a.npy')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "import yaml\nyaml.load(text)",
        "tar.extractall(folder)",
        "import zipfile\nzipfile.ZipFile('a').extract('b')",
        "import joblib",
        "from scipy.io import loadmat\nloadmat('a.mat')",
    ],
)
def test_a_planted_danger_is_seen(line):
    assert len(dangers(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np\nnp.load('a.npy', allow_pickle=False)",
        "import torch\ntorch.load('a.pt', weights_only=True)",
        "import re\nre.match('a', 'b').expand('x')",
    ],
)
def test_what_is_harmless_is_let(line):
    assert dangers(line) == []
