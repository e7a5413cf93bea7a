"""Windows of consecutive frames from videos on disk."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import crop_and_turn
from data.catalog import Video
from utils.errors import UserError
from utils.image import read_image, to_tensor


class ClipWindows(Dataset):
    """Training windows {blurry [T,3,S,S], sharp [T,3,S,S], video, frames}; none crosses a video. RGB in [0,1].

    max_frames: frames used of each video from its start (0 = all). size: patch side, None = whole frames without augmentation.
    An item depends only on (seed, epoch, index).
    """

    def __init__(self, videos: tuple[Video, ...], frames: int, size: int | None, seed: int, max_frames: int = 0):
        self.frames, self.size, self.seed = frames, size, seed
        self.windows = [
            (video, start) for video in videos for start in range(min(len(video.blurry), max_frames or len(video.blurry)) - frames + 1)
        ]
        if not self.windows:
            raise UserError(f"no video has {frames} frames in a row")

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        video, start = self.windows[index]
        chosen = slice(start, start + self.frames)
        blurry, sharp = read_frames(video.blurry[chosen]), read_frames(video.sharp[chosen])
        if self.size is not None:
            rng = np.random.default_rng((self.seed, epoch, index))
            blurry, sharp = crop_and_turn([blurry, sharp], self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "video": video.name, "frames": video.frames[chosen]}


def read_frames(paths: tuple[Path, ...]) -> torch.Tensor:
    """Frames of one size as a clip [T,3,H,W] in [0,1]."""
    return torch.stack([to_tensor(read_image(path)) for path in paths])
