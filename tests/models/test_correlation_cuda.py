"""The CUDA kernels of the cost volume.

They are compiled for real cards without one, run on the CPU through a shim, and run on a GPU where
there is one.
"""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from models.correlation import correlation
from models.correlation_cupy import SOURCE, compile_options

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("value_code", [0, 1, 2])
@pytest.mark.parametrize("radius", [1, 4, 5])
def test_kernels_compile(architecture, value_code, radius):
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    _, program = nvrtc.nvrtcCreateProgram(SOURCE.read_bytes(), b"correlation.cu", 0, None, None)
    options = [
        f"--gpu-architecture={architecture}".encode(),
        *(word.encode() for word in compile_options(radius, value_code)),
    ]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = bytes(size + 1)  # NVRTC writes into it; a one-byte object would be CPython's shared one
    nvrtc.nvrtcGetProgramLog(program, log)
    assert result == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    _, size = nvrtc.nvrtcGetCUBINSize(program)  # ptxas ran too: registers and shared memory fit
    assert size > 0


PROGRAM = """#include "{shim}"
#define RADIUS 2
#define VALUE 0
#include "{kernels}"
extern "C" void forward(float* a, float* b, float* v, int B, int C, int H, int W) {{
  launch({{(W + 31) / 32, (H + 3) / 4, B}}, {{8, 4, 5}},
         [=] {{ correlation_forward(a, b, v, C, H, W); }});
}}
extern "C" void backward(float* g, float* o, float* out, int B, int C, int H, int W,
                         int mirrored) {{
  launch({{(W + 31) / 32, (H + 1) / 2, B}}, {{8, 2, 8}},
         [=] {{ correlation_backward(g, o, out, C, H, W, mirrored); }});
}}
"""


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    """The kernels in float32 with radius 2, compiled as C++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("kernels")
    shim = Path(__file__).with_name("cuda_on_cpu.h")
    (folder / "kernels.cpp").write_text(PROGRAM.format(shim=shim, kernels=SOURCE))
    options = "-std=c++20 -O1 -w -shared -fPIC -pthread -o kernels.so kernels.cpp"
    subprocess.run([compiler, *options.split()], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "kernels.so"))


# less than a tile; several tiles and chunks, none full
@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (2, 9, 6, 37)])
def test_kernels_compute_the_reference_values_and_gradients(on_cpu, shape):
    torch.manual_seed(0)
    first, second = (torch.randn(shape, requires_grad=True) for _ in range(2))
    expected = correlation(first, second, radius=2, impl="reference")
    volume_gradient = torch.randn_like(expected)
    expected.backward(volume_gradient)

    def pointer(tensor):
        return ctypes.c_void_p(tensor.data_ptr())

    volume = torch.full_like(expected, 7.0)
    on_cpu.forward(pointer(first), pointer(second), pointer(volume), *shape)
    torch.testing.assert_close(volume, expected.detach())
    for mirrored, other, reference in ((0, second, first.grad), (1, first, second.grad)):
        gradient = torch.full(shape, 7.0)
        pointers = [pointer(tensor) for tensor in (volume_gradient, other, gradient)]
        on_cpu.backward(*pointers, *shape, mirrored)
        torch.testing.assert_close(gradient, reference)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 19, 11, 13), (1, 196, 12, 20), (1, 33, 45, 83)])
@pytest.mark.parametrize("radius", [1, 4])
def test_gpu_values_and_gradients_equal_the_reference(dtype, shape, radius):
    torch.manual_seed(0)
    maps = [torch.randn(shape, device="cuda").to(dtype) for _ in range(2)]
    ours = [values.clone().requires_grad_() for values in maps]
    exact = [values.float().clone().requires_grad_() for values in maps]
    volume = correlation(*ours, radius, impl="cupy")
    expected = correlation(*exact, radius, impl="reference")
    gradient = torch.randn_like(expected).to(dtype)
    volume.backward(gradient)
    expected.backward(gradient.float())
    tolerance = {"atol": 1e-2, "rtol": 1e-2}
    if dtype == torch.float32:
        tolerance = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(volume.float(), expected, **tolerance)
    for one, two in zip(ours, exact):
        torch.testing.assert_close(one.grad.float(), two.grad, **tolerance)


@pytest.mark.gpu
@needs_gpu
def test_gpu_kernels_run_on_the_current_stream():
    maps = [torch.randn(1, 32, 64, 64, device="cuda") for _ in range(2)]
    expected = correlation(*maps, impl="reference")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        volume = correlation(maps[0] * 1, maps[1] * 1, impl="cupy")
    stream.synchronize()
    torch.testing.assert_close(volume, expected, atol=1e-5, rtol=1e-4)
