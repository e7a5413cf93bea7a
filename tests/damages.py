"""Files of every kind that a command reads, damaged by a seed.

`case(seed, folder)` writes one and gives the command line for it. The damages: cut off, bytes
changed, a stretch of zeros, another kind's content, nothing, and in JSON and YAML any value in
place of another. tests/test_damages.py runs a sample of them, tests/fuzz.py as many as asked for.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from data.sequences import collect_metadata, write_sequence
from models import build
from tests.commands import pattern
from tests.utils.test_video import make_file
from utils.checkpoint import save_weights
from utils.image import write_image

SIZE = (48, 56)
RESTORE = "inference.py image_deblur --device cpu --no_report --data_path"
PAIRS = "generate.py sbdd --config tiny --min_img_size 0 --min_object_area 0 --kernel_size 9"
ODD_VALUES = (
    None, True, -1, 0, 0.5, 2**40, 2**80, float("nan"), float("inf"), "", "x", "\ud800", "../a",
    "/etc/passwd", "a\0b", "n" * 5000, [], [[]], {}, [None], {"a": {}},
)  # fmt: skip

Rng = np.random.Generator


def picture(suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        write_image(folder / f"in{suffix}", pattern(SIZE))
        return folder / f"in{suffix}"

    return write


def video(suffix: str) -> Callable[[Path], Path]:
    return lambda folder: make_file(folder / f"in{suffix}", [0, 40, 80, 120], (32, 32))


def weights(folder: Path) -> Path:
    arguments = {"width": 4, "encoder": [1], "middle": 1, "decoder": [1]}
    network = build("nafnet", **arguments)
    save_weights(folder / "in.safetensors", network, "nafnet", arguments, "image_deblur")
    return folder / "in.safetensors"


def checkpoint(folder: Path) -> Path:
    torch.save({"state_dict": {"a.weight": torch.ones(3, 3)}}, folder / "in.pt")
    return folder / "in.pt"


def annotations(folder: Path) -> Path:
    write_image(folder / "pictures/a.png", pattern(SIZE))
    image = {"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}
    shapes = [[[4, 4, 40, 4, 40, 40, 4, 40]], {"counts": [0, SIZE[0] * SIZE[1]], "size": [*SIZE]}]
    objects = [
        {"id": number, "image_id": 1, "category_id": 1, "segmentation": shape, "score": 0.99}
        for number, shape in enumerate(shapes)
    ]
    content = {"images": [image], "annotations": objects}
    (folder / "in.json").write_text(json.dumps(content))
    return folder / "in.json"


def archive(folder: Path) -> Path:
    write_image(folder / "pictures/a.png", pattern(SIZE))
    (folder / "masks").mkdir()
    masks = np.ones((1, *SIZE), bool)
    np.savez(folder / "masks/a.npz", pred_masks=masks, scores=np.ones(1))
    return folder / "masks/a.npz"


def metadata(folder: Path) -> Path:
    frames = [np.float32(pattern(SIZE, seed)) / 255 for seed in range(7)]
    for name in ("a", "b", "c"):
        write_sequence(folder / "set", name, frames[3], frames)
    collect_metadata(folder / "set", {"a": "train", "b": "val", "c": "test"})
    return folder / "set/metadata.json"


def options(folder: Path) -> Path:
    write_image(folder / "a.png", pattern(SIZE))
    values = {"tile": 0, "gamma_factor": 1.0, "ensemble": False, "data_path": f"{folder}/a.png"}
    (folder / "in.yaml").write_text(yaml.safe_dump(values))
    return folder / "in.yaml"


def list_file(folder: Path) -> Path:
    for name in ("input/a.png", "target/a.png"):
        write_image(folder / name, pattern(SIZE))
    (folder / "list.txt").write_text("target/a.png input/a.png\n")
    return folder / "list.txt"


# name -> (writer of the file, command line; {file} is damaged, {folder} is where it lies)
KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    **{
        f"photo{suffix}": (picture(suffix), f"{RESTORE} {{file}} --output_dir {{folder}}/out")
        for suffix in (".png", ".jpg", ".tif", ".bmp", ".webp", ".ppm")
    },
    "unfolded": (picture(".png"), "inference.py blur2vid --data_path {file} {common}"),
    "selected": (picture(".jpg"), "inference.py irp --task select --data_path {folder} {more}"),
    "scored": (picture(".png"), "test.py image_deblur -r {folder} -s {folder} -o {folder}/out"),
    **{
        f"clip{suffix}": (video(suffix), "inference.py cdvd_tsp --data_path {file} {common}")
        for suffix in (".mp4", ".mkv", ".mts", ".mov")
    },
    "weights": (weights, f"{RESTORE} {{good}} --weights {{file}} --output_dir {{folder}}/out"),
    "checkpoint": (checkpoint, f"{RESTORE} {{good}} --weights {{file}} --output_dir {{folder}}/o"),
    "annotations": (
        annotations,
        f"{PAIRS} --data_path {{folder}}/pictures --mask_path {{file}} --output_dir {{folder}}/out",
    ),
    "archive": (
        archive,
        f"{PAIRS} --data_path {{folder}}/pictures --mask_path {{folder}}/masks --mask_kind npz "
        "--output_dir {folder}/out",
    ),
    "sequences": (
        metadata,
        "test.py hypercut --device cpu --no_report --partition all --workers 0 "
        "--data_path {folder}/set --output_dir {folder}/out",
    ),
    "list": (list_file, "test.py image_deblur --data_path {file} {common}"),
    "options": (options, "inference.py image_deblur --config {file} {common}"),
}
COMMON = "--device cpu --no_report --output_dir {folder}/out"


def case(name: str, seed: int, folder: Path) -> str:
    """Writes a damaged file of a kind into an empty folder; returns the command line for it."""
    rng = np.random.default_rng((seed, *name.encode()))
    write, command = KINDS[name]
    good = picture(".png")(folder / "good")
    file = write(folder)
    content = file.read_bytes()
    if file.suffix in (".json", ".yaml") and rng.random() < 0.7:
        file.write_text(other_value(content.decode(), file.suffix, rng))
    else:
        file.write_bytes(damaged(content, rng))
    common = COMMON.format(folder=folder)
    more = common.replace("--no_report ", "")
    return command.format(file=file, folder=folder, good=good, common=common, more=more)


def damaged(content: bytes, rng: Rng) -> bytes:
    """Content with one damage."""
    way = rng.integers(6)
    changed = bytearray(content)
    start = int(rng.integers(len(changed)))
    if way == 0:
        return bytes(changed[:start])
    if way == 1:
        for index in rng.integers(len(changed), size=rng.integers(1, 12)):
            changed[index] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))
    elif way == 2:
        reach = min(len(changed), 300)
        for index in rng.integers(reach, size=rng.integers(1, 4)):
            changed[index] = int(rng.choice([0, 127, 128, 255]))
    elif way == 3:
        changed[start : start + 64] = bytes(min(64, len(changed) - start))
    elif way == 4:
        starts = (b"%!PS-Adobe-3.0 EPSF-3.0\n", b"#EXTM3U\n", b"8BPS\0\1", b"%PDF-1.4\n", b"")
        return starts[rng.integers(len(starts))] + rng.bytes(rng.integers(40))
    else:
        changed[start:start] = rng.bytes(rng.integers(1, 40))
    return bytes(changed)


def other_value(words: str, suffix: str, rng: Rng) -> str:
    """JSON or YAML with one value replaced by an odd one, wherever it stands."""
    content = json.loads(words) if suffix == ".json" else yaml.safe_load(words)
    spots = list(_spots(content))
    holder, key = spots[rng.integers(len(spots))]
    holder[key] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    return json.dumps(content)  # which is YAML, too


def _spots(content: object):
    """Every (container, key or index) of nested lists and mappings."""
    if isinstance(content, dict):
        pairs = list(content.items())
    elif isinstance(content, list):
        pairs = list(enumerate(content))
    else:
        return
    for key, value in pairs:
        yield content, key
        yield from _spots(value)
