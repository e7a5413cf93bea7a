"""Scores of potentials by hand, and the measures of sharpness on pictures whose order is known."""

import cv2
import numpy as np
import pytest

from utils.evaluation.potential_scores import score_potentials
from utils.evaluation.sharpness import MEASURES


def test_scores_by_hand():
    """Two scenes of three shots: one ranked right, one with its last two exchanged."""
    scenes = list("aaabbb")
    labels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    predictions = [0.2, 0.3, 0.4, 0.4, 0.6, 0.5]
    scores = score_potentials(scenes, predictions, labels)
    assert scores["scene_srcc"] == pytest.approx((1 + 0.5) / 2)  # 1 - 6 (0 + 1 + 1) / (3 * 8) = 0.5
    errors = np.array([0.1, 0.1, 0.1, 0, 0.1, -0.1])
    assert scores["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert scores["rmse_published"] == pytest.approx(10 * np.sqrt((errors**2).sum()) / 2)
    assert scores["plcc"] == pytest.approx(np.corrcoef(predictions, labels)[0, 1])
    ranks = [1, 2, 3.5, 3.5, 6, 5]  # equal predictions share their ranks
    assert scores["srcc"] == pytest.approx(np.corrcoef(ranks, range(1, 7))[0, 1])


def test_what_ranks_nothing_scores_nothing():
    constant = score_potentials(list("aabb"), [0.5] * 4, [0.1, 0.2, 0.3, 0.4])
    assert constant["srcc"] == constant["plcc"] == constant["scene_srcc"] == 0
    alone = score_potentials(["a", "b", "c"], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert alone["srcc"] == pytest.approx(1)
    assert alone["scene_srcc"] == alone["rmse"] == 0
    turned = score_potentials(list("aaa"), [3, 2, 1], [0.1, 0.2, 0.3])
    assert [turned["srcc"], turned["scene_plcc"]] == pytest.approx([-1, -1])


@pytest.mark.parametrize("name", list(MEASURES))
def test_blur_lowers_every_measure(name):
    rng = np.random.default_rng(0)
    picture = cv2.resize(
        rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC
    )
    pictures = [picture, *(cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (1.5, 4, 10))]
    values = [MEASURES[name](blurred) for blurred in pictures]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.1 * values[-1]


def test_measures_by_hand():
    """A step of 100 grey levels: Laplacian 0, 100, -100, 0; Sobel 400 on two columns."""
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, 4:] = 100
    laplacian = np.array([0, 0, 0, 100, -100, 0, 0, 0])
    assert MEASURES["variance of Laplacian"](picture) == pytest.approx(laplacian.var())
    assert MEASURES["Tenengrad"](picture) == pytest.approx(400**2 * 2 / 8)
    assert MEASURES["local entropy"](np.full((16, 16, 3), 9, np.uint8)) == 0
