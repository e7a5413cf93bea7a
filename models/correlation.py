"""Cost volume of two feature maps (PWC-Net, Sun et al., CVPR 2018, eq. 2).

    volume(b, (dy+r)*(2r+1) + (dx+r), y, x) = 1/C * sum_c first(b,c,y,x) * second(b,c,y+dy,x+dx)

for dx, dy in -r..r, zero outside the image. There are plain PyTorch forms for any device, and CUDA
kernels (correlation.cu) through CuPy.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.errors import UserError

SOURCE = Path(__file__).with_name("correlation.cu")
_TILE_X = 32  # TILE_X of correlation.cu
_VALUE_CODES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # VALUE of correlation.cu
_BLOCK = 16  # columns of a block in `_banded`; small ones waste fewer products outside the band


def correlation(first: Tensor, second: Tensor, radius: int = 4, impl: str = "auto") -> Tensor:
    """Cost volume [B,(2*radius+1)^2,H,W] of two feature maps [B,C,H,W]; differentiable.

    first, second: of one shape, device and dtype. radius: the largest displacement, px.
    impl: "reference" (shifted products), "unfold", "banded" (blocked matrix products; all three are
    plain PyTorch), "cupy" (our CUDA kernels; float32, float16 or bfloat16 with sums in float32) or
    "auto": cupy where it can run, else banded, the fastest plain form by benchmarks/correlation.py.
    A named implementation runs or raises ValueError with the reason.
    """
    if first.shape != second.shape or first.ndim != 4 or first.dtype != second.dtype:
        raise ValueError(
            "correlation needs two feature maps [B,C,H,W] of one shape and dtype, got "
            f"{tuple(first.shape)} {first.dtype} and {tuple(second.shape)} {second.dtype}"
        )
    if impl == "auto":
        impl = "banded" if obstacle_to_cupy(first, radius) else "cupy"
    if impl not in IMPLEMENTATIONS:
        known = ", ".join(("auto", *IMPLEMENTATIONS))
        raise ValueError(f"correlation has no implementation {impl!r}: choose from {known}")
    return IMPLEMENTATIONS[impl](first, second, radius)


def obstacle_to_cupy(tensor: Tensor, radius: int = 4) -> str:
    """Why the CUDA kernels can't run on this tensor; empty if they can."""
    if tensor.device.type != "cuda":
        return f"it needs tensors on a CUDA device, these are on {tensor.device}"
    if tensor.dtype not in _VALUE_CODES:
        return f"it takes float32, float16 and bfloat16, not {tensor.dtype}"
    if not 1 <= radius <= 5:
        return f"its shared memory fits radius 1 to 5, not {radius}"
    return _import_error()


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
    return _CupyCorrelation.apply(first.contiguous(), second.contiguous(), radius)


class _CupyCorrelation(torch.autograd.Function):
    """The CUDA kernels with their gradients, of contiguous feature maps."""

    @staticmethod
    def forward(ctx, first: Tensor, second: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.radius = radius
        batch, _, height, width = first.shape
        volume = first.new_empty(batch, (2 * radius + 1) ** 2, height, width)
        tensors = (first, second, volume)
        depth = 2 * radius + 1
        _launch("correlation_forward", tensors, first.shape, radius, rows=4, depth=depth)
        return volume

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, volume_gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        volume_gradient = volume_gradient.contiguous()
        gradients: list[Tensor | None] = [None, None]
        for which, other in enumerate(reversed(ctx.saved_tensors)):
            if not ctx.needs_input_grad[which]:
                continue
            gradients[which] = torch.empty_like(other)
            _launch(
                "correlation_backward",
                (volume_gradient, other, gradients[which]),
                other.shape,
                ctx.radius,
                rows=2,
                depth=8,
                extra=(which,),
            )
        return gradients[0], gradients[1], None


def _launch(
    name: str,
    tensors: tuple[Tensor, ...],
    shape: torch.Size,
    radius: int,
    rows: int,
    depth: int,
    extra: tuple = (),
) -> None:
    """Enqueue a kernel on torch's current stream.

    rows, depth: a block's threads, FORWARD_Y and SIDE, or BACKWARD_Y and CHUNK of correlation.cu.
    extra: more integers for the kernel, behind its sizes.
    """
    import cupy
    import numpy as np

    batch, channels, height, width = shape
    if 0 in shape:
        return
    device = tensors[0].device
    with cupy.cuda.Device(device.index), _stream(cupy, torch.cuda.current_stream(device)):
        kernel = _module(radius, _VALUE_CODES[tensors[0].dtype], device.index).get_function(name)
        sizes = [np.int32(size) for size in (channels, height, width, *extra)]
        pointers = [np.uintp(tensor.data_ptr()) for tensor in tensors]
        grid = (-(-width // _TILE_X), -(-height // rows), batch)
        block = (_TILE_X // 4, rows, depth)
        kernel(grid, block, (*pointers, *sizes))


def _stream(cupy, stream: torch.cuda.Stream):
    """CuPy's view of a stream of torch."""
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(stream)
    return cupy.cuda.ExternalStream(stream.cuda_stream, stream.device_index)  # older CuPy


@cache
def _module(radius: int, value_code: int, device_index: int):
    """The compiled kernels for one device (modules belong to a context)."""
    import cupy

    del device_index
    return cupy.RawModule(code=SOURCE.read_text(), options=compile_options(radius, value_code))


def compile_options(radius: int, value_code: int) -> tuple[str, ...]:
    """NVRTC's options for correlation.cu; value_code: 0 float32, 1 float16, 2 bfloat16."""
    return ("-std=c++17", f"-DRADIUS={radius}", f"-DVALUE={value_code}")


@cache
def _import_error() -> str:
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        return (
            f"CuPy can't be imported ({error}): pip install cupy-cuda13x, or cupy-cuda12x "
            "with a driver older than 580"
        )
    return ""


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "reference": _shifted_products,
    "unfold": _unfold,
    "banded": _banded,
    "cupy": _cupy,
}
