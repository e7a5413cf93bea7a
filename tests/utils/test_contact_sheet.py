"""Contact sheets: what stands where, how rows wrap, and that the file stays small."""

import numpy as np
import pytest

from tests.commands import pattern
from utils.contact_sheet import contact_sheet, contact_sheet_of_rows
from utils.image import read_image
from utils.report import Example

RNG = np.random.default_rng(0)
LABELS = 22  # px of a row's labels


def example(truth: bool = True, size: tuple[int, int] = (120, 200)) -> Example:
    blurry = pattern(size)
    return Example("a", blurry, blurry, blurry if truth else None)


def flat(value: int, size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def test_a_sheet_has_a_column_per_picture(tmp_path):
    """Two wide blocks side by side would be wider than a screen, one below the other is nearer."""
    contact_sheet(tmp_path / "a.jpg", [example(), example()], width=100)
    assert read_image(tmp_path / "a.jpg").shape == (2 * (LABELS + 60 + 50), 300, 3)
    contact_sheet(tmp_path / "b.jpg", [example(truth=False), example()], width=100)
    assert read_image(tmp_path / "b.jpg").shape[1] == 300


def test_a_tower_stays_a_small_sheet(tmp_path):
    """At the width of the others it would be 200,000 px high."""
    tower = flat(50, (4000, 2))
    contact_sheet(tmp_path / "a.jpg", [Example("tower", tower, tower)], width=100)
    sheet = read_image(tmp_path / "a.jpg").astype(int)
    assert sheet.shape == (LABELS + 400 + 50, 200, 3)
    assert (sheet[40:400, 0] < 80).all() and (sheet[40:400, 30] > 245).all()


def test_rows_wrap_into_columns_in_their_order(tmp_path):
    """40 rows of 322 px: ten columns of four are nearest to 3 : 2."""
    rows = {str(number): {"a": flat(6 * number, (300, 200))} for number in range(40)}
    contact_sheet_of_rows(tmp_path / "a.jpg", rows, 200)
    sheet = read_image(tmp_path / "a.jpg")
    assert sheet.shape == (4 * 322, 10 * 216 - 16, 3)
    for number in (0, 3, 4, 21, 39):
        column, row = divmod(number, 4)
        middle = sheet[row * 322 + 150, column * 216 + 100]
        assert np.abs(middle.astype(int) - 6 * number).max() <= 3


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280)])
def test_eight_frames_of_a_clip_fit_a_screen(size, tmp_path):
    frames = [example(size=size)] * 8
    contact_sheet(tmp_path / "a.jpg", frames)
    height, width, _ = read_image(tmp_path / "a.jpg").shape
    assert 1 < width / height < 2.2


def test_a_sheet_of_noise_has_at_most_two_megabytes(tmp_path):
    noise = RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    contact_sheet_of_rows(tmp_path / "a.jpg", {str(row): {"a": noise} for row in range(60)})
    assert (tmp_path / "a.jpg").stat().st_size <= 2_000_000
    height, width, _ = read_image(tmp_path / "a.jpg").shape
    assert width / height == pytest.approx((9 * 416 - 16) / (7 * 322), rel=0.02)
