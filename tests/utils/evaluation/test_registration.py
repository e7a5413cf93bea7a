import cv2
import numpy as np
import pytest

from utils.evaluation.registration import compare_aligned, compare_with_trajectory, unaligned_psnr


@pytest.fixture
def vectors(golden):
    found = golden("sbdd_ecc")
    return {key: value.numpy() for key, value in found.arrays.items()}, found.manifest["values"]


@pytest.mark.parametrize("name", ["small", "large"])
def test_figures_are_the_authors(vectors, name):
    images, values = vectors
    ours = compare_aligned(images[f"{name}_restored"], images["gt"])
    assert ours.aligned
    assert ours.psnr == pytest.approx(values[name]["deblur_psnr"], abs=1e-3)
    assert ours.ssim == pytest.approx(values[name]["deblur_ssim"], abs=1e-4)
    assert unaligned_psnr(images["blurred"], images["gt"]) == pytest.approx(
        values[name]["blur_psnr"], abs=1e-6
    )


def test_trajectory_figures_are_the_authors(vectors):
    images, values = vectors
    frames = list(np.moveaxis(images["kohler_gt"], -1, 0))
    ours = compare_with_trajectory(images["kohler_restored"], frames)
    assert ours.psnr == pytest.approx(values["kohler"]["best_deblur_psnr"], abs=1e-3)
    assert ours.ssim == pytest.approx(values["kohler"]["best_deblur_ssim"], abs=1e-4)
    assert unaligned_psnr(images["kohler_blur"], frames[ours.frame]) == pytest.approx(
        values["kohler"]["blur_psnr"], abs=1e-6
    )
    each = [compare_aligned(images["kohler_restored"], frame).psnr for frame in frames]
    expected = [frame["psnr"] for frame in values["kohler"]["per_frame"]]
    assert each == pytest.approx(expected, abs=1e-3)


def test_the_same_image_is_infinitely_good(vectors):
    images, _ = vectors
    assert compare_aligned(images["gt"], images["gt"])[:2] == (float("inf"), 1.0)


def test_an_image_that_cannot_be_aligned_is_said_and_compared_as_it_is(vectors):
    images, _ = vectors
    flat = np.full_like(images["gt"], 90)
    ours = compare_aligned(flat, images["gt"])
    assert not ours.aligned
    x, z = images["gt"] / 255, flat / 255
    expected = -10 * np.log10(((z * (x * z).sum() / (z * z).sum() - x) ** 2).mean())
    assert ours.psnr == pytest.approx(expected, abs=1e-4)
    assert not compare_aligned(np.zeros_like(flat), images["gt"]).aligned


def test_brightness_and_shift_are_forgiven(vectors):
    sharp = cv2.GaussianBlur(vectors[0]["gt"], (0, 0), 1.5)
    moved = np.uint8(np.round(np.roll(sharp, (2, -3), (0, 1)) * 0.8))
    assert compare_aligned(moved, sharp).psnr > 38 > 25 > unaligned_psnr(moved, sharp)


def test_a_result_of_another_size_is_resized(vectors):
    images, _ = vectors
    frames = list(np.moveaxis(images["kohler_gt"], -1, 0))
    larger = cv2.resize(frames[1], None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    assert compare_with_trajectory(larger, frames).psnr > 30
