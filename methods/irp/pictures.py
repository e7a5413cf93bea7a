"""What the tasks of inference.py draw: shots as bright as at ratio 1, in squares of a contact
sheet, and curves.
"""

from pathlib import Path

import numpy as np

from data.synthesis.stack import brightened
from utils.files import atomic_path
from utils.image import resize_to

COLUMNS, SIDE = 6, 240  # of a contact sheet: shots in a row, px


def as_bright(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """Stored 8-bit pixels as bright as at ratio 1, in 8 bits."""
    return np.uint8(np.round(brightened(pixels, ratio).clip(0, 1) * 255)) if ratio != 1 else pixels


def squared(pixels: np.ndarray) -> np.ndarray:
    """A picture in a white square of SIDE px."""
    picture = resize_to(pixels, SIDE)
    rows, columns = (SIDE - side for side in picture.shape[:2])
    return np.pad(
        picture,
        ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0)),
        constant_values=255,
    )


def new_curve(label: str):
    """(figure, axes) of potentials against what a label says."""
    from matplotlib.figure import (
        Figure,
    )  # the object interface needs no display and no global state

    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=label, ylabel="potential")
    axes.grid(alpha=0.3)
    return figure, axes


def save_curve(figure, path: Path) -> None:
    """As PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
