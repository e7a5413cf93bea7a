"""Random crops, flips and degradations, one draw for all images of a sample."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from data.compression import jpeg
from utils.image import to_tensor
from utils.rounding import array_to_8bit


class Pixels(Protocol):
    """Pixels [H,W,3] of which windows are taken: an array, or a picture of a cache."""

    shape: tuple[int, ...]

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray: ...


@dataclass(frozen=True)
class Patch:
    """A square patch of an image and how it is turned, the same for all images of a sample."""

    top: int
    left: int
    size: int
    mirrored: bool  # left-right
    flipped: bool  # up-down
    transposed: bool

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        rows = slice(self.top, self.top + self.size)
        return rows, slice(self.left, self.left + self.size)

    def of_stack(self, image: Tensor) -> Tensor:
        """The patch [...,S,S] of an image stack [...,H,W]."""
        patch = image[(..., *self.window)]
        if self.mirrored:
            patch = patch.flip(-1)
        if self.flipped:
            patch = patch.flip(-2)
        if self.transposed:
            patch = patch.transpose(-1, -2)
        return patch.contiguous()

    def of_pixels(self, pixels: Pixels) -> Tensor:
        """The patch [3,S,S] in [0,1] of pixels [H,W,3]; equal to `of_stack` of their tensor.

        Only the patch is read and becomes floating point.
        """
        patch = pixels[self.window]
        if self.mirrored:
            patch = patch[:, ::-1]
        if self.flipped:
            patch = patch[::-1]
        if self.transposed:
            patch = patch.transpose(1, 0, 2)
        planes = np.ascontiguousarray(patch.transpose(2, 0, 1))  # [3,S,S]
        return to_tensor(planes.transpose(1, 2, 0))


def draw_patch(
    height: int,
    width: int,
    size: int,
    rng: np.random.Generator,
    mirror: bool = True,
    turn: bool = True,
) -> Patch:
    """A random patch of `size` px of images of height x width px.

    It is mirrored left-right, flipped up-down and transposed, each with probability 0.5 as
    published with CDVD-TSP. mirror allows the first, turn the other two. Raises ValueError for
    images smaller than the patch.
    """
    if min(height, width) < size:
        raise ValueError(
            f"patch of {size} px from an image of {width}x{height}: lower --patch_size"
        )
    top = int(rng.integers(height - size + 1))
    left = int(rng.integers(width - size + 1))
    mirrored, flipped, transposed = (rng.random(3) < 0.5) & (mirror, turn, turn)
    return Patch(top, left, size, bool(mirrored), bool(flipped), bool(transposed))


def crop_and_turn(
    images: list[Tensor],
    size: int,
    rng: np.random.Generator,
    mirror: bool = True,
    turn: bool = True,
) -> list[Tensor]:
    """The same random patch of image stacks [...,H,W]; see draw_patch."""
    height, width = images[0].shape[-2:]
    patch = draw_patch(height, width, size, rng, mirror, turn)
    return [patch.of_stack(image) for image in images]


def degrade(
    rng: np.random.Generator,
    clip: np.ndarray,
    noise_fraction: float = 0.5,
    jpeg_fraction: float = 0.25,
) -> np.ndarray:
    """A clip [T,H,W,3] in [0,1] with one camera's noise and compression, 8-bit values as float32.

    Gaussian noise of standard deviation U(0, 0.015) with probability `noise_fraction`, JPEG of
    quality 70..95 with `jpeg_fraction`.
    """
    if rng.random() < noise_fraction:
        clip = clip + rng.normal(0, rng.uniform(0, 0.015), clip.shape)
    pixels = array_to_8bit(clip)
    if rng.random() < jpeg_fraction:
        quality = int(rng.integers(70, 96))
        pixels = np.stack([jpeg(frame, quality) for frame in pixels])
    return pixels.astype(np.float32) / 255
