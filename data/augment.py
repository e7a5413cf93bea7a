"""Random crops and flips, one draw for all images of a sample."""

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
