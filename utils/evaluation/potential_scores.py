"""Scores of predicted restoration potentials (protocol `irp`, Zhang et al., CVPR 2022)."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import pearsonr, spearmanr


def score_potentials(
    scenes: Sequence[str], predictions: Sequence[float], labels: Sequence[float]
) -> dict[str, float]:
    """Correlations and errors of predictions against labels in 0..1, each given with its scene.

    srcc, plcc: Spearman's and Pearson's correlation over all shots; scene_*: over the shots of a
    scene, mean over the scenes with two or more. Where all predictions are equal nothing is ranked:
    0. rmse: root mean square error; rmse_published: as the authors' program prints it, the norm of
    the error of 10 times the label divided by the number of scenes.
    """
    predicted = np.asarray(predictions, np.float64)
    expected = np.asarray(labels, np.float64)
    shots_of: dict[str, list[int]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        shots_of[scene].append(index)
    error = np.linalg.norm(predicted - expected)
    return {
        "srcc": _correlation(spearmanr, predicted, expected),
        "plcc": _correlation(pearsonr, predicted, expected),
        "scene_srcc": _within_scenes(spearmanr, predicted, expected, shots_of),
        "scene_plcc": _within_scenes(pearsonr, predicted, expected, shots_of),
        "rmse": float(error / np.sqrt(len(expected))),
        "rmse_published": float(10 * error / len(shots_of)),
    }


def _within_scenes(
    kind: Callable, predicted: np.ndarray, expected: np.ndarray, shots_of: dict[str, list[int]]
) -> float:
    """The mean of the scenes' correlations; 0 if no scene has two shots."""
    values = [
        _correlation(kind, predicted[shots], expected[shots])
        for shots in shots_of.values()
        if len(shots) > 1
    ]
    return float(np.mean(values)) if values else 0.0


def _correlation(kind: Callable, first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant input
        value = float(kind(first, second).statistic)
    return value if np.isfinite(value) else 0.0
