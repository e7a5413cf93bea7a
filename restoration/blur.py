"""How long the blur of a picture is, place by place, from a pyramid of shrunken copies.

Every level of the pyramid is half as large as the one before. The network of models/blur_length.py
tells 5 to 10 px best; so a place starts with what the coarsest level says and goes to the next
finer one as long as its blur is short there. Noise makes blur look short, and less so the coarser
the level: a finer one can't say much less than a coarser one that is certain.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models import SHIPPED, load_network
from models.blur_length import MIN_LENGTH, STRIDE, BlurLength
from utils.tiling import pad_to_multiple

MAX_LEVELS = 6
MIN_SIDE = 96  # px of the coarsest level
FINER_BELOW = (8.0, 11.0)  # px of a level: shorter blur is measured at the next finer one
CERTAIN = 3.0  # px of a level: blur this long is not taken for noise, nor for a soft lens
MAX_DROP = 0.5  # log2 of how much shorter the next finer level may say it is
MIN_AREA = 0.02  # of the picture, so that a finer level is looked at
SMOOTHING = 5  # cells: places are averaged over so many
PRIOR = 0.02  # weight of the whole picture's length, which decides where there is no texture
STRIP = 1024  # rows that the network sees at a time
STRIP_MARGIN = 64  # rows
NOISE_CELL = 6  # samples of the noise, every third px
NOISE_SEEN = (0.03, 0.95)  # means of the cells that show noise; black and white ones hide it
SMOOTHEST = 0.1  # of the cells
# Takes away what is linear in rows or columns, and keeps the deviation of white noise (Immerkaer
# 1996).
NOISE_KERNEL = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None] / 6


class BlurMap(NamedTuple):
    """Lengths of the blur in px [h,w], cells from the upper left corner; `typical`: the length of
    the picture as a whole; cell: the side of a cell in px.
    """

    lengths: Tensor
    typical: float
    cell: int


@dataclass
class _Level:
    """log2 of the lengths in px of the full picture [1,1,h,w], and the weight of each."""

    lengths: Tensor
    weights: Tensor


@cache
def shipped_meter() -> BlurLength:
    """The shipped network, on the CPU."""
    return load_network(SHIPPED["length"], BlurLength).requires_grad_(False)


@torch.inference_mode()
def measure(image: Tensor, network: BlurLength | None = None) -> BlurMap:
    """The map of an image [3,H,W] in [0,1]."""
    with torch.autocast("cpu", enabled=False):
        return _map(image, network or shipped_meter())


def _map(image: Tensor, network: BlurLength) -> BlurMap:
    pyramid = [image[None].float()]
    while len(pyramid) < MAX_LEVELS and min(pyramid[-1].shape[-2:]) >= 2 * MIN_SIDE:
        pyramid.append(F.avg_pool2d(pad_to_multiple(pyramid[-1], 2), 2))
    index = len(pyramid) - 1
    found = _measured(network, pyramid[index], index)
    while index:
        index -= 1
        size = _cells(pyramid[index])
        coarser = _Level(*(F.interpolate(part, size) for part in (found.lengths, found.weights)))
        low, high = FINER_BELOW
        in_level = coarser.lengths.exp2() / 2**index
        finer = ((high - in_level) / (high - low)).clamp(0, 1)  # weight of the finer level
        if finer.mean() < MIN_AREA:
            index += 1
            break
        level = _measured(network, pyramid[index], index)
        certain = in_level >= 2 * CERTAIN  # px of the finer level
        floor = torch.where(certain, coarser.lengths - MAX_DROP, 0)
        level = _Level(torch.maximum(level.lengths, floor), level.weights)
        found = _Level(
            torch.lerp(coarser.lengths, level.lengths, finer),
            torch.lerp(coarser.weights, level.weights, finer),
        )
    lengths = found.lengths[0, 0].exp2()
    return BlurMap(lengths, _typical(found), STRIDE * 2**index)


def colour_noise(image: Tensor) -> float:
    """The deviation of noise in R-G and B-G where an image [3,H,W] in [0,1] is smoothest.

    Texture hardly differs between colours, and noise does. 0 for images of less than 20 px.
    """
    red, green, blue = image.float()
    if min(green.shape) < 3 * NOISE_CELL + 2:
        return 0.0
    colours = torch.stack((red - green, blue - green))[:, None]
    samples = F.conv2d(colours, NOISE_KERNEL.to(image.device), stride=3)
    variances = F.avg_pool2d(samples.square(), NOISE_CELL).mean(0).flatten()
    brightness = F.avg_pool2d(green[None, 1:-1:3, 1:-1:3], NOISE_CELL).flatten()
    low, high = NOISE_SEEN
    seen = variances[(brightness > low) & (brightness < high)]
    return float(seen.quantile(SMOOTHEST).sqrt()) if len(seen) else 0.0


def _cells(image: Tensor) -> tuple[int, int]:
    return tuple(-(-side // STRIDE) for side in image.shape[-2:])


def _measured(network: BlurLength, image: Tensor, level: int) -> _Level:
    """What the network says of one level [1,3,h,w], smoothed by its certainty."""
    parts = []
    for start in range(0, image.shape[-2], STRIP):
        first = max(start - STRIP_MARGIN, 0)
        lengths, spread = network(image[..., first : start + STRIP + STRIP_MARGIN, :])
        rows = slice((start - first) // STRIDE, (start - first + STRIP) // STRIDE)
        parts.append(torch.stack((lengths, spread), 1)[..., rows, :])
    length, spread = torch.cat(parts, -2).split(1, 1)  # [1,1,h,w]
    weights = torch.exp(-2 * spread)
    sums = torch.cat((length * weights, weights), 1)
    smooth = F.avg_pool2d(sums, SMOOTHING, 1, SMOOTHING // 2, count_include_pad=False)
    whole = sums.mean((2, 3), keepdim=True)
    weighted, total = (smooth + PRIOR * whole).split(1, 1)
    lengths = (weighted / total).clamp(min=0) + level
    return _Level(lengths, total)


def _typical(level: _Level) -> float:
    """The median of the lengths by weight."""
    lengths, order = level.lengths.flatten().sort()
    weights = level.weights.flatten()[order].cumsum(0)
    middle = torch.searchsorted(weights, weights[-1] / 2)
    return max(float(lengths[middle.clamp(max=len(lengths) - 1)].exp2()), MIN_LENGTH)
