"""The fast forms of convolutions against the plain ones, and where they are taken."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import build
from models.blocks import ResidualBlock
from models.convolution import PointwiseConv2d, same_convolution, unshuffled_convolution
from utils.errors import UserError

SMALL = {
    "srn": {"width": 8},
    "srn lstm": {"width": 32, "variant": "lstm"},
    "deep_deblur": {"width": 16, "blocks": 2},
}
needs_nnpack = pytest.mark.skipif(not torch.backends.nnpack.is_available(), reason="needs NNPACK")


def largest(difference):
    return float(difference.detach().abs().max())


def filters(kernel_size, generator=None):
    weight = torch.randn(5, 6, kernel_size, kernel_size, generator=generator)
    return weight / weight[0].numel() ** 0.5, torch.randn(5, generator=generator)


def small(name):
    torch.manual_seed(0)
    return build(name.split()[0], **SMALL[name]).eval()


@needs_nnpack
@torch.inference_mode()
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kernel_size", [5, 7, 11, 15])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (31, 50)])
def test_fourier_convolutions_are_the_direct_ones(kernel_size, size, memory):
    """In float64; the rounding errors are no larger than the direct ones of float32."""
    generator = torch.Generator().manual_seed(kernel_size)
    weight, bias = filters(kernel_size, generator)
    features = torch.randn(3, 6, *size, generator=generator).to(memory_format=memory)
    exact = F.conv2d(features.double(), weight.double(), bias.double(), padding=kernel_size // 2)
    ours = same_convolution(features, weight.to(memory_format=memory), bias, impl="fourier")
    assert ours.is_contiguous() and ours.shape == exact.shape
    assert largest(ours - exact) < 5e-6


def test_what_fourier_cannot_do_is_said():
    features = torch.rand(1, 6, 40, 40)
    weight, bias = filters(5)
    with pytest.raises(UserError, match="has no gradients"):
        same_convolution(features, weight, bias, impl="fourier")
    with torch.no_grad():
        with pytest.raises(UserError, match="kernels of 5 to 15 px, not 3"):
            same_convolution(features, *filters(3), impl="fourier")
        with pytest.raises(UserError, match="needs float32"):
            same_convolution(features.double(), weight, bias, impl="fourier")
        with pytest.raises(UserError, match="on the CPU"):
            same_convolution(features.to("meta"), weight, bias, impl="fourier")
    with pytest.raises(ValueError, match="impl 'fast'"):
        same_convolution(features, weight, bias, impl="fast")


@needs_nnpack
def test_auto_takes_fourier_for_large_images_without_gradients():
    features = torch.rand(1, 6, 40, 40)
    weight, bias = filters(5)
    direct = same_convolution(features, weight, bias, impl="direct")
    with torch.no_grad():
        fourier = same_convolution(features, weight, bias, impl="fourier")
        assert torch.equal(same_convolution(features, weight, bias), fourier)
        with torch.backends.nnpack.flags(enabled=False):
            assert torch.equal(same_convolution(features, weight, bias), direct)
        few = features[..., :8, :8]
        expected = same_convolution(few, weight, bias, impl="direct")
        assert torch.equal(same_convolution(few, weight, bias), expected)
    assert not torch.equal(fourier, direct)
    assert torch.equal(same_convolution(features, weight, bias), direct)


@needs_nnpack
@torch.inference_mode()
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", SMALL)
def test_networks_have_the_direct_results(name, memory):
    network = small(name).to(memory_format=memory)
    image = torch.rand(1, 3, 64, 112).contiguous(memory_format=memory)
    before = image.clone()
    with torch.backends.nnpack.flags(enabled=False):
        direct = network(image)
    ours = network(image)
    assert not torch.equal(ours, direct)
    assert largest(ours - direct) <= 1e-5 * max(1.0, largest(direct))
    assert torch.equal(image, before)


@needs_nnpack
@torch.inference_mode()
def test_mixed_precision_is_no_less_exact():
    """Where a processor has no matrix units for bf16, large kernels stay in float32."""
    network = small("deep_deblur")
    image = torch.rand(1, 3, 64, 96)
    exact = network.double()(image.double())
    network.float()
    errors = {}
    for enabled in (False, True):
        with torch.backends.nnpack.flags(enabled=enabled), torch.autocast("cpu", torch.bfloat16):
            errors[enabled] = largest(network(image).double() - exact)
    assert errors[True] <= errors[False]


def test_a_residual_block_by_its_formula():
    """With and without gradients; its input stays as it was."""
    torch.manual_seed(0)
    block = ResidualBlock(6, 5)
    features = torch.rand(2, 6, 30, 40)
    before = features.clone()
    inner = F.relu(F.conv2d(features, block.conv1.weight, block.conv1.bias, padding=2))
    expected = features + F.conv2d(inner, block.conv2.weight, block.conv2.bias, padding=2)
    assert largest(block(features) - expected) < 1e-6
    with torch.inference_mode():
        assert largest(block(features) - expected) < 1e-5
    assert torch.equal(features, before)


@torch.no_grad()
def test_exported_networks_hold_plain_convolutions():
    network = small("deep_deblur")
    image = torch.rand(1, 3, 32, 48)
    program = torch.export.export(network, (image,))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any("conv2d" in name for name in names)
    assert not any("nnpack" in name for name in names)
    assert largest(program.module()(image) - network(image)) < 1e-5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_pointwise_convolutions_are_products_of_matrices(threads, bias, memory):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, 5, 70, generator=generator).to(memory_format=memory)
    layer = PointwiseConv2d(6, 4, bias=bias)
    products = torch.einsum("dc,bchw->bdhw", layer.weight[:, :, 0, 0], features)
    if bias:
        products = products + layer.bias.view(4, 1, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = layer(features)
        slopes = torch.autograd.grad(result.square().sum(), layer.weight)[0]
    finally:
        torch.set_num_threads(before)
    assert largest(result - products) < 2e-6
    expected = torch.autograd.grad(products.square().sum(), layer.weight)[0]
    assert largest(slopes - expected) < 1e-5 * largest(expected)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_convolutions_of_space_to_depth_leave_the_pixels(scale, kernel_size, memory):
    torch.manual_seed(0)
    image = torch.rand(2, 5, 4 * scale, 7 * scale).to(memory_format=memory)
    layer = nn.Conv2d(5 * scale**2, 6, kernel_size, padding=kernel_size // 2)
    layer = layer.to(memory_format=memory)
    plain = layer(F.pixel_unshuffle(image, scale))
    assert torch.equal(unshuffled_convolution(image, layer, scale), plain), "with gradients"
    with torch.inference_mode():
        fast = unshuffled_convolution(image, layer, scale)
    assert fast.shape == plain.shape and largest(fast - plain) < 1e-6


def test_scaled_weights_are_scaled_results():
    torch.manual_seed(0)
    layer = PointwiseConv2d(6, 4)
    features = torch.randn(2, 6, 9, 5)
    base = torch.randn(2, 4, 9, 5)
    scale = torch.randn(1, 4, 1, 1)
    expected = base + scale * layer(features)
    assert largest(layer.scaled_onto(base, features, scale) - expected) < 1e-6, "with gradients"
    with torch.inference_mode():
        assert largest(layer.scaled_onto(base, features, scale) - expected) < 1e-6
        with torch.autocast("cpu", torch.bfloat16):
            mixed = layer.scaled_onto(base, features.bfloat16(), scale)
            half = layer.scaled_onto(base.bfloat16(), features.bfloat16(), scale)
    assert mixed.dtype == torch.float32 and half.dtype == torch.bfloat16
    for result in (mixed, half):
        assert largest(result - expected) < 2**-5 * largest(expected)
