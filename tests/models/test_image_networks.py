"""Single-image networks against the authors' programs.

Also what training and tiling ask of all of them.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.transform import pyramid_gaussian

from models import build, load
from models.blocks import ChannelNorm
from models.deep_deblur import Discriminator, halved
from models.nafnet import NAFNet
from models.published import load_published
from models.restormer import ChannelAttention
from models.srn import SameConv, resize
from tests.golden.fill import fill_state_dict
from tests.golden.make_srn_checkpoint import variables
from utils.errors import UserError
from utils.evaluation.tables import count_parameters

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SMALL = {
    "srn": {"width": 4},
    "deep_deblur": {"width": 8, "blocks": 1},
    "no_blur": {"width": 4},
    "light_dehaze": {"width": 8},
    "restormer": {"width": 8, "blocks": (1, 1, 1, 1), "refinement": 1},
    "mimo_unet": {"width": 8, "blocks": 1},
    "nafnet": {"width": 8, "encoder": (1, 1), "middle": 1, "decoder": (1, 1)},
}


def largest(difference: torch.Tensor) -> float:
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["nafnet_w32", "restormer"])
def test_results_are_the_authors(golden, name, memory):
    vectors = golden(name)
    network = load_published(name.split("_")[0], vectors.state()).to(memory_format=memory)
    assert count_parameters(network) == vectors.manifest["param_count"]
    with torch.inference_mode():
        restored = network(vectors["x"].to(memory_format=memory))
    assert largest(restored - vectors["out"]) <= vectors.tolerance("out")


def test_nafnet_with_local_statistics_is_the_authors(golden):
    vectors = golden("nafnet_local_w32")
    network = load_published("nafnet", vectors.state(), training_size=64)
    with torch.inference_mode():
        whole = network(vectors["x"])[..., ::2, ::2]
        local = network.use_local_statistics()(vectors["x"])[..., ::2, ::2]
    assert largest(local - vectors["out"]) <= vectors.tolerance("out")
    assert largest(whole - vectors["out"]) > 0.01  # the windows matter


def test_mimo_unet_is_the_authors(golden):
    vectors = golden("mimo_unet_plus")
    network = load_published("mimo_unet", vectors.state())
    assert count_parameters(network) == 16_107_651
    assert network.dropout == 0.1
    with torch.inference_mode():
        for number, result in enumerate(network.forward_scales(vectors["x"])):
            assert largest(result - vectors[f"out_{number}"]) <= vectors.tolerance(f"out_{number}")
    assert count_parameters(build("mimo_unet", blocks=8)) == 6_807_171


@pytest.mark.parametrize(
    ("name", "parameters"), [("srn_color", 6_881_251), ("srn_lstm", 8_056_609)]
)
def test_srn_is_the_authors(golden, name, parameters):
    vectors = golden(name)
    variables = {key: value.numpy() for key, value in vectors.state().items()}
    variables["g_net/enc1_1/weights/Adam"] = np.zeros(3)
    variables["Variable"] = np.array(523000)
    network = load_published("srn", variables)
    assert count_parameters(network) == parameters
    with torch.inference_mode():
        results = network.forward_scales(vectors["x"].permute(0, 3, 1, 2))
    for number in (1, 2):
        expected = vectors[f"out_{number}"].permute(0, 3, 1, 2)
        assert largest(results[number] - expected) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize("case", ["even", "odd", "mixed"])
def test_tensorflow_conventions_are_the_authors(golden, case):
    vectors = golden("srn_tf_ops")
    x = vectors[f"{case}_x"].permute(0, 3, 1, 2)
    results = {}
    for stride in (1, 2):
        convolution = SameConv(3, 4, stride)
        convolution.weight.data = vectors[f"{case}_k5"].permute(3, 2, 0, 1)
        torch.nn.init.zeros_(convolution.bias)
        results[f"conv5_s{stride}"] = convolution(x)
    results["convT4_s2"] = F.conv_transpose2d(
        x, vectors[f"{case}_k4t"].permute(3, 2, 0, 1), stride=2, padding=1
    )
    for kind in ("up2", "down2", "odd", "same"):
        expected = vectors[f"{case}_resize_{kind}"]
        results[f"resize_{kind}"] = resize(x, expected.shape[1:3])
    for key, ours in results.items():
        assert largest(ours.permute(0, 2, 3, 1) - vectors[f"{case}_{key}"]) <= 5e-6, key


def test_deep_deblur_is_the_authors(golden):
    vectors = golden("deepdeblur_msresnet")
    network = load_published("deep_deblur", {"G": vectors.state(), "D": {}})
    assert count_parameters(network) == 11_721_321
    with torch.inference_mode():
        results = network.restore_pyramid([vectors[f"x_{scale}"] / 255 for scale in range(3)])
    for scale, result in enumerate(results):
        assert largest(result * 255 - vectors[f"out_{scale}"]) <= vectors.tolerance(f"out_{scale}")


def test_pyramid_is_the_authors(golden):
    vectors = golden("deepdeblur_pyramid")
    level = vectors["img"].permute(2, 0, 1)[None] / 255
    for number in (1, 2):
        level = halved(level)
        assert largest(level[0].permute(1, 2, 0) * 255 - vectors[f"level_{number}"]) < 1e-4


def test_pyramid_is_scikit_images():
    image = np.random.default_rng(0).random((8, 12, 3))
    expected = list(pyramid_gaussian(image, 2, 2, channel_axis=-1))[1:]
    ours = torch.from_numpy(image).permute(2, 0, 1)[None]
    for level in expected:
        ours = halved(ours)
        assert np.abs(ours[0].permute(1, 2, 0).numpy() - level).max() < 1e-12


def test_budgets_of_the_networks_without_vectors():
    unet = build("no_blur")
    assert count_parameters(unet) == 8_600_067
    running = sum(value.numel() for key, value in unet.state_dict().items() if "running" in key)
    assert running == 4_864
    assert abs(count_parameters(build("light_dehaze")) - 280_350) <= 0.01 * 280_350


def test_no_blur_pads_as_keras_does():
    """SAME at stride 2: output p is centred on input 2p + 1.

    The transposed layer is its adjoint.
    """
    network = build("no_blur", width=1)
    down = network.downs[0].convolution
    up = network.ups[0].convolution
    image = torch.zeros(1, 3, 8, 8)
    image[..., 3, 5] = 1
    down.weight.data.zero_()
    down.weight.data[:, :, 1, 1] = 1
    features = F.conv2d(F.pad(image, network.downs[0].padding), down.weight, stride=2)
    assert features[0, 0, 1, 2] == 3 and features.sum() == 3
    weight = torch.rand(2, 5, 3, 3)
    x = torch.rand(1, 5, 8, 8)
    y = torch.rand(1, 2, 4, 4)
    forward = F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, stride=2)
    backward = F.conv_transpose2d(y, weight, stride=2)[..., :-1, :-1]
    assert torch.isclose((forward * y).sum(), (x * backward).sum())
    assert up.stride == (2, 2) and up.padding == (0, 0)


def test_channel_norm_is_the_formula():
    norm = ChannelNorm(5, 1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.rand(2, 5, 3, 4)
    mean = x.mean(1, keepdim=True)
    variance = x.var(1, correction=0, keepdim=True)
    weight = norm.weight.view(-1, 1, 1)
    bias = norm.bias.view(-1, 1, 1)
    expected = (x - mean) / (variance + 1e-6).sqrt() * weight + bias
    assert largest(norm(x) - expected) < 1e-5
    in_channels_last = norm(x.to(memory_format=torch.channels_last))
    assert in_channels_last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_merged_attention_is_the_plain_one(memory):
    """Values and gradients of the published order.

    That is: normalise q and k, softmax, times v, 1x1 convolution.
    """
    torch.manual_seed(0)
    attention = ChannelAttention(8, 2)
    attention.temperature.data = torch.tensor([0.7, 1.9]).view(2, 1, 1)
    x = torch.rand(3, 8, 6, 5).to(memory_format=memory).requires_grad_()

    def plain(x):
        parts = attention.qkv_depthwise(attention.qkv(x)).chunk(3, 1)
        q, k, v = (part.reshape(3, 2, 4, 30) for part in parts)
        cosines = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        weights = (cosines * attention.temperature).softmax(-1)
        return attention.output((weights @ v).reshape(3, 8, 6, 5))

    ours = attention(x)
    theirs = plain(x)
    assert largest(ours - theirs) < 1e-6
    direction = torch.rand_like(theirs)
    parameters = [x, *attention.parameters()]
    our_gradients = torch.autograd.grad((ours * direction).sum(), parameters)
    their_gradients = torch.autograd.grad((theirs * direction).sum(), parameters)
    for a, b in zip(our_gradients, their_gradients):
        assert largest(a - b) <= 1e-5 * max(1, largest(b))


@pytest.mark.parametrize("name", SMALL)
def test_any_size_and_every_scale(name):
    torch.manual_seed(0)
    network = build(name, **SMALL[name]).eval()
    with torch.inference_mode():
        for size in ((1, 1), (5, 33), (48, 64)):
            assert network(torch.rand(2, 3, *size)).shape == (2, 3, *size)
        image = torch.rand(1, network.channels, 32, 48)
        results = network.forward_scales(image)
        truths = network.scales_of(image)
    assert [result.shape for result in results] == [truth.shape for truth in truths]
    assert network.multiple >= 1 and network.bytes_per_pixel > 0


@pytest.mark.parametrize("name", SMALL)
def test_padding_is_cut_off_again(name):
    """An image that needs no padding has the result of the network without its padding code."""
    torch.manual_seed(1)
    network = build(name, **SMALL[name]).eval()
    image = torch.rand(1, 3, 3 * network.multiple, 4 * network.multiple)
    with torch.inference_mode():
        whole = network(image)
        inputs = image.reshape(-1, network.channels, *image.shape[-2:])
        full = max(network.forward_scales(inputs), key=torch.numel)
    assert torch.equal(whole, full.reshape(whole.shape))


def test_dropout_of_mimo_unet_plus_is_for_training_alone():
    network = build("mimo_unet", width=8, blocks=1, dropout=0.5)
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(network.eval()(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))


def test_discriminator_judges_256_px():
    discriminator = Discriminator()
    assert discriminator(torch.rand(2, 3, 256, 256)).shape == (2, 1, 1, 1)
    convolutions = [layer for layer in discriminator.layers if isinstance(layer, torch.nn.Conv2d)]
    assert len(convolutions) == 11 and all(layer.bias is None for layer in convolutions)
    assert [layer.stride[0] for layer in convolutions] == [1, 2, 1, 2, 1, 4, 1, 4, 1, 4, 1]


def test_tensorflow_checkpoint_loads_without_tensorflow():
    """Written by TensorFlow's own saver; see tests/golden/make_srn_checkpoint.py."""
    prefix = GOLDEN / "srn_tiny.model-523000"
    values = fill_state_dict(variables())
    expected = {
        "encoders.0.0.weight": values["g_net/enc1_1/weights"].transpose(3, 2, 0, 1),
        "ups.1.weight": values["g_net/dec2_4/weights"].transpose(3, 2, 0, 1),
        "output.bias": values["g_net/dec1_0/biases"],
    }
    for source in (GOLDEN, prefix, f"{prefix}.index"):
        network = load(source)
        assert network.variant == "color"
        state = network.state_dict()
        for key, value in expected.items():
            assert np.array_equal(state[key], value), key


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="encoder of 2 levels and a decoder of 1"):
        NAFNet(8, (1, 1), 1, (1,))
    state = fill_state_dict(variables())
    del state["g_net/dec1_0/biases"]
    with pytest.raises(UserError, match=r"1 missing \(output.bias"):
        load_published("srn", state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", SMALL)
def test_a_gpu_gives_the_same(name):
    torch.manual_seed(0)
    network = build(name, **SMALL[name]).eval()
    image = torch.rand(1, 3, 48, 64)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        expected = network(image)
        network = network.cuda().to(memory_format=torch.channels_last)
        ours = network(image.cuda().contiguous(memory_format=torch.channels_last))
        with torch.autocast("cuda", torch.bfloat16):
            half = network(image.cuda())
    assert largest(ours.cpu() - expected) < 1e-3
    assert largest(half.float().cpu() - expected) < 0.1 * max(1.0, largest(expected))


@pytest.mark.parametrize("name", SMALL)
def test_bf16_stays_near(name):
    torch.manual_seed(0)
    network = build(name, **SMALL[name]).eval()
    image = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        expected = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image.contiguous(memory_format=torch.channels_last))
    assert largest(half.float() - expected) < 0.05 * max(1.0, largest(expected))


@pytest.mark.parametrize(
    "grown",
    [
        {"encoder": (1, 1), "middle": 4, "decoder": (1, 1)},
        {"encoder": (1, 1, 2), "middle": 3, "decoder": (1, 1, 1)},
    ],
)
def test_a_nafnet_grows_without_changing_its_result(grown):
    """By blocks at the bottom, or by a level below it; what is new learns from the first step."""
    torch.manual_seed(0)
    small = NAFNet(8, (1, 1), 2, (1, 1), downscale=2)
    for parameter in small.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    large = NAFNet(8, downscale=2, **grown)
    large.load_state_dict(large.state_from(small))
    image = torch.rand(1, 3, 48, 32)
    assert torch.allclose(large(image), small(image), atol=1e-6)
    large(image).square().mean().backward()
    new = [large.middle[-1].gamma, large.ups[0][0].weight]
    assert any(parameter.grad.abs().max() > 0 for parameter in new)


def test_a_nafnet_does_not_start_from_one_of_another_width():
    with pytest.raises(RuntimeError, match="size mismatch"):
        large = NAFNet(8, (1, 1), 3, (1, 1))
        large.load_state_dict(large.state_from(NAFNet(4, (1, 1), 2, (1, 1))))
