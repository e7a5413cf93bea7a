"""The cost volume as the custom operator blurlab::correlation, which torch's tools see through."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from models import correlation_cupy
from models.cdvd_tsp import CDVDTSP
from models.correlation import _forward_on_gpu, correlation

operator = torch.ops.blurlab.correlation


def maps(*shape, dtype=torch.float64, grad=True):
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=dtype, requires_grad=grad) for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_operator_keeps_the_rules_of_torch(dtype):
    """Schema, fake, autograd and dynamic shapes agree with what it computes."""
    torch.library.opcheck(operator, (*maps(2, 3, 5, 19, dtype=dtype), 2))
    gradient = torch.randn(2, 25, 5, 19, dtype=dtype)
    for of_second in (False, True):
        other = maps(2, 3, 5, 19, dtype=dtype, grad=False)[0]
        arguments = (gradient, other, 2, of_second)
        torch.library.opcheck(torch.ops.blurlab.correlation_backward, arguments)


# narrower than a block of columns, wider, and lower than the radius
@pytest.mark.parametrize("shape", [(1, 2, 3, 5), (2, 3, 4, 21), (1, 1, 1, 1)])
def test_gradients_are_those_of_finite_differences(shape):
    assert torch.autograd.gradcheck(lambda *both: operator(*both, 2), maps(*shape), fast_mode=True)


def test_autocast_brings_both_maps_to_its_type():
    first, second = maps(1, 8, 6, 7, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        volume = correlation(first, second.bfloat16(), 2)
    assert volume.dtype == torch.bfloat16
    expected = correlation(first.bfloat16(), second.bfloat16(), 2)
    assert torch.equal(volume, expected)
    volume.sum().backward()
    assert first.grad.dtype == torch.float32 and first.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="one shape and dtype"):
        correlation(first, second.bfloat16(), 2)


def test_on_a_fake_gpu_the_volume_is_on_it():
    with FakeTensorMode(), torch.device("cuda"):
        volume = correlation(torch.empty(2, 3, 5, 7), torch.empty(2, 3, 5, 7), 3)
    assert volume.device.type == "cuda" and volume.shape == (2, 49, 5, 7)


def test_where_the_kernels_fail_the_plain_form_runs_and_says_so_once(monkeypatch, capsys):
    """As on a GPU whose driver can't load them: the trial fails, the result is right."""
    cupy_compiler = pytest.importorskip("cupy.cuda.compiler")

    def fail(*arguments):
        raise cupy_compiler.CompileException("no such architecture", "", "", (), "nvrtc")

    monkeypatch.setattr(correlation_cupy, "_try", fail)
    correlation_cupy._trial_error.cache_clear()
    correlation_cupy.warn_once.cache_clear()
    reason = correlation_cupy._trial_error(4, 0, 0)
    correlation_cupy._trial_error.cache_clear()
    assert reason.startswith("they fail on cuda:0 (")
    monkeypatch.setattr("models.correlation.obstacle_to_cupy", lambda tensor, radius: reason)
    both = maps(1, 3, 5, 7, dtype=torch.float32, grad=False)
    for _ in range(2):
        torch.testing.assert_close(_forward_on_gpu(*both, 4), correlation(*both, 4, "reference"))
    assert capsys.readouterr().err.count("the slower plain form does") == 1


@pytest.fixture(scope="module")
def frames():
    torch.manual_seed(0)
    return list(torch.rand(3, 1, 3, 64, 64))


@pytest.fixture(scope="module")
def cascade():
    """One stage with the learned flow; what surrounds the operator is small."""
    torch.manual_seed(0)
    return CDVDTSP(stages=1, width=4, blocks=1, kernel_size=3).eval()


def test_a_stage_of_the_cascade_compiles_whole(cascade, frames):
    """PWC-Net is in it: no break of the graph, and aot_eager gives what eager gives."""
    torch.compiler.reset()
    compiled = torch.compile(cascade.restore_triplet, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(*frames), cascade.restore_triplet(*frames))
    torch.compiler.reset()


def test_the_flow_is_exported_with_the_operator_as_one_node(cascade, frames):
    program = torch.export.export(cascade.flow, tuple(frames[:2]))
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert calls.count("blurlab.correlation.default") == 5
    torch.testing.assert_close(program.module()(*frames[:2]), cascade.flow(*frames[:2]))
