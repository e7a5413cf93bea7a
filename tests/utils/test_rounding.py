import numpy as np
import torch

from utils.image import to_8bit
from utils.rounding import array_to_8bit


def test_arrays_and_tensors_are_rounded_alike():
    values = np.linspace(-0.1, 1.1, 3 * 40 * 50, dtype=np.float32).reshape(40, 50, 3)
    tensor = torch.from_numpy(values).movedim(-1, 0)
    assert np.array_equal(array_to_8bit(values), to_8bit(tensor))
    halves = np.float32([0.5, 1.5, 2.5]) / 255  # to even, where a half is held exactly
    assert array_to_8bit(halves).tolist() == [0, 2, 2]
