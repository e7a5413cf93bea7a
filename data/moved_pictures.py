"""Clips made while training from a folder of sharp pictures that a hand-held camera moves over."""

import math
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from data.augment import degrade
from data.photo_catalog import find_pictures
from data.synthesis.motion import smooth_trajectory
from data.synthesis.scene import moved_clip
from utils.image import read_image, resize_to

# Pictures are shrunk to this side first: a camera's demosaicking softness would not be a sharp
# target.
LONGEST = 640


class MovedPictures(Dataset):
    """Clips {blurry [T,3,S,S], sharp [T,3,S,S], video, frames} of moved pictures, RGB in [0,1].

    Kinds of blur: a fifth none (half of it moving), two fifths mild (0.5-3 px), the rest strong
    (3-16 px within the exposure); then sensor noise on half of the clips and JPEG on a quarter;
    8-bit values. An item depends only on (seed, epoch, index).
    """

    def __init__(self, folder: Path, frames: int, size: int, seed: int):
        self.pictures = find_pictures(folder)
        self.frames = frames
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        path = self.pictures[index]
        picture = _random_view(rng, resize_to(read_image(path), LONGEST), self.size)
        blur, speed = _draw_motion(rng)
        trajectory = smooth_trajectory(rng, self.frames, speed, turn=0.1 * speed / self.size)
        exposure = blur / speed if speed else 0.0
        blurry, sharp = moved_clip(
            picture, trajectory, self.frames, exposure, (self.size, self.size)
        )
        return {
            "blurry": _channels_first(degrade(rng, blurry)),
            "sharp": _channels_first(np.round(sharp * 255) / 255),
            "video": path.stem,
            "frames": [str(frame) for frame in range(self.frames)],
        }


def _draw_motion(rng: np.random.Generator) -> tuple[float, float]:
    """(blur length in px within the exposure, speed in px per frame interval)."""
    kind = rng.random()
    if kind < 0.1:
        return 0.0, 0.0
    if kind < 0.2:
        return 0.0, rng.uniform(0.5, 10)
    if kind < 0.6:
        blur = rng.uniform(0.5, 3)
        return blur, blur / rng.uniform(0.3, 1)
    blur = math.exp(rng.uniform(math.log(3), math.log(16)))
    return blur, blur / rng.uniform(0.3, 1)


def _random_view(rng: np.random.Generator, picture: np.ndarray, size: int) -> np.ndarray:
    """A random part of the picture, flipped and rotated at random, float32 in [0,1].

    It is larger than `size` by a margin for the motion.
    """
    side = size + 48
    height, width = picture.shape[:2]
    top = int(rng.integers(0, max(height - side, 0) + 1))
    left = int(rng.integers(0, max(width - side, 0) + 1))
    part = picture[top : top + side, left : left + side]
    part = np.rot90(part, int(rng.integers(4)))
    part = part[:, :: rng.choice((-1, 1))]
    return np.ascontiguousarray(part, dtype=np.float32) / np.iinfo(part.dtype).max


def _channels_first(clip: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2)))
