"""The mixture of potential and plain sharpness that ranks the shots of a burst."""

import cv2
import numpy as np
import pytest

from methods.irp.judge import mixed_score
from utils.evaluation.sharpness import fine_detail, noise_deviation


@pytest.fixture
def picture():
    """Smooth regions with edges between them, [256,256,3] uint8."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(40, 200, (8, 8, 3)), np.ones((32, 32, 1)))
    return np.uint8(cv2.GaussianBlur(np.float32(blocks), (0, 0), 0.8))


def noisy(picture, deviation, seed=1):
    noise = np.random.default_rng(seed).normal(0, deviation, picture.shape[:2])[..., None]
    return np.uint8(np.round(picture + noise).clip(0, 255))


@pytest.mark.parametrize("deviation", [2.0, 5.0, 12.0])
def test_noise_is_measured(picture, deviation):
    assert noise_deviation(picture) < 0.5
    assert noise_deviation(noisy(picture, deviation)) == pytest.approx(deviation, rel=0.2)


def test_detail_does_not_count_noise(picture):
    """Nearly half of what it adds to the logarithm, or more, is taken away."""
    clean = fine_detail(picture, 2, 0.0)
    shot = noisy(picture, 4.0)
    added = fine_detail(shot, 2, 0.0) - clean
    left = fine_detail(shot, 2, noise_deviation(shot)) - clean
    assert added > 0.3 and abs(left) < 0.6 * added


def test_a_clean_burst_is_ranked_by_sharpness(picture):
    """Whatever the network says; scores lie in 0..1."""
    shots = [picture] + [cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (1, 2, 4, 8)]
    scores = [mixed_score(0.5, shot) for shot in shots]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] < scores[0] <= 1
    assert mixed_score(0.9, shots[2]) == pytest.approx(mixed_score(0.1, shots[2]), abs=0.02)


def test_among_noisy_shots_the_network_counts(picture):
    shot = noisy(picture, 10.0)
    assert mixed_score(0.8, shot) > mixed_score(0.3, shot) + 0.2
    assert mixed_score(0.5, picture) > mixed_score(0.5, shot)


def test_any_picture_has_a_score():
    for shape in ((1, 1, 3), (5, 7, 3), (2000, 30, 3)):
        for value in (0, 255):
            assert 0 <= mixed_score(1.09, np.full(shape, value, np.uint8)) <= 1
