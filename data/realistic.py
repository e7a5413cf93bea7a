"""Training pairs made from sharp pictures as cameras would take them: data/synthesis/realism.py."""

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import Dataset

from data.augment import crop_and_turn
from data.compression import h264, jpeg
from data.photo_catalog import find_sharp
from data.synthesis.pair import to_file
from data.synthesis.realism import Realism, developed_pair, side_needed
from utils.errors import UserError
from utils.image import in_8bit, read_image, to_tensor

JPEG_OFFSET = 16  # px more than a patch, so that the blocks of JPEG begin anywhere


class RealisticPairs(Dataset):
    """Pairs {blurry [3,S,S], sharp [3,S,S], name} of sharp pictures, RGB in [0,1].

    An item depends only on (seed, epoch, index). zoom: range of factors by which the pictures are
    enlarged first, as cameras' pixels are seldom as sharp as those of small pictures.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        realism: Realism,
        seed: int,
        vary: Callable = crop_and_turn,
        zoom: tuple[float, float] = (1.0, 1.0),
    ):
        self.pictures = find_sharp(folder, training=True)
        self.size = size
        self.realism = realism
        self.seed = seed
        self.vary = vary
        self.zoom = zoom

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        size = self.size + JPEG_OFFSET
        path = self.pictures[index]
        picture = self._part(rng, path, size)
        other = self._part(rng, self.pictures[int(rng.integers(len(self)))], size)
        pair = developed_pair(rng, picture, other, size, self.realism)
        blurry = to_file(pair.blurry)
        if not pair.clean:
            blurry = compressed(rng, blurry, self.realism)
        images = [to_tensor(blurry), to_tensor(to_file(pair.sharp))]
        blurry, sharp = self.vary(images, self.size, rng)
        return {"blurry": blurry, "sharp": sharp, "name": path.stem}

    def _part(self, rng: np.random.Generator, path: Path, size: int) -> np.ndarray:
        """A random square part of a picture for a pair of `size` px, enlarged."""
        side = side_needed(size)
        picture = in_8bit(read_image(path))
        shortest = min(picture.shape[:2])
        factor = math.exp(rng.uniform(*np.log(self.zoom)))
        source = round(side / factor)  # before it is enlarged
        if source > shortest:
            source = shortest
            if side > 4 * source:
                raise UserError(f"{path} is too small for patches of {self.size} px")
        top = int(rng.integers(picture.shape[0] - source + 1))
        left = int(rng.integers(picture.shape[1] - source + 1))
        part = picture[top : top + source, left : left + source]
        if source == side:
            return part
        interpolation = cv2.INTER_AREA if source > side else cv2.INTER_CUBIC
        return cv2.resize(part, (side, side), interpolation=interpolation)


def realism_of(values: dict | None) -> Realism:
    """The Realism of a mapping {name: value}; raises UserError for what it has no place for."""
    try:
        return Realism(**(values or {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"--realism {values}: {error}") from error


def compressed(rng: np.random.Generator, pixels: np.ndarray, realism: Realism) -> np.ndarray:
    """Pixels [H,W,3] after JPEG, or as they are."""
    if rng.random() < realism.jpeg:
        low, high = realism.jpeg_quality
        return jpeg(pixels, int(rng.integers(low, high + 1)))
    return pixels


def compressed_clip(rng: np.random.Generator, clip: np.ndarray, realism: Realism) -> np.ndarray:
    """A clip [T,H,W,3] in [0,1] after H.264 or JPEG, or as it is; 8-bit values as float32."""
    pixels = to_file(clip)
    if len(pixels) > 1 and rng.random() < realism.h264:
        low, high = realism.crf
        pixels = h264(pixels, int(rng.integers(low, high + 1)))
    elif rng.random() < realism.jpeg:
        low, high = realism.jpeg_quality
        quality = int(rng.integers(low, high + 1))
        pixels = np.stack([jpeg(frame, quality) for frame in pixels])
    return pixels.astype(np.float32) / 255
