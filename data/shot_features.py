"""Features of a shot: numbers that whoever exposed it knows of it (generate.py irp, FreshShots)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

AUXILIARY_TARGETS = 6  # numbers per shot, see auxiliary_targets_of


class Features(NamedTuple):
    """The features of N shots.

    auxiliary_targets: [N,AUXILIARY_TARGETS], what an auxiliary loss asks for (see
    auxiliary_targets_of). label_features: [N,8], what pseudo-labels are made from (see
    label_features_of).
    """

    auxiliary_targets: np.ndarray
    label_features: np.ndarray


def auxiliary_targets_of(
    photons: float, extent: float, ratio: float, detail: Sequence[float]
) -> np.ndarray:
    """What can be seen in a shot, [AUXILIARY_TARGETS]: its light, its blur, the scene's detail.

    extent: length of the blur at ratio 1 in px, NaN where it is unknown, as of videos. detail: see
    detail_of. All are logarithms.
    """
    light = math.log(photons / ratio)
    blur = math.log(extent / ratio + 0.5)
    return np.float32([light, blur, *detail])


def label_features_of(
    ratio: float, photons: float, detail: Sequence[float], psnr: float, ssim: float
) -> np.ndarray:
    """What nearly determines a shot's label without restoring it, [8].

    Its light, how much detail the sharp picture has, and psnr (dB) and ssim of the brightened shot
    against the sharp picture.
    """
    return np.float32([math.log(ratio), math.log(photons / ratio), *detail, psnr / 10, ssim])


def detail_of(picture: np.ndarray) -> list[float]:
    """The logarithm of the detail in a sharp picture [h,w,3] (8-bit), at four scales."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    detail = []
    for sigma in (1, 2, 4, 8):
        difference = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), sigma)).mean()
        detail.append(float(np.log(difference + 1e-4)))
    return detail
