"""Optical flow: PWC-Net against the authors' program, and DIS."""

import pytest
import torch

from models.dis_flow import LUMA, DISFlow
from models.published import load_published


@pytest.mark.parametrize("corners", ["T", "F"])
def test_flow_is_the_authors(golden, corners):
    vectors = golden("pwc")
    network = load_published("pwc_net", vectors.state(), align_corners=corners == "T")
    assert not network.training
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == vectors.manifest["param_count"] == 9_374_274
    with torch.inference_mode():
        flow = network(vectors["first"], vectors["second"])  # 70x100: not multiples of 64
    key = f"flow_ac{corners}"
    assert (flow - vectors[key]).abs().max() <= vectors.tolerance(key)


@pytest.mark.parametrize(
    "prefix", ["moduleNetwork.", "flow_net.moduleNetwork.", "module.moduleNetwork."]
)
def test_wrapped_keys_are_understood(golden, prefix):
    state = golden("pwc").state()
    network = load_published("pwc_net", {prefix + key: value for key, value in state.items()})
    assert torch.equal(network.refiner[0].weight, state["moduleRefiner.moduleMain.0.weight"])


def test_dis_flow_finds_a_shift():
    torch.manual_seed(0)
    scene = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 120, 160), 5, 1)
    first = scene[..., 10:106, 10:138]
    second = scene[..., 7:103, 14:142]  # second(p) = first(p + (4, -3)): flow (-4, 3)
    flow = DISFlow()(first, second)
    assert flow.shape == (1, 2, 96, 128)
    inner = flow[0, :, 16:-16, 16:-16].flatten(1).median(1).values
    torch.testing.assert_close(inner, torch.tensor([-4.0, 3.0]), atol=0.2, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (8, 40)])
def test_dis_flow_takes_small_frames(size):
    assert DISFlow()(torch.rand(2, 3, *size), torch.rand(2, 3, *size)).shape == (2, 2, *size)


def test_dis_flow_sees_the_weighted_sum_of_colours():
    frames = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor(LUMA).view(3, 1, 1)
    luma = ((frames * weights).sum(1).clamp(0, 1) * 255).round().to(torch.uint8)
    (seen,) = DISFlow().pyramid(frames)
    assert torch.equal(seen, luma)
