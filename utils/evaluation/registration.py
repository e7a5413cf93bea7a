"""Comparison of real pairs that are not registered: the protocols `realblur` and `kohler`.

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
    """Figures of one image.

    aligned: False where ECC failed and the unaligned image was compared. frame: index of the frame
    of the trajectory.
    """

    psnr: float
    ssim: float
    aligned: bool
    frame: int = 0


def compare_aligned(restored: np.ndarray, sharp: np.ndarray) -> Comparison:
    """PSNR (peak 1) and SSIM of images [H,W,3], 0..255, after intensity matching and registration.

    Both images have the same size.
    """
    x = np.float32(sharp) / np.float32(255)  # float32: ECC's figures depend on the rounding
    z = np.float32(restored) / np.float32(255)
    energy = (z * z).sum()
    if energy:
        z = z * ((x * z).sum() / energy)
    warped, valid, aligned = _registered(z, x)
    warped = np.float64(warped * valid)
    x = np.float64(x * valid)
    valid = np.float64(valid)
    error = ((warped - x) ** 2).sum() / valid.sum()
    inner = np.s_[SSIM_BORDER:-SSIM_BORDER, SSIM_BORDER:-SSIM_BORDER]
    similarity = (ssim_map(255 * warped, 255 * x) * valid)[inner].sum() / valid[inner].sum()
    decibels = float("inf") if error == 0 else float(-10 * np.log10(error))
    return Comparison(decibels, float(similarity), aligned)


def compare_with_trajectory(restored: np.ndarray, sharp_frames: list[np.ndarray]) -> Comparison:
    """The best comparison with the sharp frames of a camera's trajectory (Koehler et al. 2012).

    Best by PSNR, below 60 dB. An image of another size is resized to the frames first.
    """
    restored = _resized(restored, sharp_frames[0])
    comparisons = [
        compare_aligned(restored, sharp)._replace(frame=frame)
        for frame, sharp in enumerate(sharp_frames)
    ]
    credible = [comparison for comparison in comparisons if comparison.psnr < MAX_PSNR]
    return max(credible or comparisons, key=lambda comparison: comparison.psnr)


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """An 8-bit image [H,W,3] as floats 0..255 [factor*H,factor*W,3], bilinear (SBDD's `-rf`)."""
    from skimage.transform import resize  # half a second to import

    height, width = image.shape[:2]
    size = (factor * height, factor * width)
    return np.float32(resize(image, size, order=1, preserve_range=True))


def unaligned_psnr(image: np.ndarray, sharp: np.ndarray) -> float:
    """PSNR of images as they are, resized if need be.

    The published programs print it for the blurry input.
    """
    return psnr(_resized(image, sharp), sharp)


def _resized(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    size = like.shape[1::-1]
    if image.shape[1::-1] == size:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _registered(image: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """The image warped to the template, where it is valid (1, else 0), and whether ECC succeeded.

    An image that can't be registered stays as it is and is valid everywhere.
    """
    everywhere = np.ones_like(image)
    homography = _homography(_grey(template), _grey(image))
    if homography is not None:
        size = template.shape[1::-1]
        warped = cv2.warpPerspective(
            image,
            homography,
            size,
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        valid = cv2.warpPerspective(
            everywhere,
            homography,
            size,
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderValue=0,
        )
        if valid.any():  # else a homography that throws the image out of itself
            return warped, valid, True
    return image, everywhere, False


def _homography(template: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """The homography from template to image coordinates; None where ECC finds none."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0)
    start = np.eye(3, dtype=np.float32)
    try:
        _, homography = cv2.findTransformECC(
            template, image, start, cv2.MOTION_HOMOGRAPHY, criteria, None, FILTER
        )
    except cv2.error:
        return None
    return homography if np.isfinite(homography).all() else None


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
