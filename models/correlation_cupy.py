"""The CUDA kernels of the cost volume (correlation.cu), compiled and launched through CuPy.

What they compute and what is behind the names stands in models/correlation.py.
"""

import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("correlation.cu")
_TILE_X = 32  # TILE_X of correlation.cu
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)  # in the order of VALUE in correlation.cu


def obstacle_to_cupy(tensor: Tensor, radius: int = 4) -> str:
    """Why the CUDA kernels can't run on this tensor; empty if they can.

    The first question for a device, radius and type compiles the kernels and tries them.
    """
    if tensor.device.type != "cuda":
        return f"it needs tensors on a CUDA device, these are on {tensor.device}"
    if tensor.dtype not in _DTYPES:
        return f"it takes float32, float16 and bfloat16, not {tensor.dtype}"
    if not 1 <= radius <= 5:
        return f"its shared memory fits radius 1 to 5, not {radius}"
    index = tensor.device.index
    return _import_error() or _trial_error(radius, _DTYPES.index(tensor.dtype), index)


def forward(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """The cost volume [B,(2*radius+1)^2,H,W] of contiguous feature maps [B,C,H,W]."""
    batch, _, height, width = first.shape
    side = 2 * radius + 1
    volume = first.new_empty(batch, side**2, height, width)
    tensors = (first, second, volume)
    _launch("correlation_forward", tensors, first.shape, radius, rows=4, depth=side)
    return volume


def backward(volume_gradient: Tensor, other: Tensor, radius: int, of_second: bool) -> Tensor:
    """The gradient [B,C,H,W] of one feature map from that of the volume and the other map."""
    gradient = torch.empty_like(other)
    tensors = (volume_gradient, other, gradient)
    extra = (int(of_second),)
    _launch("correlation_backward", tensors, other.shape, radius, rows=2, depth=8, extra=extra)
    return gradient


def compile_options(radius: int, value_code: int) -> tuple[str, ...]:
    """NVRTC's options for correlation.cu; value_code: 0 float32, 1 float16, 2 bfloat16."""
    return ("-std=c++17", f"-DRADIUS={radius}", f"-DVALUE={value_code}")


@cache
def warn_once(reason: str) -> None:
    """Say that the plain form stands in for the kernels."""
    print(
        f"warning: the CUDA kernels of the correlation can't run, the slower plain form does: "
        f"{reason}",
        file=sys.stderr,
    )


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
        code = _DTYPES.index(tensors[0].dtype)
        kernel = _module(radius, code, device.index).get_function(name)
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


@cache
def _trial_error(radius: int, value_code: int, device_index: int) -> str:
    """Why the kernels fail to compile or to launch on a device; empty if a trial of them runs."""
    from cupy.cuda.compiler import CompileException

    try:
        _try(radius, _DTYPES[value_code], device_index)
    except (CompileException, RuntimeError, OSError, ImportError) as error:
        return f"they fail on cuda:{device_index} ({str(error).strip().splitlines()[0]})"
    return ""


def _try(radius: int, dtype: torch.dtype, device_index: int) -> None:
    """Run both kernels once on maps of 2x2 px."""
    maps = torch.zeros(1, 1, 2, 2, dtype=dtype, device=f"cuda:{device_index}")
    backward(forward(maps, maps, radius), maps, radius, of_second=False)
    torch.cuda.synchronize(device_index)
