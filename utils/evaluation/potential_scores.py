"""Scores of predicted restoration potentials (protocol `irp`, Zhang et al., CVPR 2022):
correlations with the labels, and errors.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.stats import pearsonr, spearmanr


def score_potentials(
    scenes: Sequence[str], predictions: Sequence[float], labels: Sequence[float]
) -> dict[str, float]:
    """The figures of protocol `irp` of predictions against labels in 0..1, each given with its
    scene.

    srcc, plcc: Spearman's and Pearson's correlation over all shots; scene_*: over the shots of a
    scene, mean over the scenes with two or more. Where all predictions are equal nothing is ranked:
    0. rmse: root mean square error; rmse_published: as the authors' program prints it, the norm of
    the error of 10 times the label divided by the number of scenes.
    """
    predicted, wanted = np.asarray(predictions, np.float64), np.asarray(labels, np.float64)
    places: dict[str, list[int]] = defaultdict(list)
    for place, scene in enumerate(scenes):
        places[scene].append(place)
    several = [chosen for chosen in places.values() if len(chosen) > 1]
    error = np.linalg.norm(predicted - wanted)
    figures = {
        "srcc": _correlation(spearmanr, predicted, wanted),
        "plcc": _correlation(pearsonr, predicted, wanted),
    }
    for name, kind in (("scene_srcc", spearmanr), ("scene_plcc", pearsonr)):
        figures[name] = (
            float(
                np.mean(
                    [_correlation(kind, predicted[chosen], wanted[chosen]) for chosen in several]
                )
            )
            if several
            else 0.0
        )
    return figures | {
        "rmse": float(error / np.sqrt(len(wanted))),
        "rmse_published": float(10 * error / len(places)),
    }


def _correlation(kind, first: np.ndarray, second: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant input
        value = float(kind(first, second).statistic) if len(first) > 1 else 0.0
    return value if np.isfinite(value) else 0.0
