"""How values become 8 bits. With NumPy alone, so that data/synthesis may use it."""

import numpy as np


def array_to_8bit(image: np.ndarray) -> np.ndarray:
    """round(clip(x,0,1)*255) (half to even) as uint8; of tensors: to_8bit of utils/image.py."""
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)
