"""Random crops, flips and degradations, one draw for all images of a sample."""

import cv2
import numpy as np
from torch import Tensor


def crop_and_turn(
    images: list[Tensor],
    size: int,
    rng: np.random.Generator,
    mirror: bool = True,
    turn: bool = True,
) -> list[Tensor]:
    """The same random `size` x `size` patch of image stacks [...,H,W], randomly flipped.

    The patch is mirrored left-right, flipped up-down and transposed, each with probability 0.5 as
    published with CDVD-TSP. mirror allows the first, turn the other two. Raises ValueError for
    images smaller than the patch.
    """
    height, width = images[0].shape[-2:]
    if min(height, width) < size:
        raise ValueError(
            f"patch of {size} px from an image of {width}x{height}: lower --patch_size"
        )
    top = int(rng.integers(height - size + 1))
    left = int(rng.integers(width - size + 1))
    mirrored, flipped, transposed = (rng.random(3) < 0.5) & (mirror, turn, turn)
    patches = []
    for image in images:
        patch = image[..., top : top + size, left : left + size]
        if mirrored:
            patch = patch.flip(-1)
        if flipped:
            patch = patch.flip(-2)
        if transposed:
            patch = patch.transpose(-1, -2)
        patches.append(patch.contiguous())
    return patches


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
    pixels = np.round(np.clip(clip, 0, 1) * 255).astype(np.uint8)
    if rng.random() < jpeg_fraction:
        quality = int(rng.integers(70, 96))
        pixels = np.stack([_jpeg_compressed(frame, quality) for frame in pixels])
    return pixels.astype(np.float32) / 255


def _jpeg_compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)
