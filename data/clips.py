"""Blurry/sharp clips on disk: training windows of consecutive frames, and writing new clips."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import crop_and_turn
from data.catalog import Video
from utils.errors import UserError
from utils.image import read_image, to_tensor, write_image


class ClipWindows(Dataset):
    """Training windows {blurry [T,3,S,S], sharp [T,3,S,S], video, frames}, RGB in [0,1].

    None crosses a video. max_frames: frames used of each video from its start (0 = all). size:
    patch side, None = whole frames without augmentation. An item depends only on (seed, epoch,
    index).
    """

    def __init__(
        self,
        videos: tuple[Video, ...],
        frames: int,
        size: int | None,
        seed: int,
        max_frames: int = 0,
    ):
        self.frames = frames
        self.size = size
        self.seed = seed
        self.windows = []  # (video, index of its first frame)
        for video in videos:
            count = len(video.blurry)
            if max_frames:
                count = min(count, max_frames)
            self.windows += [(video, start) for start in range(count - frames + 1)]
        if not self.windows:
            raise UserError(f"no video has {frames} frames in a row")

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        video, start = self.windows[index]
        window = slice(start, start + self.frames)
        blurry = read_frames(video.blurry[window])  # [T,3,H,W]
        sharp = read_frames(video.sharp[window])
        if self.size is not None:
            rng = np.random.default_rng((self.seed, epoch, index))
            blurry, sharp = crop_and_turn([blurry, sharp], self.size, rng)
        return {
            "blurry": blurry,
            "sharp": sharp,
            "video": video.name,
            "frames": video.frames[window],
        }


def read_frames(paths: tuple[Path, ...]) -> torch.Tensor:
    """Frames of one size as a clip [T,3,H,W] in [0,1]."""
    return torch.stack([to_tensor(read_image(path)) for path in paths])


def write_clip(
    root: Path, video: str, frames: Iterable[tuple[str, np.ndarray, np.ndarray]]
) -> None:
    """Write the (name, blurry, sharp) frames of a video, all of them or none.

    Frames [H,W,3] in [0,1] become root/blur/VIDEO/NAME.png and root/gt/VIDEO/NAME.png.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".clip.") as temporary:
        folder = Path(temporary)
        for name, blurry, sharp in frames:
            write_image(folder / "blur" / f"{name}.png", _in_8bit(blurry))
            write_image(folder / "gt" / f"{name}.png", _in_8bit(sharp))
        for kind in ("gt", "blur"):  # a clip counts as made when its blurry half is there
            target = root / kind / video
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            (folder / kind).rename(target)


def _in_8bit(frame: np.ndarray) -> np.ndarray:
    return np.round(frame * 255).astype(np.uint8)
