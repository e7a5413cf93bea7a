"""Cost volume of two feature maps (PWC-Net, Sun et al. 2018, section 3).

volume(b, (dy+r)*(2r+1) + (dx+r), y, x) = 1/C * sum_c first(b,c,y,x) * second(b,c,y+dy,x+dx),
dx, dy in -r..r, zero outside the image.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def correlation(first: Tensor, second: Tensor, radius: int = 4, impl: str = "auto") -> Tensor:
    """Cost volume [B,(2*radius+1)^2,H,W] of feature maps [B,C,H,W] of the same shape.

    impl: "reference" (shifted products, differentiable, any device), "unfold", "banded" (other plain PyTorch
    forms of the same numbers) or "auto" (the fastest as measured by benchmarks/correlation.py). A named
    implementation runs or raises.
    """
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(f"correlation needs two feature maps [B,C,H,W] of one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    if impl == "auto":
        impl = _fastest(first, radius)
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"correlation has no implementation {impl!r}: choose from auto, {', '.join(IMPLEMENTATIONS)}")
    return IMPLEMENTATIONS[impl](first, second, radius)


def _shifted_products(first: Tensor, second: Tensor, radius: int) -> Tensor:
    height, width = first.shape[-2:]
    padded = F.pad(second, [radius] * 4)
    shifts = range(2 * radius + 1)
    return torch.stack([(first * padded[..., dy : dy + height, dx : dx + width]).mean(1) for dy in shifts for dx in shifts], 1)


def _unfold(first: Tensor, second: Tensor, radius: int) -> Tensor:
    batch, channels, height, width = first.shape
    side = 2 * radius + 1
    neighbours = F.unfold(second, side, padding=radius).view(batch, channels, side * side, height, width)
    return torch.einsum("bchw,bcdhw->bdhw", first, neighbours) / channels


def _banded(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """For each row shift, matrix products of blocks of columns with their neighbourhoods, of which the band |dx| <= radius is kept."""
    batch, channels, height, width = first.shape
    side = 2 * radius + 1
    blocks = -(-width // _BLOCK)
    right = blocks * _BLOCK - width
    rows = F.pad(first / channels, (0, right)).permute(0, 2, 3, 1).reshape(batch, height, blocks, _BLOCK, channels)
    padded = F.pad(second, (radius, radius + right, radius, radius)).permute(0, 2, 1, 3)  # [B,H+2r,C,blocks*BLOCK+2r]
    neighbourhoods = padded.unfold(-1, _BLOCK + 2 * radius, _BLOCK).transpose(2, 3).contiguous()  # [B,H+2r,blocks,C,BLOCK+2r]
    bands = []
    for dy in range(side):
        products = torch.matmul(rows, neighbourhoods[:, dy : dy + height])  # [B,H,blocks,BLOCK,BLOCK+2r]
        *outer, row, column = products.stride()
        band = products.as_strided((batch, height, blocks, _BLOCK, side), (*outer, row + column, column))
        bands.append(band.reshape(batch, height, blocks * _BLOCK, side)[:, :, :width].permute(0, 3, 1, 2))
    return torch.cat(bands, 1)  # [B,side*side,H,W]


_BLOCK = 48  # columns; small ones waste fewer products outside the band


def _fastest(first: Tensor, radius: int) -> str:
    return "reference"


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "reference": _shifted_products,
    "unfold": _unfold,
    "banded": _banded,
}
