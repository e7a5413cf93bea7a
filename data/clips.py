"""Blurry/sharp clips on disk: training windows of consecutive frames, and writing new clips."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import Pixels, draw_patch
from data.catalog import Video
from data.pixel_file import PixelCache
from utils.errors import UserError
from utils.image import read_image, to_tensor, write_image
from utils.rounding import array_to_8bit


class ClipWindows(Dataset):
    """Training windows {blurry [T,3,S,S], sharp [T,3,S,S], video, frames}, RGB in [0,1].

    None crosses a video. max_frames: frames used of each video from its start (0 = all). size:
    patch side, None = whole frames without augmentation. cache: where the pixels are read instead
    of the files. An item depends only on (seed, epoch, index).
    """

    def __init__(
        self,
        videos: tuple[Video, ...],
        frames: int,
        size: int | None,
        seed: int,
        max_frames: int = 0,
        cache: PixelCache | None = None,
    ):
        self.read = cache.picture if cache else read_image
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
        clips = []
        for paths in (video.blurry[window], video.sharp[window]):
            clips.append([self.read(path) for path in paths])
        if self.size is None:
            blurry, sharp = map(_whole, clips)  # [T,3,H,W]
        else:
            rng = np.random.default_rng((self.seed, epoch, index))
            height, width = clips[0][0].shape[:2]
            patch = draw_patch(height, width, self.size, rng)
            blurry, sharp = (torch.stack(list(map(patch.of_pixels, clip))) for clip in clips)
        return {
            "blurry": blurry,
            "sharp": sharp,
            "video": video.name,
            "frames": video.frames[window],
        }


def used_frames(videos: tuple[Video, ...], max_frames: int = 0) -> list[Path]:
    """The files of the frames that ClipWindows reads."""
    paths = []
    for video in videos:
        paths += video.blurry[: max_frames or None]
        paths += video.sharp[: max_frames or None]
    return paths


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
            write_image(folder / "blur" / f"{name}.png", array_to_8bit(blurry))
            write_image(folder / "gt" / f"{name}.png", array_to_8bit(sharp))
        for kind in ("gt", "blur"):  # a clip counts as made when its blurry half is there
            target = root / kind / video
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            (folder / kind).rename(target)


def _whole(frames: list[Pixels]) -> torch.Tensor:
    """Frames [H,W,3] of one size as a clip [T,3,H,W] in [0,1]."""
    return torch.stack([to_tensor(frame[:, :]) for frame in frames])
