"""A guard for pictures unlike those that a network was trained on.

Blur hardly changes the means over large cells, so a restoration that does (colour mosaics, light or
dark blotches) went astray: GoPro's pairs differ by at most 0.03 in cells of 64 px.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

CELL = 64  # px
LARGEST_CHANGE = 0.15  # of a cell's mean in any colour channel, in [0,1]


@dataclass
class Fallbacks:
    """What the guard found: how many tiles (or frames) were checked, restored with whole-image
    statistics instead of local ones, and left as they were.
    """

    noun: str = "tiles"
    checked: int = 0
    whole_statistics: int = 0
    unchanged: int = 0

    def sentence(self) -> str:
        """For the user; of nothing found ""."""
        words = []
        if self.whole_statistics:
            words.append(f"{self.whole_statistics} restored with whole-image statistics")
        if self.unchanged:
            words.append(f"{self.unchanged} left unrestored")
        if not words:
            return ""
        return (
            f"guard: of {self.checked} {self.noun} {' and '.join(words)}, because the network "
            "changed large areas of the picture (--guard false restores them all the same)"
        )


def is_astray(restored: Tensor, image: Tensor) -> bool:
    """Whether a restored image [B,3,H,W] left the low frequencies of its input in [0,1]."""
    cell = [min(CELL, side) for side in image.shape[-2:]]
    change = F.avg_pool2d(restored.float().clamp(0, 1) - image.float(), cell).abs().amax()
    return not bool(change <= LARGEST_CHANGE)  # NaN too
