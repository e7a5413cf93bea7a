"""IRP against the authors' program and the packages that it used.

Also what the frozen network does inside NAFNet.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models import build, load
from models.contracts import IMAGENET
from models.irp import (
    IRP,
    DilatedBlock,
    SelectiveFusion,
    brighten,
    guided_filter,
    histogram,
)
from models.published import load_published, rename
from models.trunks import LightStage, Trunk, stages
from tests.golden.fill import fill_state_dict
from utils.checkpoint import save_weights
from utils.errors import UserError

LIGHT = {"backbone": "light", "channels": 16, "widths": [4, 8, 8, 16, 16]}


def largest(difference):
    return float(difference.abs().max())


@torch.inference_mode()
def test_the_network_is_the_authors(golden):
    """Their checkpoint's keys, dead parts included, through the loader."""
    vectors = golden("irp")
    state = vectors.state()
    network = load_published("irp", state)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    published = [value.numel() for key, value in state.items() if not key.endswith(buffers)]
    assert sum(published) == 65_771_171
    assert sum(parameter.numel() for parameter in network.parameters()) == 43_607_060
    values = network(vectors["x"], vectors["x_exp"])
    assert largest(values - vectors["q"][:, 0]) <= vectors.tolerance("q")
    fused = network.maps(vectors["x"], vectors["x_exp"])
    fused = torch.stack([part[:, ::16].expand(-1, -1, 2, 3) for part in fused], 1)
    assert largest(fused - vectors["skff3"]) <= vectors.tolerance("skff3")
    head = network.histogram_head(vectors["hist"])
    assert largest(head - vectors["fc_hist"]) <= vectors.tolerance("fc_hist")


def part(vectors, name):
    manifest = vectors.manifest
    filled = fill_state_dict(manifest["state_dict"][name], manifest["gain"], manifest["salt"])
    return {key: torch.from_numpy(value) for key, value in filled.items()}


@torch.inference_mode()
def test_parts_are_the_authors(golden):
    vectors = golden("irp_parts")
    assert torch.equal(histogram(vectors["hist_x"]), vectors["hist_counts"].float())
    x = vectors["guided_x"]
    y = vectors["guided_y"]
    assert largest(guided_filter(x, x) - vectors["guided"]) <= vectors.tolerance("guided")
    assert largest(guided_filter(x, y) - vectors["guided_xy"]) <= vectors.tolerance("guided_xy")


@torch.inference_mode()
def test_the_selective_fusion_is_the_authors(golden):
    vectors = golden("irp_parts")
    fusion = SelectiveFusion(32)
    renamed = {
        key.replace("conv_du", "squeeze").replace("fcs", "weights"): value
        for key, value in part(vectors, "SKFF").items()
        if "fc_dis" not in key
    }
    fusion.load_state_dict(renamed)
    fused = torch.stack(fusion(list(vectors["skff_in"].unbind(1))), 1)
    assert largest(fused - vectors["skff_out"]) <= vectors.tolerance("skff_out")


@torch.inference_mode()
def test_the_dilated_block_is_the_authors(golden):
    vectors = golden("irp_parts")
    block = DilatedBlock(16)
    names = {"conv_1x1_output": "merge.0", "ca.conv_du": "attention"}
    names |= {f"atrous_block{number + 1}": f"dilated.{number}" for number in range(4)}
    state = rename(part(vectors, "ASPP"), list(names.items()))
    block.load_state_dict(state)
    assert largest(block(vectors["aspp_in"]) - vectors["aspp_out"]) <= vectors.tolerance("aspp_out")


def test_the_guided_filter_is_the_packages():
    """Values of the program's package in float64; flat pictures stay as they are."""
    package = pytest.importorskip("guided_filter_pytorch.guided_filter")
    generator = torch.Generator().manual_seed(0)
    for size, window in (((40, 53), 11), ((64, 64), 5), ((24, 31), 11)):
        x, y = (torch.rand(2, 3, *size, generator=generator, dtype=torch.float64) for _ in range(2))
        theirs = package.GuidedFilter(window // 2, 0.01)(x, y)
        assert largest(guided_filter(x, y, window) - theirs) < 1e-5
    flat = torch.full((1, 3, 20, 20), 0.3)
    assert torch.allclose(guided_filter(flat, flat), flat, atol=1e-6)


def test_the_histogram_by_counting():
    image = torch.rand(3, 3, 9, 11, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    image[0, 0, 0, :3] = torch.tensor([0.0, 1.0, 0.5])
    counts = histogram(image)
    for own, values in zip(counts, image.flatten(1)):
        assert torch.equal(own, torch.histc(values, 256, 0, 1))
        assert own.sum() == ((values >= 0) & (values <= 1)).sum()


def test_brightening_by_hand():
    """A picture that was stored 10 times too dark comes back, then ImageNet's figures.

    It is above 1 where it was clipped.
    """
    image = torch.full((2, 3, 1, 1), 0.5)
    seen = brighten(image, torch.tensor([1.0, 10.0]))
    mean, deviation = (torch.tensor(figures) for figures in IMAGENET)
    assert torch.allclose(seen[0, :, 0, 0], (0.5 - mean) / deviation)
    brightened = (0.5**2.2 * 10) ** (1 / 2.2)
    assert torch.allclose(seen[1, :, 0, 0], (brightened - mean) / deviation, rtol=1e-5)


def test_both_resnets_are_one():
    """pretrainedmodels' trunk, which the published program used, has torchvision's keys."""
    pytest.importorskip("pretrainedmodels")
    torch.manual_seed(0)
    ours = build("irp", backbone="resnet18", channels=16).eval()
    theirs = build("irp", backbone="pretrainedmodels:resnet18", channels=16).eval()
    theirs.load_state_dict(ours.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(image, brighten(image)), theirs(image, brighten(image)))


def test_imagenets_weights_reach_both_trunks():
    from torchvision.models import resnet18

    state = resnet18(weights=None).state_dict()
    network = build("irp", backbone="resnet18", channels=16)
    network.load_backbone(state)
    assert torch.equal(network.blur_trunk[7][1].conv2.weight, state["layer4.1.conv2.weight"])
    assert torch.equal(network.noise_trunk[5][0].bn1.bias, state["layer2.0.bn1.bias"])
    assert len(network.noise_trunk) == 6


@torch.inference_mode()
def test_any_size_and_any_batch():
    """Samples do not see each other; odd sizes work; below 32 px a sentence."""
    torch.manual_seed(0)
    network = build("irp", **LIGHT).eval()
    images = torch.rand(3, 3, 45, 70)
    ratios = torch.tensor([1.0, 5.0, 75.0])
    together = network(images, brighten(images, ratios))
    alone = [
        network(image, brighten(image, ratio)) for image, ratio in zip(images.split(1), ratios)
    ]
    assert together.shape == (3,)
    assert largest(together - torch.cat(alone)) < 1e-4
    score, potential = network.score_and_map(images, brighten(images, ratios))
    assert torch.allclose(score, together, atol=1e-5)
    assert potential.shape == (3, 2, 3)
    with pytest.raises(UserError, match="31x40 px: IRP needs at least 32"):
        network(torch.rand(1, 3, 40, 31), torch.rand(1, 3, 40, 31))


def test_fresh_networks_start_near_the_middle_of_the_scale():
    """The published initialisation would let the noise branch's linear layers multiply values."""
    torch.manual_seed(0)
    image = torch.rand(4, 3, 64, 64)
    values = build("irp", **LIGHT | {"channels": 64})(image, brighten(image))
    assert (values - 6).abs().max() < 2


def test_weights_keep_their_shape(tmp_path):
    network = build("irp", **LIGHT)
    path = tmp_path / "w.safetensors"
    save_weights(path, network, "irp", network.arguments, "irp", dtype=torch.float32)
    again = load(path)
    assert isinstance(again, IRP)
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"backbone": "resnet51"}, "torchvision has no model 'resnet51'"),
        ({"backbone": "squeezenet1_1"}, "squeezenet1_1 is no ResNet"),
        ({"backbone": "timm:resnet50"}, "unknown backbone"),
        ({"backbone": "light", "widths": [4, 8]}, "has 5 widths"),
    ],
)
def test_backbones_that_are_none(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        build("irp", **arguments)


GUIDED = {
    "irp": LIGHT,
    "width": 8,
    "encoder": [1, 1],
    "middle": 1,
    "decoder": [1, 1],
    "downscale": 2,
}


def test_an_untrained_condition_changes_nothing():
    """The plain network's results for any size; gradients reach the condition, never the judge."""
    torch.manual_seed(0)
    guided = build("guided_nafnet", **GUIDED).train()
    plain = build("nafnet", **{key: value for key, value in GUIDED.items() if key != "irp"})
    shared = {key: guided.state_dict()[key] for key in plain.state_dict()}
    plain.load_state_dict(shared)
    for size in ((64, 96), (50, 70), (20, 11)):
        image = torch.rand(2, 3, *size)
        assert largest(guided(image) - plain(image)) < 1e-5
    before = {key: value.clone() for key, value in guided.judge.state_dict().items()}
    guided(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert guided.guide[-1].weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in guided.judge.parameters())
    assert all(torch.equal(value, before[key]) for key, value in guided.judge.state_dict().items())


@torch.inference_mode()
def test_the_condition_is_irps_map_and_score():
    torch.manual_seed(0)
    guided = build("guided_nafnet", **GUIDED).eval()
    image = torch.rand(1, 3, 64, 96)
    condition = guided.condition(image)
    score, potential = guided.judge.score_and_map(image, brighten(image))
    assert condition.shape == (1, 2, 2, 3)
    expected_map = ((potential[0] / 10 - 0.6) / 0.2).clamp(-4, 4)
    expected_score = (float(score) / 10 - 0.6) / 0.2
    assert torch.allclose(condition[0, 0], expected_map, atol=1e-4)
    assert np.ptp(condition[0, 1].numpy()) < 1e-6
    assert abs(float(condition[0, 1, 0, 0]) - expected_score) < 1e-4


@torch.inference_mode()
def test_a_light_stage_by_its_formula():
    """The shortcut is the 1x1 convolution of stride 2 that it is written around.

    For odd sizes, too.
    """
    torch.manual_seed(0)
    stage = LightStage(4, 8).eval()
    features = torch.rand(2, 4, 13, 18)
    convolution, norm = stage.shortcut
    shortcut = F.conv2d(features, convolution.weight, stride=2) / (1 + norm.eps) ** 0.5
    assert torch.allclose(stage(features), F.relu(stage.body(features) + shortcut), atol=1e-6)


@torch.inference_mode()
def test_replicated_edges_make_the_size_matter_less():
    """A flat image has the same value whatever its size, which zeros around it would change."""
    torch.manual_seed(0)
    images = [torch.full((1, 3, side, side), 0.4) for side in (32, 256)]
    for edges, minimum, maximum in (("replicate", 0, 1e-3), ("zeros", 0.01, 10)):
        network = build("irp", **LIGHT, normed=True, edges=edges).eval()
        torch.nn.init.normal_(network.score[-1].weight)
        small, large = (float(network(image, brighten(image))) for image in images)
        assert minimum <= abs(small - large) <= maximum


def shake(network):
    """Norms as after a training: no statistic and no weight has its first value."""
    generator = torch.Generator().manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                value.data = 0.5 + torch.rand(value.shape, generator=generator)


@pytest.mark.parametrize("backbone", ["light", "resnet18", "resnet50"])
def test_merged_norms_change_nothing(backbone):
    """Without gradients batch norms lie in the convolutions; with gradients they are layers."""
    torch.manual_seed(0)
    trunk = Trunk(*stages(backbone, LIGHT["widths"]))
    shake(trunk)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    trunk.eval()
    image = torch.rand(2, 3, 64, 96)
    expected = torch.nn.Sequential.forward(trunk, image).detach()
    with torch.inference_mode():
        merged = trunk(image)
    assert not torch.equal(merged, expected)  # another order of operations was really taken
    assert largest(merged - expected) <= 2e-5 * largest(expected)
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())


def test_training_trunks_see_their_batch():
    """Statistics are the batch's and are collected, also without gradients."""
    torch.manual_seed(0)
    trunk = Trunk(*stages("light", LIGHT["widths"])).train()
    image = torch.rand(4, 3, 64, 64)
    expected = trunk(image).detach()
    statistics = trunk[0][1].running_mean.clone()
    with torch.inference_mode():
        again = trunk(image)
    assert largest(again - expected) < 1e-6
    assert largest(trunk[0][1].running_mean - statistics) > 1e-3


@pytest.mark.parametrize("edges", ["zeros", "replicate"])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (9, 14), (28, 31)])
def test_a_sampled_block_is_the_whole_one_sampled(edges, normed, size):
    """Values, and gradients of features and weights; the means of the attention included."""
    torch.manual_seed(0)
    block = DilatedBlock(8, normed).double().eval()
    for conv in block.dilated:
        conv.padding_mode = edges
    features = torch.rand(2, 8, *size, dtype=torch.float64, requires_grad=True)
    parameters = [features, *block.parameters()]
    whole = block(features)[..., ::4, ::4]
    sampled = block.sampled(features, 4)
    direction = torch.rand_like(whole)
    assert sampled.shape == whole.shape
    assert largest(sampled - whole) < 1e-12
    theirs = torch.autograd.grad((whole * direction).sum(), parameters)
    ours = torch.autograd.grad((sampled * direction).sum(), parameters)
    for a, b in zip(ours, theirs):
        assert largest(a - b) <= 1e-12 * max(1, largest(b))
