"""PSNR and SSIM of arrays [H,W,3], computed in float64.

Which values, crops and rounding: utils/evaluation/protocols.py.
"""

from collections.abc import Callable

import cv2
import numpy as np

_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_WINDOW = 11
_RADIUS = _WINDOW // 2
_WIDE_RADIUS = 6  # of SciPy's Gaussian filter of sigma 1.5, which ends at four sigma
_GAUSSIAN = cv2.getGaussianKernel(_WINDOW, 1.5).ravel()


def psnr(restored: np.ndarray, sharp: np.ndarray, peak: float = 255) -> float:
    """10 log10(peak^2 / mean squared error) over all pixels and channels; infinite if identical."""
    error = np.mean((restored.astype(np.float64) - sharp) ** 2)
    if error == 0:
        return float("inf")
    return float(10 * np.log10(peak**2 / error))


def ssim(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Mean SSIM per channel on the 0..255 scale, averaged (Wang et al. 2004).

    11x11 Gaussian of sigma 1.5, valid windows. Raises ValueError for images smaller than that.
    """
    height, width = restored.shape[:2]
    if min(height, width) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW}x{_WINDOW} pixels, got {height}x{width}")
    inner = slice(_RADIUS, -_RADIUS)
    return float(ssim_map(restored, sharp)[inner, inner].mean())


def ssim3d(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Mean SSIM of all voxels with an 11x11x11 window that also runs over the channels.

    Edges are repeated. The figure that MATLAB's `ssim` gives for an RGB array, and that SRN,
    Restormer and NAFNet report.
    """
    return float(_ssim_map(restored, sharp, _filter_3d).mean())


def ssim_volume(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Mean SSIM of all values on the 0..255 scale, a Gaussian of sigma 1.5 over all three axes.

    13x13x13 taps, edges mirrored with the edge repeated, biased covariance: the figure that
    Shift-Net's published test reports.
    """
    return float(_ssim_map(restored, sharp, _filter_volume).mean())


def ssim_map(restored: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """SSIM at every pixel and channel on the 0..255 scale, 11x11 Gaussian of sigma 1.5.

    Edges are repeated, so cut off 5 px.
    """
    return _ssim_map(restored, sharp, _filter_2d)


def _ssim_map(
    restored: np.ndarray, sharp: np.ndarray, local_mean: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    x = restored.astype(np.float64)
    y = sharp.astype(np.float64)
    mean_x = local_mean(x)
    mean_y = local_mean(y)
    variances = local_mean(x * x + y * y) - mean_x**2 - mean_y**2  # of x and y, summed
    covariance = local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)


def _filter_2d(image: np.ndarray) -> np.ndarray:
    return cv2.sepFilter2D(image, cv2.CV_64F, _GAUSSIAN, _GAUSSIAN, borderType=cv2.BORDER_REPLICATE)


def _filter_3d(image: np.ndarray) -> np.ndarray:
    channels = image.shape[-1]
    # weight of each channel in each filtered one, edges repeated
    across = np.zeros((channels, channels))
    for channel in range(channels):
        for offset, weight in zip(range(-_RADIUS, _RADIUS + 1), _GAUSSIAN):
            across[channel, np.clip(channel + offset, 0, channels - 1)] += weight
    return _filter_2d(image) @ across.T


def _filter_volume(image: np.ndarray) -> np.ndarray:
    kernel = cv2.getGaussianKernel(2 * _WIDE_RADIUS + 1, 1.5).ravel()
    channels = image.shape[-1]
    across = np.zeros((channels, channels))
    for channel in range(channels):
        for offset, weight in zip(range(-_WIDE_RADIUS, _WIDE_RADIUS + 1), kernel):
            position = (channel + offset) % (2 * channels)  # mirrored again and again
            across[channel, min(position, 2 * channels - 1 - position)] += weight
    flat = cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    return flat @ across.T
