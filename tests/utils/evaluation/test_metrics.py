import numpy as np
import pytest
from skimage.metrics import structural_similarity

from utils.evaluation.metrics import psnr, ssim, ssim3d


@pytest.mark.parametrize(
    "pair", [("noise", "noise_a", "noise_b"), ("image", "image_gt", "image_blur")]
)
def test_figures_are_the_authors(golden, pair):
    vectors = golden("cdvd_metrics")
    name, first, second = pair
    one, two, expected = (
        vectors[first].numpy(),
        vectors[second].numpy(),
        vectors.manifest["values"][name],
    )
    inner = slice(4, -4)
    assert psnr(one, two) == pytest.approx(expected["psnr_full"], abs=1e-10)
    assert psnr(one[inner, inner], two[inner, inner]) == pytest.approx(
        expected["psnr_crop4"], abs=1e-10
    )
    assert ssim(one, two) == pytest.approx(expected["ssim_full"], abs=1e-10)
    assert ssim(one[inner, inner], two[inner, inner]) == pytest.approx(
        expected["ssim_crop4"], abs=1e-10
    )


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
    one, two = (vectors[key].numpy().astype(np.float64) for key in ("image_gt", "image_blur"))
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
    x, y = (rng.integers(0, 256, (4, 5, 3)).astype(np.float64) for _ in range(2))
    weight = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    window = weight[:, None, None] * weight[:, None] * weight
    padded = [np.pad(image, 5, mode="edge") for image in (x, y)]
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for place in np.ndindex(x.shape):
        a, b = (image[tuple(slice(i, i + 11) for i in place)] for image in padded)
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        variance_a, variance_b = (
            (window * (a - mean_a) ** 2).sum(),
            (window * (b - mean_b) ** 2).sum(),
        )
        covariance = (window * (a - mean_a) * (b - mean_b)).sum()
        values.append(
            (2 * mean_a * mean_b + c1)
            * (2 * covariance + c2)
            / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))
        )
    assert ssim3d(x, y) == pytest.approx(np.mean(values), abs=1e-9)


def test_psnr_by_hand():
    zeros = np.zeros((2, 2, 3), np.uint8)
    assert psnr(zeros, zeros + 255) == 0
    assert psnr(zeros, zeros) == float("inf")
    assert psnr(zeros, zeros + 51) == pytest.approx(20 * np.log10(5))


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match="11x11"):
        ssim(np.zeros((10, 20, 3)), np.zeros((10, 20, 3)))
