"""The shipped networks give the pictures that they gave when they were shipped.

`golden/version_0_3.npz` holds what version 0.3 wrote in float32 at scale 1: every eighth pixel of a
photo, every fourth of four frames. Whoever ships other weights writes it anew.
"""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.image import read_image, write_image

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests/golden/version_0_3.npz"
OPTIONS = ("--precision", "fp32", "--scale", "1", "--guard", "false", "--device", "cpu")


def blurred(height: int, width: int, shift: int = 0) -> np.ndarray:
    """A view [H,W,3] onto one wide blurred picture, from a column on."""
    coarse = np.random.default_rng(11).random((9, 11, 3))
    wide = cv2.resize(coarse, (width + 40, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    view = wide[:, shift : shift + width]
    edges = (view > 0.5) * 0.5 + view * 0.5
    return np.round(cv2.blur(edges, (9, 1)) * 255).astype(np.uint8)


def restored(method: str, source: Path, folder: Path) -> None:
    command = [sys.executable, "inference.py", method, "--data_path", source]
    subprocess.run([*command, "--output_dir", folder, *OPTIONS], cwd=ROOT, check=True)


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.fixture
def older() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


def test_a_photo_in_float32_is_that_of_the_version_that_shipped_it(older, tmp_path):
    picture = blurred(400, 480)  # larger than the windows of the local statistics
    write_image(tmp_path / "in" / "photo.png", picture)
    restored("image_deblur", tmp_path / "in" / "photo.png", tmp_path / "out")
    result = read_image(tmp_path / "out" / "photo.png")[::8, ::8]
    assert difference(result, picture[::8, ::8]) > 10, "the network changes the photo"
    assert difference(result, older["photo"]) <= 1


def test_a_video_in_float32_is_that_of_the_version_that_shipped_it(older, tmp_path):
    for number in range(4):
        write_image(tmp_path / "in" / "clip" / f"{number}.png", blurred(72, 96, 4 * number))
    restored("cdvd_tsp", tmp_path / "in", tmp_path / "out")
    for number, expected in enumerate(older["frames"]):
        result = read_image(tmp_path / "out" / "clip" / f"{number}.png")[::4, ::4]
        assert difference(result, expected) <= 1
