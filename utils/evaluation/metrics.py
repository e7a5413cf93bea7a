"""PSNR and SSIM. Images are arrays [H,W,3]; computations run in float64. Which values, crops and
rounding: utils/evaluation/protocols.py.
"""

import cv2
import numpy as np

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_WINDOW = 11
_RADIUS = _WINDOW // 2
_GAUSSIAN = cv2.getGaussianKernel(_WINDOW, 1.5).ravel()


def psnr(restored: np.ndarray, sharp: np.ndarray, peak: float = 255) -> float:
    """10 log10(peak^2 / mean squared error) over all pixels and channels; infinite for identical
    images.
    """
    error = np.mean((restored.astype(np.float64) - sharp) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Mean SSIM on the 0..255 scale (Wang et al. 2004), 11x11 Gaussian of sigma 1.5, valid windows,
    per channel, averaged.

    Raises ValueError for images smaller than the window.
    """
    if min(restored.shape[:2]) < _WINDOW:
        raise ValueError(
            f"SSIM needs at least {_WINDOW}x{_WINDOW} pixels, got "
            f"{restored.shape[0]}x{restored.shape[1]}"
        )
    inner = slice(_RADIUS, -_RADIUS)
    return float(ssim_map(restored, sharp)[inner, inner].mean())


def ssim3d(restored: np.ndarray, sharp: np.ndarray) -> float:
    """SSIM with an 11x11x11 window that also runs over the channels, edges repeated, mean over all
    voxels.

    The figure that MATLAB's `ssim` gives for an RGB array, and that SRN, Restormer and NAFNet
    report.
    """
    return float(_ssim_map(restored, sharp, _filter_3d).mean())


def ssim_map(restored: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """SSIM at every pixel and channel on the 0..255 scale, 11x11 Gaussian of sigma 1.5; edges are
    repeated, so cut off 5 px.
    """
    return _ssim_map(restored, sharp, _filter_2d)


def _ssim_map(restored: np.ndarray, sharp: np.ndarray, mean) -> np.ndarray:
    x, y = restored.astype(np.float64), sharp.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x + y * y) - mean_x**2 - mean_y**2  # of x and y, summed
    covariance = mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)


def _filter_2d(image: np.ndarray) -> np.ndarray:
    return cv2.sepFilter2D(image, cv2.CV_64F, _GAUSSIAN, _GAUSSIAN, borderType=cv2.BORDER_REPLICATE)


def _filter_3d(image: np.ndarray) -> np.ndarray:
    channels = image.shape[-1]
    across = np.zeros(
        (channels, channels)
    )  # weight of each channel in each filtered one, edges repeated
    for channel in range(channels):
        for offset, weight in zip(range(-_RADIUS, _RADIUS + 1), _GAUSSIAN):
            across[channel, np.clip(channel + offset, 0, channels - 1)] += weight
    return _filter_2d(image) @ across.T
