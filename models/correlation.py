"""Cost volume of two feature maps (PWC-Net, Sun et al., CVPR 2018, eq. 2).

    volume(b, (dy+r)*(2r+1) + (dx+r), y, x) = 1/C * sum_c first(b,c,y,x) * second(b,c,y+dy,x+dx)

for dx, dy in -r..r, zero outside the image. There are plain PyTorch forms for any device, and CUDA
kernels (models/correlation_cupy.py). The fastest of them for a device is the custom operator
`blurlab::correlation`, which torch.compile, torch.export and fake tensors see as one node.
"""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from models import correlation_cupy
from models.correlation_cupy import obstacle_to_cupy
from utils.errors import UserError

_BLOCK = 16  # columns of a block in `_banded`; small ones waste fewer products outside the band


def correlation(first: Tensor, second: Tensor, radius: int = 4, impl: str = "auto") -> Tensor:
    """Cost volume [B,(2*radius+1)^2,H,W] of two feature maps [B,C,H,W]; differentiable.

    first, second: of one shape, device and dtype; autocast brings both to its own. radius: the
    largest displacement, px. impl: "reference" (shifted products), "unfold", "banded" (blocked
    matrix products; all three are plain PyTorch), "cupy" (our CUDA kernels; float32, float16 or
    bfloat16 with sums in float32) or "auto": cupy where it can run, else banded, the fastest plain
    form by benchmarks/correlation.py. A named implementation runs or raises ValueError with the
    reason; where "auto" finds a GPU without working kernels, it says so once.
    """
    mixed = first.dtype != second.dtype and not torch.is_autocast_enabled(first.device.type)
    if first.shape != second.shape or first.ndim != 4 or mixed:
        raise ValueError(
            "correlation needs two feature maps [B,C,H,W] of one shape and dtype, got "
            f"{tuple(first.shape)} {first.dtype} and {tuple(second.shape)} {second.dtype}"
        )
    if impl == "auto":
        return torch.ops.blurlab.correlation(first, second, radius)
    if impl not in IMPLEMENTATIONS:
        known = ", ".join(("auto", *IMPLEMENTATIONS))
        raise ValueError(f"correlation has no implementation {impl!r}: choose from {known}")
    return IMPLEMENTATIONS[impl](first, second, radius)


def _shifted_products(first: Tensor, second: Tensor, radius: int) -> Tensor:
    height, width = first.shape[-2:]
    padded = F.pad(second, [radius] * 4)  # [B,C,H+2r,W+2r]
    side = 2 * radius + 1
    planes = []
    for dy, dx in product(range(side), range(side)):
        shifted = padded[..., dy : dy + height, dx : dx + width]
        planes.append((first * shifted).mean(1))
    return torch.stack(planes, 1)  # [B,side*side,H,W]


def _unfold(first: Tensor, second: Tensor, radius: int) -> Tensor:
    batch, channels, height, width = first.shape
    side = 2 * radius + 1
    neighbours = F.unfold(second, side, padding=radius)  # [B,C*side*side,H*W]
    neighbours = neighbours.view(batch, channels, side * side, height, width)
    return torch.einsum("bchw,bcdhw->bdhw", first, neighbours) / channels


def _banded(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """For each row shift, matrix products of blocks of columns with their neighbourhoods.

    Of the products the band |dx| <= radius is kept.
    """
    _, channels, height, width = first.shape
    side = 2 * radius + 1
    blocks = -(-width // _BLOCK)
    right = blocks * _BLOCK - width
    rows = F.pad(first / channels, (0, right)).permute(0, 2, 3, 1)  # [B,H,blocks*BLOCK,C]
    rows = rows.unflatten(2, (blocks, _BLOCK)).contiguous()  # [B,H,blocks,BLOCK,C]
    padded = F.pad(second, (radius, radius + right, radius, radius))
    padded = padded.permute(0, 2, 1, 3)  # [B,H+2r,C,blocks*BLOCK+2r]
    near = padded.unfold(-1, _BLOCK + 2 * radius, _BLOCK)  # [B,H+2r,C,blocks,BLOCK+2r]
    near = near.transpose(2, 3).contiguous()  # [B,H+2r,blocks,C,BLOCK+2r]
    volumes = []
    for sample_rows, sample_near in zip(rows, near):  # of one sample the slices below are views
        bands = []
        for dy in range(side):
            shifted = sample_near[dy : dy + height]
            products = torch.matmul(sample_rows, shifted)  # [H,blocks,BLOCK,BLOCK+2r]
            *outer, row, column = products.stride()
            band = products.as_strided(
                (height, blocks, _BLOCK, side), (*outer, row + column, column)
            )
            band = band.reshape(height, blocks * _BLOCK, side)[:, :width]
            bands.append(band.permute(2, 0, 1))  # [side,H,W]
        volumes.append(torch.cat(bands))
    return torch.stack(volumes)  # [B,side*side,H,W]


def _cupy(first: Tensor, second: Tensor, radius: int) -> Tensor:
    if reason := obstacle_to_cupy(first, radius):
        raise UserError(f"impl='cupy' can't run: {reason}")
    return torch.ops.blurlab.correlation(first, second, radius)


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "reference": _shifted_products,
    "unfold": _unfold,
    "banded": _banded,
    "cupy": _cupy,
}


def _forward_on_gpu(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """The kernels; the plain form where they can't run."""
    if reason := obstacle_to_cupy(first, radius):
        correlation_cupy.warn_once(reason)
        return _banded(first, second, radius)
    return correlation_cupy.forward(first.contiguous(), second.contiguous(), radius)


def _backward_on_gpu(gradient: Tensor, other: Tensor, radius: int, of_second: bool) -> Tensor:
    if obstacle_to_cupy(other, radius):
        return _banded_gradient(gradient, other, radius, of_second)
    contiguous = (gradient.contiguous(), other.contiguous())
    return correlation_cupy.backward(*contiguous, radius, of_second)


def _banded_gradient(gradient: Tensor, other: Tensor, radius: int, of_second: bool) -> Tensor:
    """The gradient [B,C,H,W] of one feature map from the volume's [B,D,H,W] and the other map.

    Of the first map it is 1/C sum_d gradient(d,y,x) other(c,y+dy,x+dx), of the second one the same
    of the volume seen from there (`_seen_from_second`): the transposed products of `_banded`.
    """
    _, channels, height, width = other.shape
    side = 2 * radius + 1
    if of_second:
        gradient = _seen_from_second(gradient, radius)
    blocks = -(-width // _BLOCK)
    right = blocks * _BLOCK - width
    bands = F.pad(gradient, (0, right)).unflatten(1, (side, side))  # [B,side,side,H,blocks*BLOCK]
    bands = bands.permute(0, 1, 3, 4, 2).unflatten(3, (blocks, _BLOCK))
    padded = F.pad(other, (radius, radius + right, radius, radius)).permute(0, 2, 3, 1)
    near = padded.unfold(2, _BLOCK + 2 * radius, _BLOCK)  # [B,H+2r,blocks,C,BLOCK+2r]
    near = near.transpose(3, 4)
    exact = torch.promote_types(other.dtype, torch.float32)
    rows = []
    for sample_bands, sample_near in zip(bands, near):
        wide = other.new_zeros(height, blocks, _BLOCK, _BLOCK + 2 * radius)
        *outer, row, column = wide.stride()
        band = wide.as_strided((height, blocks, _BLOCK, side), (*outer, row + column, column))
        total = other.new_zeros(height, blocks, _BLOCK, channels, dtype=exact)
        for dy in range(side):
            band.copy_(sample_bands[dy])
            total += torch.matmul(wide, sample_near[dy : dy + height])
        rows.append(total.flatten(1, 2)[:, :width].permute(2, 0, 1) / channels)  # [C,H,W]
    return torch.stack(rows).to(other.dtype)


def _seen_from_second(volume: Tensor, radius: int) -> Tensor:
    """The volume [B,D,H,W] with its displacements counted from the second map's pixels.

    result(-d, p + d) = volume(d, p), zero where p lies outside.
    """
    height, width = volume.shape[-2:]
    side = 2 * radius + 1
    padded = F.pad(volume, [radius] * 4)
    planes = []
    for dy, dx in product(range(side), range(side)):
        plane = padded[:, (side - 1 - dy) * side + side - 1 - dx]
        planes.append(plane[:, dy : dy + height, dx : dx + width])
    return torch.stack(planes, 1)


def _in_autocast(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """The autocast rule: both maps in the lower precision, as convolutions have it."""
    kind = first.device.type
    dtype = torch.get_autocast_dtype(kind)
    with torch.autocast(kind, enabled=False):
        return torch.ops.blurlab.correlation(first.to(dtype), second.to(dtype), radius)


def _fake_volume(first: Tensor, second: Tensor, radius: int) -> Tensor:
    batch, _, height, width = first.shape
    return first.new_empty(batch, (2 * radius + 1) ** 2, height, width)


def _fake_gradient(gradient: Tensor, other: Tensor, radius: int, of_second: bool) -> Tensor:
    return other.new_empty(other.shape)


def _keep(ctx, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    first, second, ctx.radius = inputs
    ctx.save_for_backward(first, second)


def _backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    first, second = ctx.saved_tensors
    run = torch.ops.blurlab.correlation_backward
    gradients: list[Tensor | None] = [None, None]
    for index, other in enumerate((second, first)):
        if ctx.needs_input_grad[index]:
            gradients[index] = run(gradient, other, ctx.radius, index == 1)
    return gradients[0], gradients[1], None


# Plain `define`, where torch.library.custom_op would import torch's compiler at the first call.
_LIBRARY = torch.library.Library("blurlab", "DEF")
_LIBRARY.define("correlation(Tensor first, Tensor second, int radius) -> Tensor")
_LIBRARY.define(
    "correlation_backward(Tensor gradient, Tensor other, int radius, bool of_second) -> Tensor"
)
_LIBRARY.impl("correlation", _banded, "CPU")
_LIBRARY.impl("correlation", _forward_on_gpu, "CUDA")
_LIBRARY.impl("correlation", _in_autocast, "AutocastCPU")
_LIBRARY.impl("correlation", _in_autocast, "AutocastCUDA")
_LIBRARY.impl("correlation_backward", _banded_gradient, "CPU")
_LIBRARY.impl("correlation_backward", _backward_on_gpu, "CUDA")
torch.library.register_fake("blurlab::correlation", _fake_volume, lib=_LIBRARY)
torch.library.register_fake("blurlab::correlation_backward", _fake_gradient, lib=_LIBRARY)
torch.library.register_autograd(
    "blurlab::correlation", _backward, setup_context=_keep, lib=_LIBRARY
)
