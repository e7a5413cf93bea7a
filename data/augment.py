"""Random crops, flips and degradations, one draw for all images of a sample."""

import cv2
import numpy as np
from torch import Tensor


def crop_and_turn(images: list[Tensor], size: int, rng: np.random.Generator) -> list[Tensor]:
    """The same random `size` x `size` patch of image stacks [...,H,W], flipped left-right, up-down and turned by 90 degrees.

    Each of the three with probability 0.5, as published with CDVD-TSP. Raises ValueError for images smaller than the patch.
    """
    height, width = images[0].shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"patch of {size} px from an image of {width}x{height}: lower --patch_size")
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    mirror, flip, turn = rng.random(3) < 0.5
    patches = []
    for image in images:
        patch = image[..., top : top + size, left : left + size]
        patch = patch.flip(-1) if mirror else patch
        patch = patch.flip(-2) if flip else patch
        patches.append((patch.transpose(-1, -2) if turn else patch).contiguous())
    return patches


def degrade(rng: np.random.Generator, clip: np.ndarray, noise_share: float = 0.5, jpeg_share: float = 0.25) -> np.ndarray:
    """Noise and compression of one camera for a whole clip [T,H,W,3] in [0,1], rounded to 8 bits, float32.

    Gaussian noise of standard deviation U(0, 0.015) with probability `noise_share`, JPEG of quality 70..95 with `jpeg_share`.
    """
    if rng.random() < noise_share:
        clip = clip + rng.normal(0, rng.uniform(0, 0.015), clip.shape)
    pixels = np.round(np.clip(clip, 0, 1) * 255).astype(np.uint8)
    if rng.random() < jpeg_share:
        settings = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 96))]
        pixels = np.stack([cv2.imdecode(cv2.imencode(".jpg", frame, settings)[1], cv2.IMREAD_COLOR) for frame in pixels])
    return pixels.astype(np.float32) / 255
