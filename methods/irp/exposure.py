"""Which exposure to choose: potentials of shots at several exposure ratios, the best one, and how
sure that is.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm

from data.irp import Shot, find_shots
from methods.irp.pictures import COLUMNS, SIDE, as_bright, new_curve, save_curve, squared
from methods.irp.predict import Predictor
from utils.errors import UserError
from utils.files import write_table
from utils.image import read_8bit
from utils.report import contact_sheet_of_rows, spread

SHEET_SCENES = 8
Curve = tuple[Sequence[Shot], list[float]]  # shots of a scene, their potentials


def recommend(predictor: Predictor, path: Path, error: float, folder: Path) -> dict[str, Curve]:
    """Print the best exposure of every scene; write exposures.csv, curve.png and contact_sheet.png.

    error: standard deviation of a prediction. Raises UserError where there are no shots at several
    exposures.
    """
    if not path.is_dir() or not (scenes := find_shots(path)):
        raise UserError(
            f"{path} holds no shots at several exposures: a folder with 1.png, 2.png, 5.png, ... "
            "(or of such) is needed"
        )
    curves, rows = {}, []
    for scene, shots in scenes.items():
        values = predictor.all(shots)
        sure, best = confidence(values, error), int(np.argmax(values))
        print(_sentence(shots, values, sure[best], error))
        curves[scene] = (shots, values)
        for place, (shot, value, share) in enumerate(zip(shots, values, sure)):
            row = {
                "scene": scene,
                "ratio": f"{shot.ratio:g}",
                "potential": f"{value:.4f}",
                "confidence": f"{share:.4f}",
            }
            rows.append(row | {"recommended": int(place == best)})
    write_table(folder / "exposures.csv", rows)
    _draw(folder / "curve.png", curves, error)
    shown = {scene: _row(*curves[scene]) for scene in spread(list(curves), SHEET_SCENES)}
    contact_sheet_of_rows(folder / "contact_sheet.png", shown, SIDE)
    print(f"results: {folder} (look at curve.png and contact_sheet.png)")
    return curves


def confidence(values: Sequence[float], error: float) -> list[float]:
    """The probability of each shot to be truly the best, if predictions err independently and
    normally with a standard deviation.
    """
    points = np.linspace(-8, 8, 1601)
    below = norm.cdf(
        points + np.subtract.outer(values, values)[..., None] / error
    )  # [k,j,P]: shot j below shot k, which errs by P
    below[np.diag_indices(len(values))] = 1
    shares = (below.prod(1) * norm.pdf(points)).sum(1)
    return (shares / shares.sum()).tolist()


def _sentence(shots: Sequence[Shot], values: list[float], sure: float, error: float) -> str:
    best = int(np.argmax(values))
    ratio = f"{shots[best].ratio:g}"
    near = [
        f"{shot.ratio:g}"
        for shot, value in zip(shots, values)
        if value > values[best] - error and shot is not shots[best]
    ]
    text = (
        f"{shots[best].scene}: take ratio {ratio} (exposure T/{ratio}), potential "
        f"{values[best]:.3f}, confidence {sure:.0%}"
    )
    return text + (f"; within the error of it: {', '.join(near)}" if near else "")


def _row(shots: Sequence[Shot], values: list[float]) -> dict[str, np.ndarray]:
    """At most COLUMNS shots, brightened, the best among them."""
    best = int(np.argmax(values))
    shown = {}
    for place in sorted({*spread(range(len(shots)), COLUMNS - 1), best}):
        ratio = shots[place].ratio
        head = f"{ratio:g}: {values[place]:.3f}{' (best)' if place == best else ''}"
        shown[head] = squared(as_bright(read_8bit(shots[place].path), ratio))
    return shown


def _draw(path: Path, curves: dict[str, Curve], error: float) -> None:
    """A line per scene with its best exposure; of a single scene also the error."""
    figure, axes = new_curve("exposure ratio (the exposure is T / ratio)")
    for scene, (shots, values) in curves.items():
        ratios, best = [shot.ratio for shot in shots], int(np.argmax(values))
        (line,) = axes.semilogx(ratios, values, marker=".", linewidth=1, label=scene)
        axes.plot(ratios[best], values[best], "o", color=line.get_color(), markersize=9)
        if len(curves) == 1:
            axes.fill_between(ratios, np.subtract(values, error), np.add(values, error), alpha=0.15)
    steps = sorted({shot.ratio for shots, _ in curves.values() for shot in shots})
    axes.set_xticks(steps, [f"{ratio:g}" for ratio in steps])
    axes.minorticks_off()
    if len(curves) <= 10:
        axes.legend()
    save_curve(figure, path)
