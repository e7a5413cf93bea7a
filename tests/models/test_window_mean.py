"""Means over windows, against averages pooled in float64."""

import pytest
import torch
import torch.nn.functional as F

from models.window_mean import of_pixels, times_windows, window_means


def random_map(size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size[0])
    return torch.randn(2, 3, *size, generator=generator) + 0.5


@pytest.mark.parametrize("size", [(7, 12), (16, 33), (50, 130), (1, 64), (200, 47)])
@pytest.mark.parametrize("window", [1, 3, 4, 9, 16, 17, 48, 63])
def test_means_are_those_of_every_window_inside(size, window):
    features = random_map(size)
    sides = [min(window, side) for side in size]
    slow = F.avg_pool2d(features.double(), sides, 1)
    means = window_means(features, window)
    assert means.dtype == torch.float32 and means.shape == slow.shape
    tolerance = 1e-6 if window > 1 else 5e-6  # a difference of sums of up to 16 rows
    assert (means - slow).abs().max() < tolerance
    missing = [side - count for side, count in zip(size, slow.shape[-2:])]
    before = [count // 2 for count in missing]
    padding = [before[1], missing[1] - before[1], before[0], missing[0] - before[0]]
    expected = F.pad(slow, padding, mode="replicate")
    assert (of_pixels(means, size, window) - expected).abs().max() < tolerance


@pytest.mark.parametrize("size", [(7, 12), (40, 23), (64, 100)])
@pytest.mark.parametrize("window", [5, 24, 64])
def test_in_place_multiplies_by_the_pixels_windows(size, window):
    features = random_map(size)
    values = torch.rand_like(window_means(features, window))
    expected = features * of_pixels(values, size, window)
    with torch.inference_mode():
        inside = features.clone()
        assert times_windows(inside, values, window) is inside
    assert torch.equal(inside, expected)
    assert torch.equal(times_windows(features, values, window), expected), "with gradients"


def test_large_maps_lose_no_digits():
    features = torch.full((1, 1, 3000, 60), 1000.0)
    features[..., ::2, :] += 1 / 64
    means = window_means(features, 192)
    assert (means - (1000 + 1 / 128)).abs().max() < 2e-4  # a step of float32 at 1000 is 6e-5


def test_gradients_are_those_of_pooling():
    features = random_map((20, 40)).requires_grad_()
    window_means(features, 9).square().sum().backward()
    again = features.detach().clone().requires_grad_()
    F.avg_pool2d(again, 9, 1).square().sum().backward()
    assert torch.allclose(features.grad, again.grad, atol=1e-6)


def test_means_under_autocast_have_all_their_digits():
    features = random_map((40, 70)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        means = window_means(features, 32)
    assert means.dtype == torch.bfloat16
    exact = F.avg_pool2d(features.double(), 32, 1)
    assert (means - exact).abs().max() <= 2**-8 * exact.abs().max()
