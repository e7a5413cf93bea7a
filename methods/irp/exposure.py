"""Which exposure to choose: the best of shots at several exposure ratios, and how sure that is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm

from data.irp import Shot, find_shots
from methods.irp.pictures import COLUMNS, SIDE, as_bright, new_curve, squared
from methods.irp.predict import Predictor
from utils.contact_sheet import contact_sheet_of_rows
from utils.errors import UserError
from utils.files import save_figure, write_table
from utils.image import read_8bit
from utils.report import spread

SHEET_SCENES = 8
Curve = tuple[Sequence[Shot], list[float]]  # shots of a scene, their potentials


def recommend(predictor: Predictor, path: Path, error: float, folder: Path) -> dict[str, Curve]:
    """Print the best exposure of every scene; write exposures.csv, curve.png, contact_sheet.jpg.

    error: standard deviation of a prediction. Raises UserError where there are no shots at several
    exposures.
    """
    scenes = find_shots(path) if path.is_dir() else {}
    if not scenes:
        raise UserError(
            f"{path} holds no shots at several exposures: a folder with 1.png, 2.png, 5.png, ... "
            "(or of such) is needed"
        )
    curves = {}
    rows = []
    for scene, shots in scenes.items():
        values = predictor.all(shots)
        sure = confidence(values, error)
        best = int(np.argmax(values))
        print(_sentence(shots, values, sure[best], error))
        curves[scene] = (shots, values)
        for index, shot in enumerate(shots):
            row = {
                "scene": scene,
                "ratio": f"{shot.ratio:g}",
                "potential": f"{values[index]:.4f}",
                "confidence": f"{sure[index]:.4f}",
                "recommended": int(index == best),
            }
            rows.append(row)
    write_table(folder / "exposures.csv", rows)
    _draw(folder / "curve.png", curves, error)
    shown = {scene: _row(*curves[scene]) for scene in spread(list(curves), SHEET_SCENES)}
    contact_sheet_of_rows(folder / "contact_sheet.jpg", shown, SIDE)
    print(f"results: {folder} (look at curve.png and contact_sheet.jpg)")
    return curves


def confidence(values: Sequence[float], error: float) -> list[float]:
    """The probability of each shot to be truly the best.

    Predictions err independently and normally with a standard deviation of `error`.
    """
    points = np.linspace(-8, 8, 1601)  # errors of a shot in standard deviations, [P]
    distances = np.subtract.outer(values, values)[..., None] / error  # [N,N,1]
    # the probability that shot j lies below shot k where k errs by P, [k,j,P]
    below = norm.cdf(points + distances)
    below[np.diag_indices(len(values))] = 1
    best = (below.prod(1) * norm.pdf(points)).sum(1)  # [N]
    return (best / best.sum()).tolist()


def _sentence(shots: Sequence[Shot], values: list[float], sure: float, error: float) -> str:
    best = int(np.argmax(values))
    ratio = f"{shots[best].ratio:g}"
    text = (
        f"{shots[best].scene}: take ratio {ratio} (exposure T/{ratio}), potential "
        f"{values[best]:.3f}, confidence {sure:.0%}"
    )
    near = []
    for index, shot in enumerate(shots):
        if index != best and values[index] > values[best] - error:
            near.append(f"{shot.ratio:g}")
    if near:
        text += f"; within the error of it: {', '.join(near)}"
    return text


def _row(shots: Sequence[Shot], values: list[float]) -> dict[str, np.ndarray]:
    """At most COLUMNS shots, brightened, the best among them."""
    best = int(np.argmax(values))
    shown = {}
    for index in sorted({*spread(range(len(shots)), COLUMNS - 1), best}):
        ratio = shots[index].ratio
        star = " (best)" if index == best else ""
        pixels = read_8bit(shots[index].path)
        shown[f"{ratio:g}: {values[index]:.3f}{star}"] = squared(as_bright(pixels, ratio))
    return shown


def _draw(path: Path, curves: dict[str, Curve], error: float) -> None:
    """A line per scene with its best exposure; of a single scene also the error."""
    figure, axes = new_curve("exposure ratio (the exposure is T / ratio)")
    for scene, (shots, values) in curves.items():
        ratios = [shot.ratio for shot in shots]
        best = int(np.argmax(values))
        (line,) = axes.semilogx(ratios, values, marker=".", linewidth=1, label=scene)
        axes.plot(ratios[best], values[best], "o", color=line.get_color(), markersize=9)
        if len(curves) == 1:
            axes.fill_between(ratios, np.subtract(values, error), np.add(values, error), alpha=0.15)
    steps = sorted({shot.ratio for shots, _ in curves.values() for shot in shots})
    axes.set_xticks(steps, [f"{ratio:g}" for ratio in steps])
    axes.minorticks_off()
    if len(curves) <= 10:
        axes.legend()
    save_figure(path, figure)
