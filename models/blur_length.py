"""How long the motion blur of a picture is, place by place. OUR design.

The length of a blur is that of the straight, uniform motion whose kernel spreads as far along its
longest axis: sqrt(12 v) for the largest eigenvalue v of the kernel's covariance, in px. So a
line of 20 px has length 20, whatever its direction, and no blur has length 0.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 16  # px of a picture per cell of the result
MIN_LENGTH = 1.0  # px; shorter blur counts as this
MAX_LENGTH = 32.0  # px; longer blur is measured on a shrunken picture
CELL = 8  # px; local means are taken over windows of 5x5 cells
WINDOW_CELLS = 5
CONTRAST_FLOOR = 0.02  # standard deviation below which noise is not amplified further


class BlurLength(nn.Module):
    """The logarithm of the length of the blur, and how certain it is, per cell of 16x16 px.

    widths: channels of the four convolutions of stride 2. blocks: convolutions after them. It sees
    grey values less their local mean, over their local deviation, so light and contrast don't
    matter.
    """

    kind = "network that measures the length of blur"

    def __init__(self, widths: tuple[int, ...] = (8, 16, 32, 48), blocks: int = 2):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 2
        for width in widths:
            side = 5 if channels == 2 else 3
            layers += (nn.Conv2d(channels, width, side, 2, side // 2), nn.ReLU())
            channels = width
        for _ in range(blocks):
            layers += (nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU())
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, 2, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(log2 of the length in px, log of the scale of its error), [B,h,w] each.

        image: [B,3,H,W] in [0,1]; h, w = H / 16, W / 16, rounded up. The error's distribution is
        taken for Laplace's.
        """
        length, spread = self.body(normalised(image)).unbind(1)  # [B,h,w]
        return length, spread.clamp(-4, 3)


def normalised(image: Tensor) -> Tensor:
    """What the network sees [B,2,H,W]: grey values of local mean 0 and deviation 1, and the log of
    that deviation.
    """
    grey = image.float().mean(1, keepdim=True)
    mean, square = _box(torch.cat((grey, grey**2), 1)).split(1, 1)
    deviation = (square - mean**2).clamp(min=0).sqrt() + CONTRAST_FLOOR
    return torch.cat(((grey - mean) / deviation, deviation.log() / 4), 1)


def kernel_length(kernel: np.ndarray) -> float:
    """The length in px of the blur that a kernel [K,K] of sum 1 makes."""
    rows, columns = np.indices(kernel.shape)
    points = np.stack((rows, columns)).reshape(2, -1)
    covariance = np.cov(points, aweights=np.float64(kernel).ravel(), bias=True)
    return float(np.sqrt(12 * max(np.linalg.eigvalsh(covariance)[-1], 0)))


def _box(values: Tensor) -> Tensor:
    """Means over windows, worked out on coarse cells; beyond the border nothing counts."""
    size = values.shape[-2:]
    cells = F.avg_pool2d(values, CELL, ceil_mode=True, count_include_pad=False)
    means = F.avg_pool2d(cells, WINDOW_CELLS, 1, WINDOW_CELLS // 2, count_include_pad=False)
    return F.interpolate(means, size=size, mode="bilinear")
