"""Backward warping: the authors' numbers, whole pixels by hand, half precision, errors."""

import pytest
import torch
import torch.nn.functional as F

from models.warp import warp


@pytest.mark.parametrize("corners", ["T", "F"])
@pytest.mark.parametrize(("padding", "key"), [("border", "warp"), ("zeros", "backward")])
def test_values_are_the_authors(golden, corners, padding, key):
    vectors = golden("pwc")
    warped, mask = warp(
        vectors["given_x"], vectors["given_flow"], padding, align_corners=corners == "T"
    )
    assert torch.equal(mask, vectors[f"given_mask_ac{corners}"])
    assert (warped * mask - vectors[f"given_{key}_ac{corners}"]).abs().max() <= 1e-5


@pytest.mark.parametrize("corners", [True, False])
def test_values_in_place_are_those_of_the_formula(corners):
    """Bit by bit, and the gradients of the flow."""
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 3, 11, 14, generator=generator)
    flow = (6 * torch.randn(2, 2, 11, 14, generator=generator)).requires_grad_()
    x = 2 * (torch.arange(14.0) + flow[:, 0]) / 13 - 1
    y = 2 * (torch.arange(11.0)[:, None] + flow[:, 1]) / 10 - 1
    grid = torch.stack((x, y), -1)
    sampled = F.grid_sample(image, grid, "bilinear", "border", align_corners=corners)
    warped, _ = warp(image, flow, align_corners=corners)
    assert torch.equal(warped, sampled)
    slopes, expected = (
        torch.autograd.grad(result.square().sum(), flow)[0] for result in (warped, sampled)
    )
    assert torch.equal(slopes, expected)


def test_zero_flow_is_the_identity():
    image = torch.rand(2, 3, 7, 9)
    warped, mask = warp(image, torch.zeros(2, 2, 7, 9))
    torch.testing.assert_close(warped, image, atol=1e-6, rtol=0)
    assert mask.all()


def test_whole_pixels_by_hand():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 1  # read one to the right
    flow[:, 1] = -1  # and one up
    warped, mask = warp(image, flow)
    torch.testing.assert_close(warped[0, 0, 1:, :3], image[0, 0, :2, 1:], atol=1e-5, rtol=0)
    assert mask[0, 0].tolist() == [[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    # border: the row above the image is its first row
    assert warped[0, 0, 0, 0] == image[0, 0, 0, 1]


def test_half_precision_is_sampled_in_float32():
    image = torch.rand(1, 3, 200, 200)
    flow = torch.randn(1, 2, 200, 200)
    reference, mask = warp(image, flow)
    with torch.autocast("cpu", torch.bfloat16):
        warped, same_mask = warp(image.bfloat16(), flow.bfloat16().float())
    assert warped.dtype == torch.bfloat16
    assert (warped.float() - reference).abs().max() < 0.1
    assert (same_mask.float() - mask).abs().mean() < 0.01


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="image's size"):
        warp(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 5))
