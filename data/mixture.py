"""Two training sets drawn from in fixed proportions."""

import numpy as np
from torch.utils.data import Dataset


class Mixture(Dataset):
    """The items of `main`, a fraction of them (0..1) replaced by random items of `other`.

    An item depends only on (seed, epoch, index).
    """

    def __init__(self, main: Dataset, other: Dataset, fraction: float, seed: int):
        self.main = main
        self.other = other
        self.fraction = fraction
        self.seed = seed

    def __len__(self) -> int:
        return len(self.main)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        if rng.random() >= self.fraction:
            return self.main[key]
        other_epoch = epoch * len(self) + index  # so that every draw is another one
        other_index = int(rng.integers(len(self.other)))
        return self.other[other_epoch, other_index]
