"""Blurry/sharp pairs: the authors' vectors, and the physics."""

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from data.synthesis.blend import blend, correlate, reach
from data.synthesis.camera import Response, add_noise, add_streaks, is_saturated, saturation_mask
from data.synthesis.masks import Objects
from data.synthesis.pair import PairSettings, make_pair, to_file


def as_numpy(*tensors):
    return [tensor.numpy() for tensor in tensors]


@pytest.fixture
def scene(golden):
    """(picture, masks, kernels) of the authors' pair."""
    vectors = golden("sbdd_pair")
    picture, mask, *kernels = as_numpy(
        *(vectors[key] for key in ("image", "object_mask", "kernel_bg", "kernel_obj"))
    )
    return picture, mask[None], np.stack(kernels)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_gamma_pair_is_the_authors(golden, scene):
    vectors = golden("sbdd_pair")
    pair = make_pair(*scene, rng(), PairSettings(Response("gamma", 2.2)))
    assert np.abs(pair.blurry[::2, ::2] * 255 - vectors["blurry_gamma22"].numpy()).max() < 0.255
    assert np.abs(pair.sharp[::4, ::4] * 255 - vectors["sharp_crop_gamma22"].numpy()).max() < 0.01
    weights = vectors["masks_normalised"].numpy().transpose(2, 0, 1)
    assert np.abs(pair.weights - weights).max() < 1e-5
    linear = make_pair(*scene, rng(), PairSettings(Response("none")))
    assert np.abs(linear.blurry[::2, ::2] * 255 - vectors["blurry_linear"].numpy()).max() < 0.01


def test_exponential_pair_is_the_authors(golden, scene):
    """Once is right and the default; the published program puts gamma 2.2 on top.

    That gives NaN where the picture is 0.
    """
    vectors = golden("sbdd_pair_exp")
    once = make_pair(*scene, rng(), PairSettings(Response("exponential", 7)))
    assert np.abs(once.blurry[::2, ::2] * 255 - vectors["blurry_exp7_only"].numpy()).max() < 0.255
    assert np.abs(once.sharp[::4, ::4] * 255 - vectors["sharp_crop_exp7_only"].numpy()).max() < 0.01
    twice = make_pair(*scene, rng(), PairSettings(Response("exponential", 7), published=True))
    blurry = vectors["blurry_exp7_then_gamma"].numpy()
    assert np.abs(twice.blurry[::2, ::2] * 255 - blurry).max() < 0.255
    theirs = vectors["sharp_crop_exp7_then_gamma"].numpy()
    black = scene[0][32:-32, 32:-32][::4, ::4] == 0
    assert np.isnan(theirs[black]).all()
    assert np.abs(twice.sharp[::4, ::4] * 255 - theirs)[~black].max() < 0.05


def test_illumination_and_saturation_are_the_authors(golden, scene, monkeypatch):
    vectors = golden("sbdd_pair_aug")
    factor = vectors.manifest["value_factor"]

    class Fixed:
        def uniform(self, low, high):
            return factor

    _, masks, kernels = scene
    picture = vectors["image"].numpy()
    pair = make_pair(picture, masks, kernels, Fixed(), PairSettings(illumination=3))
    assert np.abs(pair.blurry[::2, ::2] * 255 - vectors["blurry"].numpy()).max() < 0.255
    assert np.abs(pair.sharp[::2, ::2] * 255 - vectors["sharp"].numpy()).max() < 0.01
    assert pair.sharp.max() > 1.1  # what is above 255 survives
    linear = Response().linear(picture)
    for light, key in ((linear * np.float32(factor), "sat_mask"), (linear, "sat_mask_plain")):
        theirs = vectors[key].numpy()
        assert np.array_equal(np.round(saturation_mask(light, published=True) * 255), theirs)
        # Ours is not truncated to integers.
        assert np.abs(saturation_mask(light) * 255 - theirs).max() < 1
    height, width = picture.shape[:2]
    fraction = np.count_nonzero(vectors["sat_mask_plain"].numpy()) / height / width
    assert fraction == pytest.approx(vectors.manifest["sat_percentage_plain"])
    assert is_saturated(saturation_mask(linear))


def test_the_whole_program_is_the_authors(golden):
    """Objects by descending score above the area, overlapping ones by their weights, truncation."""
    vectors = golden("sbdd_process")
    picture, masks, scores, kernels = as_numpy(
        *(vectors[key] for key in ("image", "seg_masks", "scores", "kernels"))
    )
    objects = Objects(masks.astype(bool), scores).chosen(min_score=0.9, min_area=400, max_objects=5)
    assert len(objects.masks) == 2 and list(objects.scores) == sorted(objects.scores, reverse=True)
    kernels = kernels[vectors.manifest["kernel_index_per_layer"]]
    pair = make_pair(picture, objects.masks, kernels, rng())
    assert np.abs(pair.blurry[::2, ::2] * 255 - vectors["blurry_float"].numpy()).max() < 0.255
    blurry = to_file(pair.blurry, published=True)
    assert np.abs(blurry.astype(int) - vectors["blurry_uint8"].numpy()).max() <= 1
    assert (blurry == vectors["blurry_uint8"].numpy()).mean() > 0.99
    assert np.array_equal(to_file(pair.sharp, published=True), vectors["sharp_uint8"].numpy())


def test_blend_equals_the_slow_way():
    """Every mask and every picture blurred whole with SciPy, in double precision."""
    generator = rng(1)
    image = generator.random((3, 70, 90))
    masks = np.zeros((3, 70, 90))
    masks[0, 10:30, 5:40] = 1
    masks[1, 20:60, 30:80] = 1
    masks[2, :9, :9] = 1
    kernels = generator.random((4, 15, 15)) ** 4
    kernels[1, :4] = kernels[2, :, 9:] = 0  # empty rims
    kernels /= kernels.sum((1, 2), keepdims=True)
    layers = np.concatenate([1 - masks.max(0, keepdims=True), masks])
    smooth = np.stack(
        [fftconvolve(layer, kernel[::-1, ::-1], "valid") for layer, kernel in zip(layers, kernels)]
    )
    weights = smooth / (smooth.sum(0) + 1e-6)
    expected = 0
    for weight, kernel in zip(weights, kernels):
        flipped = kernel[None, ::-1, ::-1]
        expected = expected + weight * fftconvolve(image, flipped, "valid", axes=(1, 2))
    tensors = [torch.from_numpy(np.float32(array)) for array in (image, kernels, masks)]
    blurred, ours = blend(*tensors)
    assert blurred.shape == (3, 56, 76)
    assert np.abs(ours.numpy() - weights).max() < 1e-5
    assert np.abs(blurred.numpy() - expected).max() < 1e-5
    assert np.allclose(ours.sum(0), 1, atol=1e-5)
    with pytest.raises(ValueError, match="they do not fit"):
        blend(tensors[0], tensors[1][:2], tensors[2])
    with pytest.raises(ValueError, match="smaller than the kernel"):
        blend(tensors[0][:, :14], tensors[1], tensors[2][:, :14])


def test_a_point_kernel_shifts():
    image = torch.from_numpy(rng().random((2, 12, 14)).astype(np.float32))
    kernel = torch.zeros(5, 5)
    kernel[1, 4] = 1
    assert torch.equal(correlate(image, kernel), image[:, 1:9, 4:14])


def test_reach_is_what_the_mask_touches():
    mask = torch.zeros(20, 30)
    mask[6:8, 29] = 1
    # Output row y looks at rows y..y+4 of 20; there are 16 of them, and 26 columns.
    assert reach(mask, 5) == (2, 8, 25, 26)
    assert reach(torch.zeros(20, 30), 5) is None
    assert reach(torch.ones(20, 30), 5) == (0, 16, 0, 26)


def test_responses_lead_back():
    values = np.linspace(0, 1, 256, dtype=np.float32)[:, None, None].repeat(3, 2)
    for kind, value in (("gamma", 2.2), ("exponential", 7.0), ("none", 1.0)):
        response = Response(kind, value)
        assert np.abs(response.encoded(response.linear(values)) - values).max() < 1e-5
        pixels = np.uint8(values * 255 + 0.5)
        assert np.array_equal(response.linear(pixels), response.linear(values))
    assert Response("exponential", 7).linear(np.float32([1]))[0] == pytest.approx(2.96, abs=0.01)


def test_streaks_and_noise():
    dark = np.zeros((200, 220, 3), np.float32)
    bright = add_streaks(dark, rng(3))
    assert dark.max() == 0 and bright.max() > 1 and 0 < (bright > 0).any(-1).mean() < 0.05
    assert (bright[..., 0] == bright[..., 2]).all()
    rows, columns = np.nonzero(bright[..., 0])
    assert rows.min() >= 65 - 3 and rows.max() < 200 - 65 + 3 and columns.min() >= 65 - 4
    assert add_streaks(dark[:100], rng(3)).max() == 0
    flat = np.full((300, 300, 3), 0.25, np.float32)
    poisson = add_noise(flat, rng(), "poisson", 1000)
    gaussian = add_noise(flat, rng(), "gaussian", 0.1)
    assert poisson.std() == pytest.approx((0.25 / 1000) ** 0.5, rel=0.02)
    assert poisson.mean() == pytest.approx(0.25, rel=1e-3)
    assert gaussian.std() == pytest.approx(0.025, rel=0.02)
    assert add_noise(flat, rng(), "none", 1) is flat


def test_boosted_highlights():
    """In the sharp image they spread by the blur; in the blurry one light comes on top."""
    picture = np.full((120, 120, 3), 100, np.uint8)
    picture[50:70, 50:70] = 255
    kernel = np.zeros((1, 21, 21))
    kernel[0, 10] = 1 / 21
    none = np.zeros((0, 120, 120))
    plain, sharp, blurry = (
        make_pair(
            picture, none, kernel, rng(2), PairSettings(saturation=amount, saturation_in=where)
        ).blurry
        for amount, where in ((0, "sharp"), (4, "sharp"), (4, "blurry"))
    )
    assert (sharp >= plain - 1e-6).all() and (sharp - plain).max() > 0.1
    assert (blurry >= plain - 1e-6).all() and (blurry - plain).max() > 0.1
    assert np.abs(sharp - plain)[:, :20].max() < 1e-6  # far from the light nothing changes
