"""Two training sets drawn from in fixed shares."""

import numpy as np
from torch.utils.data import Dataset


class Mixture(Dataset):
    """The items of `main`, a `share` of them (0..1) replaced by random items of `other`; depends
    only on (seed, epoch, index).
    """

    def __init__(self, main: Dataset, other: Dataset, share: float, seed: int):
        self.main, self.other, self.share, self.seed = main, other, share, seed

    def __len__(self) -> int:
        return len(self.main)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        if rng.random() < self.share:
            return self.other[epoch * len(self) + index, int(rng.integers(len(self.other)))]
        return self.main[key]
