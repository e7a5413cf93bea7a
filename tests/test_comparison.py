"""The comparison with plain methods: the methods, and the page at a tiny size."""

import json
import re

import cv2
import numpy as np
import pytest
from scipy.ndimage import convolve
from skimage import restoration

from benchmarks import classics, comparison, comparison_page
from benchmarks.classics import (
    Kernel,
    best_kernels,
    best_richardson_lucy,
    best_wiener,
    richardson_lucy,
    unsharp,
    wiener,
)
from models.blur_length import kernel_length
from restoration import ImageRestorer
from utils.evaluation.metrics import psnr
from utils.image import read_image, write_image
from utils.rounding import array_to_8bit


def picture(side: int = 160, seed: int = 0) -> np.ndarray:
    """An image [side,side,3] of coarse and fine texture that fades to grey at its border."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((side // 5, side // 5, 3)), (side, side))
    fade = np.clip(np.minimum(*np.indices((side, side))) / 8 - 1, 0, 1)
    fade = np.minimum(fade, fade[::-1, ::-1])[..., None]
    return np.float32(0.5 + fade * (coarse - 0.5))


def blurred(image: np.ndarray, kernel: Kernel) -> np.ndarray:
    return convolve(image, np.float32(kernel.pixels())[..., None], mode="nearest")


@pytest.mark.parametrize("kernel", [Kernel(7), Kernel(16), Kernel(11, 0.0), Kernel(33, 67.5)])
def test_kernels_have_the_length_that_the_meter_means(kernel):
    values = kernel.pixels()
    assert values.sum() == pytest.approx(1)
    assert kernel_length(values) == pytest.approx(kernel.length, rel=0.03)


def test_a_line_lies_in_its_direction():
    values = Kernel(7, 0.0).pixels()
    rows = np.arange(len(values)) - len(values) // 2
    assert (values.sum(1) * rows**2).sum() < 0.01 < (values.sum(0) * rows**2).sum()


def test_unsharp_masking_by_hand():
    step = np.zeros((8, 8, 3), np.float32)
    step[:, 4:] = 1
    smooth = cv2.GaussianBlur(step, (0, 0), 1.2)
    assert np.allclose(unsharp(step, 1.2), 1.7 * step - 0.7 * smooth, atol=1e-6)


def test_wiener_equals_scikit_images():
    kernel = Kernel(7, 22.5)
    blurry = blurred(picture(), kernel)
    ours = wiener(blurry, kernel, 0.06)
    identity = np.ones((1, 1))
    for channel in range(3):
        theirs = restoration.wiener(
            blurry[..., channel], kernel.pixels(), 0.06, reg=identity, clip=False
        )
        assert np.abs(ours[..., channel] - 1.06 * theirs)[20:-20, 20:-20].max() < 2e-3


def test_richardson_lucy_comes_near_scikit_images():
    kernel = Kernel(7, 112.5)
    blurry = blurred(picture(), kernel)
    # theirs starts from grey, ours from the blurry picture
    ours = richardson_lucy(blurry, kernel, 20)
    for channel in range(3):
        theirs = restoration.richardson_lucy(blurry[..., channel], kernel.pixels(), 20)
        assert psnr(255 * ours[20:-20, 20:-20, channel], 255 * theirs[20:-20, 20:-20]) > 40


def test_the_best_kernel_is_that_of_the_blur():
    sharp = picture()
    kernel = Kernel(11.0, 45.0)
    blurry = blurred(sharp, kernel)
    assert best_kernels(blurry, sharp)[0.004] == kernel
    before = psnr(255 * blurry, 255 * sharp)
    for best in (best_wiener, best_richardson_lucy):
        assert psnr(255 * best(blurry, sharp)(blurry), 255 * sharp) > before + 3


@pytest.fixture
def material(tmp_path):
    """Folders kinds/ and pairs/ as the benchmark reads them, of pictures of 64 px."""
    kinds = tmp_path / "kinds"
    record = {"pictures": {"lines": {"a": 7, "b": 7}}, "clips": {"moved": {"c": ["0001"]}}}
    for number, name in enumerate("ab"):
        _write(kinds / "pictures" / "lines", "sharp", name, number)
    for frame in range(3):
        _write(kinds / "clips" / "moved", "gt", f"c/{frame:04d}", frame)
    _write(tmp_path / "pairs", "sharp", "shown", 5)
    (kinds / "kinds.json").write_text(json.dumps(record))
    return tmp_path


def _write(root, sharp_folder, name, seed):
    sharp = picture(64, seed)
    write_image(root / "blur" / f"{name}.png", array_to_8bit(blurred(sharp, Kernel(7, 0.0))))
    write_image(root / sharp_folder / f"{name}.png", array_to_8bit(sharp))


def test_the_page_tells_what_was_measured(material, monkeypatch):
    monkeypatch.setattr(comparison, "SAMPLES", {"astronaut": 5})
    monkeypatch.setattr(classics, "LENGTHS", (1.0, 7.0))
    monkeypatch.setattr(classics, "ITERATIONS", (5,))
    page = material / "comparison.md"
    kinds = material / "kinds"
    comparison.main(
        ["--data_path", str(kinds), "--pairs", str(material / "pairs"), "--page", str(page)]
        + ["--show", "shown", "--credit", "shown: noise of ours", "--photo_before", "image_deblur"]
    )
    text = page.read_text()
    tables = {}
    for title, rows in re.findall(r"## (.+)\n\n((?:\|.*\n)+)", text):
        head, _, *body = [line.strip("| ").split(" | ") for line in rows.splitlines()]
        tables[title] = {row[0].strip(): dict(zip(head, row[1:])) for row in body}
    gains = tables["Photos: gain over the input in dB (worst picture)"]
    assert gains.keys() == {"real pairs (1)", "lines (2)"}

    restore = ImageRestorer.load("image_deblur", "cpu", scale=1)
    before = []
    after = []
    for name in "ab":
        blurry = read_image(kinds / "pictures" / "lines" / "blur" / f"{name}.png")
        sharp = read_image(kinds / "pictures" / "lines" / "sharp" / f"{name}.png")
        before.append(psnr(blurry, sharp))
        after.append(psnr(restore(blurry), sharp))
    mean = np.mean(after) - np.mean(before)
    worst = np.subtract(after, before).min()
    row = gains["lines (2)"]
    assert row["input"] == f"{np.mean(before):.2f} dB"
    assert row["scale 1"] == f"{mean:+.2f} ({worst:+.2f})" == row["before"]
    assert float(row["Wiener, best"].split()[0]) > 1

    clips = tables["Clips: gain over the input in dB (worst picture)"]["moved (1)"]
    assert {"photo network, auto", "scale 1", "scale mean", "scale auto"} < clips.keys()
    sheet = read_image(material / "comparison.jpg")
    panel = comparison_page.PANEL
    assert sheet.shape[1] == 5 * panel and sheet.shape[0] > 2 * panel
    assert "](comparison.jpg)" in text and "shown: noise of ours" in text


def test_a_sharp_kind_tells_how_near_results_stay():
    before = comparison.Scores(psnr=[60.0, 60.0])
    after = comparison.Scores(psnr=[44.0, 42.0])
    assert comparison.psnr_cell(before, before) == "sharp"
    assert comparison.psnr_cell(after, before) == "43.0 dB (42.0)"
