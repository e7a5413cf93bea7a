"""Which of GoPro's two blurs pictures hold, told by their pixels.

An average of frames keeps the mean brightness in the space in which it was taken: `blur` averages
pixel values, `blur_gamma` averages linear light (pixel^2.2). By Jensen's inequality an average of
pixel values is too dark in linear light, an average of light too bright in pixel values.
"""

from collections.abc import Iterable

import numpy as np

GAMMA = 2.2
FEWEST = 8  # pictures
CERTAIN = 4.0  # standard errors by which a brightness must be off
APART = 3.0  # times as far off as the other
UNTOLD = "not told by its pixels"


def told_by_pixels(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> str:
    """`blur`, `blur_gamma` or UNTOLD for 8-bit pictures [H,W,3] (blurry, sharp).

    UNTOLD where there are few pictures, little motion, or another kind of blur.
    """
    encoded = []
    linear = []
    for blurry, sharp in pairs:
        first = np.float64(blurry) / 255
        second = np.float64(sharp) / 255
        encoded.append(first.mean() - second.mean())
        linear.append((first**GAMMA).mean() - (second**GAMMA).mean())
    if len(encoded) < FEWEST:
        return UNTOLD
    too_bright, bright_error = _mean_and_error(encoded)
    too_dark, dark_error = _mean_and_error(linear)
    if too_dark < -CERTAIN * dark_error and abs(too_bright) * APART < -too_dark:
        return "blur"
    if too_bright > CERTAIN * bright_error and abs(too_dark) * APART < too_bright:
        return "blur_gamma"
    return UNTOLD


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(np.mean(values)), float(np.std(values) / len(values) ** 0.5)
