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


def noise_deviation(picture: np.ndarray) -> float:
    """Standard deviation of the noise in grey levels, from the smoothest tenth of 8x8 blocks.

    A mask that is blind to constant and linear regions sees the noise alone there (Immerkaer, 1996:
    "Fast noise variance estimation").
    """
    mask = np.float32([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    response = np.abs(cv2.filter2D(np.float32(_grey(picture)), -1, mask))[2:-2, 2:-2]
    rows = len(response) // 8
    columns = response.shape[1] // 8
    if not rows or not columns:
        return 0.0
    blocks = response[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).mean((1, 3))
    return float(np.quantile(blocks, 0.1) * np.sqrt(np.pi / 2) / 6)


def fine_detail(picture: np.ndarray, scale: int, noise: float) -> float:
    """Logarithm of the Laplacian's variance at 1/scale of the size, less what noise adds to it.

    noise: see noise_deviation. Of what is there, a twentieth stays in any case.
    """
    grey = np.float32(_grey(picture))
    if scale > 1:
        size = [max(side // scale, 1) for side in grey.shape[::-1]]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    from_noise = 20 * noise**2 / scale**2  # 20: the sum of the mask's squares
    return float(np.log(max(variance - from_noise, variance / 20) + 0.5))


MEASURES = {
    "variance of Laplacian": laplacian_variance,
    "Tenengrad": tenengrad,
    "local entropy": local_entropy,
}


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
