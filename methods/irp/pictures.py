"""Parts of the pictures that the commands draw: shots as bright as at ratio 1, and curves."""

import numpy as np

from data.synthesis.stack import brightened
from utils.image import resize_to

# of a contact sheet: shots in a row, and the side of a shot's square in px
COLUMNS = 6
SIDE = 240


def as_bright(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """Stored pixels as bright as at ratio 1, of their type (uint8 or uint16)."""
    if ratio == 1:
        return pixels
    highest = np.iinfo(pixels.dtype).max
    return np.round(brightened(pixels, ratio).clip(0, 1) * highest).astype(pixels.dtype)


def squared(pixels: np.ndarray) -> np.ndarray:
    """A picture in a white square of SIDE px."""
    picture = resize_to(pixels, SIDE)
    margins = []
    for side in picture.shape[:2]:
        empty = SIDE - side
        margins.append((empty // 2, empty - empty // 2))
    return np.pad(picture, (*margins, (0, 0)), constant_values=255)


def new_curve(label: str):
    """(figure, axes) of potentials against what a label says."""
    # the object interface, which needs no display and no global state
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=label, ylabel="potential")
    axes.grid(alpha=0.3)
    return figure, axes
