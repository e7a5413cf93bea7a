"""HyperCUT's folder: SEQ/blur/0000.png, the blurry picture, SEQ/sharp/0000_1.png ... 0000_7.png, its moments, and one metadata.json."""

import json
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np

from utils.files import write_text
from utils.image import write_image

FRAMES = 7


def write_sequence(root: Path, name: str, blurry: np.ndarray, moments: list[np.ndarray]) -> None:
    """Write pictures [H,W,3] in [0,1] as root/NAME, all of them or none."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".sequence.") as temporary:
        folder = Path(temporary, name)
        write_image(folder / "blur/0000.png", np.round(blurry * 255).astype(np.uint8))
        for number, moment in enumerate(moments, 1):
            write_image(folder / f"sharp/0000_{number}.png", np.round(moment * 255).astype(np.uint8))
        shutil.rmtree(root / name, ignore_errors=True)
        folder.rename(root / name)


def write_metadata(root: Path) -> None:
    """metadata.json of the sequences that are there: order `ignore` (as stored), a tenth of the sources each for validation and test.

    All sequences of one source (the name up to its last number) fall into one partition.
    """
    entries = []
    for path in sorted(root.glob("*/blur/0000.png")):
        name = path.parents[1].name
        source = name.rpartition("_")[0] if name.rpartition("_")[2].isdecimal() else name
        partition = {0: "test", 1: "val"}.get(zlib.crc32(source.encode()) % 10, "train")
        frames = {f"frame{number:03d}_path": f"{name}/sharp/0000_{number}.png" for number in range(1, FRAMES + 1)}
        entries.append({"id": name, "order": "ignore", "partition": partition, "blur_path": f"{name}/blur/0000.png", **frames})
    write_text(root / "metadata.json", json.dumps({"name": root.resolve().name, "frame_per_seq": FRAMES, "data": entries}, indent=1) + "\n")
