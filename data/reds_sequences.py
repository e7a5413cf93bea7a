"""REDS_HyperCUT: one blurry picture and its seven sharp frames, made of REDS' 120 fps originals.

HyperCUT's authors name REDS as their data but publish neither these pictures nor how they made them
(Pham et al., CVPR 2023). Ours: seven originals in a row are the sharp frames, their mean in pixel
values is the blurry picture; the next sequence begins at the eighth. REDS' training videos are the
partition train, its validation videos val.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.catalog import images_in
from data.sequences import FRAMES, collect_metadata
from utils.errors import UserError
from utils.files import atomic_folder
from utils.image import read_image, write_image
from utils.progress import Progress


def build(originals: Path, root: Path, splits: Sequence[str]) -> int:
    """Make the sequences of originals/SPLIT/VIDEO/FRAME.png below root; returns how many there are.

    SPLIT is train or val. The sharp frames are hard links where the disk has them, so that they
    take no room twice. Sequences that exist are kept: an interrupted call continues. metadata.json
    is written at the end. Raises UserError for a missing split and for a video that is too short.
    """
    windows = []
    for split in splits:
        folder = originals / split
        videos = sorted(path for path in folder.glob("*") if path.is_dir())
        if not videos:
            raise UserError(f"no videos in {folder}: `python download.py REDS_120fps` gets them")
        for video in videos:
            frames = images_in(video)
            if len(frames) < FRAMES:
                raise UserError(f"{video} has {len(frames)} frames, a sequence needs {FRAMES}")
            for number in range(len(frames) // FRAMES):
                window = frames[number * FRAMES : (number + 1) * FRAMES]
                windows.append((f"{split}_{video.name}_{number:04d}", window))
    for name, frames in Progress(windows, desc=root.name, unit="sequences"):
        if not (root / name / "blur" / "0000.png").is_file():
            _write(root, name, frames)
    names = {path.parents[1].name for path in root.glob("*/blur/0000.png")}
    sources = {name.rpartition("_")[0] for name in names}
    collect_metadata(root, {source: source.partition("_")[0] for source in sources})
    return len(names)


def is_built(root: Path, splits: Sequence[str]) -> bool:
    """Whether metadata.json is there and has sequences of all these splits."""
    path = root / "metadata.json"
    if not path.is_file():
        return False
    entries = json.loads(path.read_text(encoding="utf-8"))["data"]
    return set(splits) <= {entry["partition"] for entry in entries}


def _write(root: Path, name: str, frames: Sequence[Path]) -> None:
    """One sequence, whole or not at all."""
    total = sum(read_image(path).astype(np.uint32) for path in frames)
    blurry = np.floor(total / len(frames) + 0.5).astype(np.uint8)
    with atomic_folder(root / name) as folder:
        write_image(folder / "blur" / "0000.png", blurry)
        (folder / "sharp").mkdir()
        for number, path in enumerate(frames, 1):
            target = folder / "sharp" / f"0000_{number}.png"
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
