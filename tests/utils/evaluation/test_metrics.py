from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from utils.evaluation.metrics import psnr, ssim, ssim3d, ssim_volume


@pytest.mark.parametrize(
    "pair", [("noise", "noise_a", "noise_b"), ("image", "image_gt", "image_blur")]
)
def test_figures_are_the_authors(golden, pair):
    vectors = golden("cdvd_metrics")
    name, first, second = pair
    one = vectors[first].numpy()
    two = vectors[second].numpy()
    inner = np.s_[4:-4, 4:-4]
    figures = {
        "psnr_full": psnr(one, two),
        "psnr_crop4": psnr(one[inner], two[inner]),
        "ssim_full": ssim(one, two),
        "ssim_crop4": ssim(one[inner], two[inner]),
    }
    expected = vectors.manifest["values"][name]
    for figure, value in figures.items():
        assert value == pytest.approx(expected[figure], abs=1e-10), figure


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("image_gt", "image_blur", 0.9460359), ("noise_a", "noise_b", 0.9726118)],
)
def test_ssim3d_is_matlabs(golden, first, second, expected):
    vectors = golden("cdvd_metrics")
    assert ssim3d(vectors[first].numpy(), vectors[second].numpy()) == pytest.approx(
        expected, abs=1e-7
    )


def test_ssim_equals_scikit_image(golden):
    vectors = golden("cdvd_metrics")
    one = vectors["image_gt"].numpy().astype(np.float64)
    two = vectors["image_blur"].numpy().astype(np.float64)
    settings = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 255,
        "channel_axis": -1,
    }
    assert ssim(one, two) == pytest.approx(structural_similarity(one, two, **settings), abs=1e-10)


def test_ssim3d_equals_a_loop_over_voxels():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (2, 4, 5, 3)).astype(np.float64)
    weight = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    window = weight[:, None, None] * weight[:, None] * weight
    padded_x = np.pad(x, 5, mode="edge")
    padded_y = np.pad(y, 5, mode="edge")
    c1 = (0.01 * 255) ** 2
    c2 = (0.03 * 255) ** 2
    values = []
    for voxel in np.ndindex(x.shape):
        around = tuple(slice(index, index + 11) for index in voxel)
        a = padded_x[around]
        b = padded_y[around]
        mean_a = (window * a).sum()
        mean_b = (window * b).sum()
        variance_a = (window * (a - mean_a) ** 2).sum()
        variance_b = (window * (b - mean_b) ** 2).sum()
        covariance = (window * (a - mean_a) * (b - mean_b)).sum()
        numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        denominator = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
        values.append(numerator / denominator)
    assert ssim3d(x, y) == pytest.approx(np.mean(values), abs=1e-9)


def test_psnr_by_hand():
    zeros = np.zeros((2, 2, 3), np.uint8)
    assert psnr(zeros, zeros + 255) == 0
    assert psnr(zeros, zeros) == float("inf")
    assert psnr(zeros, zeros + 51) == pytest.approx(20 * np.log10(5))


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match="11x11"):
        ssim(np.zeros((10, 20, 3)), np.zeros((10, 20, 3)))


def test_ssim_of_the_volume_equals_a_loop_over_voxels():
    """13 taps along every axis, also over the three channels; edges mirrored with the edge."""
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 7, 4, 3)) * 255
    weight = np.exp(-(np.arange(-6, 7) ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    window = weight[:, None, None] * weight[:, None] * weight
    padded = [np.pad(image, 6, mode="symmetric") for image in (x, y)]
    values = []
    for index in np.ndindex(x.shape):
        around = tuple(slice(start, start + 13) for start in index)
        one, two = (image[around] for image in padded)
        mean_one, mean_two = (window * one).sum(), (window * two).sum()
        variances = (window * ((one - mean_one) ** 2 + (two - mean_two) ** 2)).sum()
        covariance = (window * (one - mean_one) * (two - mean_two)).sum()
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        luminance = (2 * mean_one * mean_two + c1) / (mean_one**2 + mean_two**2 + c1)
        values.append(luminance * (2 * covariance + c2) / (variances + c2))
    assert ssim_volume(x, y) == pytest.approx(np.mean(values), abs=1e-10)


def test_ssim_of_the_volume_is_scipys_filter():
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 30, 20, 3))
    mean = partial(gaussian_filter, sigma=1.5, mode="reflect", truncate=4)
    mean_x, mean_y = mean(x), mean(y)
    covariance = mean(x * y) - mean_x * mean_y
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    expected = (luminance * (2 * covariance + 9e-4) / (variances + 9e-4)).mean()
    assert ssim_volume(255 * x, 255 * y) == pytest.approx(expected, abs=1e-10)
