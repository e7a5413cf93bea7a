"""Comparison of real pairs that are not registered: the protocols `realblur` and `kohler` (see
utils/evaluation/protocols.py).

As in RealBlur's and SBDD's published programs: the restored image is scaled to the intensity of the
ground truth, registered to it by a homography (ECC, Evangelidis and Psarakis 2008), and compared
where it is valid. The same figures to 1e-3 dB with OpenCV 4.11; from 4.13 on ECC rounds otherwise,
and since it is run for 100 iterations whatever happens, an image that is aligned already may move
by 0.01 dB.
"""

from typing import NamedTuple

import cv2
import numpy as np

from utils.evaluation.metrics import psnr, ssim_map

ITERATIONS = 100
FILTER = 5  # side of ECC's Gaussian, px
SSIM_BORDER = 5  # cut off the SSIM map: half its window
SMALLEST = 2 * SSIM_BORDER + 1  # side of an image that can be compared, px
MAX_PSNR = 60  # `kohler`: a frame above this is no restoration but the frame itself


class Comparison(NamedTuple):
    """Figures of one image; aligned is False where ECC failed and the unaligned image was compared;
    frame: of the trajectory.
    """

    psnr: float
    ssim: float
    aligned: bool
    frame: int = 0


def compare_aligned(restored: np.ndarray, sharp: np.ndarray) -> Comparison:
    """PSNR (peak 1) and SSIM of 8-bit images [H,W,3] of one size after intensity matching and
    registration.
    """
    x, z = (
        np.float32(sharp) / np.float32(255),
        np.float32(restored) / np.float32(255),
    )  # ECC's figures depend on the rounding
    energy = (z * z).sum()
    z = z * ((x * z).sum() / energy if energy else np.float32(1))
    homography, aligned = _homography(_grey(x), _grey(z))
    size = sharp.shape[1::-1]
    warped = cv2.warpPerspective(
        z,
        homography,
        size,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    valid = cv2.warpPerspective(
        np.ones_like(z),
        homography,
        size,
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderValue=0,
    )
    if not valid.any():  # a homography that throws the image out of itself
        warped, valid, aligned = z, np.ones_like(z), False
    warped, x, valid = np.float64(warped * valid), np.float64(x * valid), np.float64(valid)
    error = ((warped - x) ** 2).sum() / valid.sum()
    inner = np.s_[SSIM_BORDER:-SSIM_BORDER, SSIM_BORDER:-SSIM_BORDER]
    similarity, weight = (ssim_map(255 * warped, 255 * x) * valid)[inner], valid[inner]
    return Comparison(
        float("inf") if error == 0 else float(-10 * np.log10(error)),
        float(similarity.sum() / weight.sum()),
        aligned,
    )


def compare_with_trajectory(restored: np.ndarray, sharp_frames: list[np.ndarray]) -> Comparison:
    """The best comparison (by PSNR, below 60 dB) with the sharp frames of a camera's trajectory
    (Koehler et al. 2012).

    An image of another size is resized to the frames first.
    """
    size = sharp_frames[0].shape[1::-1]
    if restored.shape[1::-1] != size:
        restored = cv2.resize(restored, size, interpolation=cv2.INTER_LINEAR)
    comparisons = [
        compare_aligned(restored, sharp)._replace(frame=frame)
        for frame, sharp in enumerate(sharp_frames)
    ]
    credible = [comparison for comparison in comparisons if comparison.psnr < MAX_PSNR]
    return max(credible or comparisons, key=lambda comparison: comparison.psnr)


def unaligned_psnr(image: np.ndarray, sharp: np.ndarray) -> float:
    """PSNR of images as they are (resized if need be): what the published programs print for the
    blurry input.
    """
    size = sharp.shape[1::-1]
    return psnr(
        image
        if image.shape[1::-1] == size
        else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR),
        sharp,
    )


def _homography(template: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, bool]:
    """The homography from template to image coordinates, and whether ECC found one (else the
    identity).
    """
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0)
    start = np.eye(
        3, dtype=np.float32
    )  # a fresh one: OpenCV changes it in place, also when it fails
    try:
        _, homography = cv2.findTransformECC(
            template, image, start, cv2.MOTION_HOMOGRAPHY, criteria, None, FILTER
        )
    except cv2.error:
        return np.eye(3, dtype=np.float32), False
    return (
        (homography, True)
        if np.isfinite(homography).all()
        else (np.eye(3, dtype=np.float32), False)
    )


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
