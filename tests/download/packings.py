"""What the tests of downloads share: entries, and archives packed as the authors pack them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from utils.download.table import Address, Entry, entries


def leftovers(folder: Path) -> list[str]:
    """The names of all files below a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def addresses(name: str) -> tuple[Address, ...]:
    """Those of an entry's first file."""
    return entries()[name].files[0].addresses


def without_hash(name: str) -> Entry:
    """An entry that takes whatever comes."""
    entry = entries()[name]
    return replace(entry, files=tuple(replace(file, hash="") for file in entry.files))


def png(seed: int, size: tuple[int, int] = (24, 32)) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def of_videos(pattern: str, kinds: tuple[str, ...], videos=("a_1", "b_2"), frames=2) -> dict:
    """{path: picture} of PATTERN.format(kind, video, frame)."""
    files = {}
    for kind in kinds:
        for video in videos:
            for frame in range(1, frames + 1):
                name = pattern.format(kind=kind, video=video, frame=frame)
                files[name] = png(frame + 10 * kinds.index(kind))
    return files


GOPRO = "GOPRO_Large/{}/{{video}}/{{kind}}/{{frame:06}}.png"
GOPRO_KINDS = ("blur", "blur_gamma", "sharp")
DVD = "DeepVideoDeblurring_Dataset/quantitative_datasets/{video}/{kind}/{frame:05}.jpg"
REDS = "val/val_{kind}/{video}/{frame:08}.png"
VIDEOS = ("000", "001")
PACKINGS = {
    "GOPRO": of_videos(GOPRO.format("test"), GOPRO_KINDS)
    | of_videos(GOPRO.format("train"), GOPRO_KINDS),
    "GOPRO/test": of_videos("{kind}/{video}-{frame:06}.png", ("input", "target")),
    "GOPRO/train": of_videos("train/{kind}/{video}-{frame:06}.png", ("input", "target")),
    "DVD": of_videos(DVD, ("input", "GT"), ("IMG_0003", "IMG_0099")),
    "REDS/val/val_blur": of_videos(REDS, ("blur",), VIDEOS),
    "REDS/val/val_sharp": of_videos(REDS, ("sharp",), VIDEOS),
    "REDS/val/val_blur_jpeg": of_videos(REDS.replace("png", "jpg"), ("blur_jpeg",), VIDEOS),
    "HIDE": of_videos("HIDE/{kind}/{video}{frame}.png", ("input", "target")),
    "RealBlur-J": of_videos("test/{kind}/{video}{frame}.png", ("input", "target")),
}
