"""Measures of the sharpness of 8-bit pictures [H,W,3] that need no training.

Higher is sharper; noise counts as sharpness, too.
"""

import cv2
import numpy as np


def laplacian_variance(picture: np.ndarray) -> float:
    """Variance of the Laplacian of the grey picture (Pech-Pacheco et al., ICPR 2000)."""
    return float(cv2.Laplacian(_grey(picture), cv2.CV_64F).var())


def tenengrad(picture: np.ndarray) -> float:
    """Mean squared length of the Sobel gradient of the grey picture (Tenenbaum, 1970)."""
    grey = _grey(picture)
    horizontal = cv2.Sobel(grey, cv2.CV_64F, 1, 0)
    vertical = cv2.Sobel(grey, cv2.CV_64F, 0, 1)
    return float(np.mean([horizontal**2, vertical**2]) * 2)


def local_entropy(picture: np.ndarray) -> float:
    """Mean over the picture of the grey values' entropy (bits) in discs of radius 5 px."""
    from skimage.filters.rank import entropy  # seconds to import
    from skimage.morphology import disk

    return float(entropy(_grey(picture), disk(5)).mean())


MEASURES = {
    "variance of Laplacian": laplacian_variance,
    "Tenengrad": tenengrad,
    "local entropy": local_entropy,
}


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
