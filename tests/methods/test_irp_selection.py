"""Which shots are kept, which tie, what is said of them, and ratings beside the pictures."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from data.synthesis.kernels import random_kernel
from methods.irp.judge import mixed_score
from methods.irp.predict import load as load_irp
from methods.irp.selection import (
    ERRORS,
    kept_shots,
    reason,
    tied_with_best,
    write_ratings,
)
from methods.irp.sources import JudgedShot
from utils.image import to_tensor


def judged(potentials: list[float], seconds: float | None = None) -> list[JudgedShot]:
    shots = []
    for index, potential in enumerate(potentials):
        time = None if seconds is None else index * seconds
        shots.append(JudgedShot(str(index), potential, 1.0, Path(f"{index}.jpg"), time))
    return shots


def best_first(shots: list[JudgedShot]) -> list[JudgedShot]:
    return sorted(shots, key=lambda shot: -shot.potential)


def kept(potentials: list[float], count: int, spread: float | None, seconds: float | None = None):
    shots = judged(potentials, seconds)
    return [int(shot.name) for shot in kept_shots(shots, best_first(shots), count, spread)]


def test_shots_of_a_burst_are_kept_by_their_score():
    assert kept([0.5, 0.9, 0.8, 0.7], 2, None) == [1, 2]


def test_neighbouring_frames_of_a_video_are_not_all_kept():
    """2 of 10 s: at least 1.25 s apart by default."""
    potentials = [0.1, 0.2, 0.9, 0.89, 0.88, 0.3, 0.2, 0.8, 0.2, 0.1, 0.1]
    assert kept(potentials, 2, None, seconds=1) == [2, 4]
    assert kept(potentials, 2, 3, seconds=1) == [2, 7]
    assert kept(potentials, 2, 0, seconds=1) == [2, 3]
    assert kept(potentials, 11, None, seconds=1) == [2, 3, 4, 7, 5, 1, 6, 8, 0, 9, 10]


def test_fewer_are_kept_where_they_would_be_too_close(capsys):
    assert kept([0.5, 0.9, 0.8], 3, 2) == [1]
    assert "only 1 of 3 shots are 2 or more apart" in capsys.readouterr().out


def test_shots_tie_that_differ_by_less_than_the_score_errs():
    ranked = best_first(judged([0.5, 0.80, 0.88, 0.78, 0.7]))
    assert [shot.name for shot in tied_with_best(ranked, 0.09)] == ["2", "1"]
    assert [shot.name for shot in tied_with_best(ranked, 0.03)] == ["2"]


@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_equal_shots_tie_and_twice_as_long_blur_does_not(noise):
    """Shots of one motion of 4 px that differ by their noise, and one of 8 px."""
    predictor = load_irp(None, "cpu", "fp32")
    picture = np.float32(skimage.data.astronaut()[:256, 128:384])
    scores = []
    for seed, length in enumerate((4, 4, 4, 8)):
        kernel = random_kernel(np.random.default_rng(9), 21, length=length)
        shot = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT)
        shot += np.random.default_rng(seed).normal(0, noise, shot.shape)
        shot = np.uint8(np.round(shot.clip(0, 255)))
        scores.append(mixed_score(predictor(to_tensor(shot)), shot))
    tied = tied_with_best(best_first(judged(scores)), ERRORS["mixed"])
    assert sorted(shot.name for shot in tied) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("length", "change", "expected"),
    [
        (0, lambda picture: picture, "sharp"),
        (0, lambda picture: picture // 3, "sharp, dark"),
        (15, lambda picture: picture, "blurred some 1[1-9] px"),
        (0, lambda picture: 235 + picture // 13, ".*very bright"),
    ],
)
def test_what_a_person_sees(length, change, expected):
    picture = skimage.data.astronaut()[:384, :384]
    if length:
        kernel = np.full((1, length), 1 / length, np.float32)
        picture = cv2.filter2D(picture, -1, kernel)
    assert re.fullmatch(expected, reason(change(picture).astype(np.uint8)))


def test_a_sharp_object_in_a_blurred_picture_is_seen():
    picture = skimage.data.astronaut()
    blurred = cv2.filter2D(picture, -1, np.full((1, 15), 1 / 15, np.float32))
    blurred[128:352, 128:352] = picture[128:352, 128:352]
    assert re.fullmatch("partly blurred, some (9|1.) px", reason(blurred))


def test_noise_is_seen():
    picture = np.full((256, 256, 3), 120.0)
    picture += np.random.default_rng(0).normal(0, 20, picture.shape)
    assert reason(np.uint8(picture.clip(0, 255))).endswith("noisy")


def test_ratings_lie_beside_the_pictures_which_stay_as_they_are(tmp_path, capsys):
    shots = []
    for name, potential in (("a", 0.9), ("b", 0.6), ("c", 0.1)):
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(b"picture")
        shots.append(JudgedShot(name, potential, 1.0, path))
    (tmp_path / "c.jpg.xmp").write_text("mine")
    write_ratings(shots, shots[:1])
    assert 'xmp:Rating="5"' in (tmp_path / "a.jpg.xmp").read_text()
    assert 'xmp:Rating="3"' in (tmp_path / "b.jpg.xmp").read_text()
    assert (tmp_path / "c.jpg.xmp").read_text() == "mine"
    assert "c.jpg.xmp is there and stays" in capsys.readouterr().out
    assert {path.read_bytes() for path in tmp_path.glob("*.jpg")} == {b"picture"}
