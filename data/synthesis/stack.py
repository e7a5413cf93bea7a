"""Exposure stacks: one scene at several exposure times, from bright and blurred to dark and noisy.

Our definition: at ratio r the shutter is open for T/r around the same time: motion blur over that
time, r times less light, photon noise of that light, read noise, 8 bits behind the camera's gamma.
The stored picture is r times too dark.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from data.synthesis.blend import blend_arrays
from data.synthesis.camera import GAMMA, STANDARD
from data.synthesis.exposure import exposed_frame, exposure_times, frames_needed, luma_8bit
from data.synthesis.kernels import kernel_of_path, resampled_path
from utils.rounding import array_to_8bit

RATIOS = (1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0)
PATH_POINTS = 256  # of a path that is drawn as a kernel
MOTIONS = 4  # different ones that are told apart in a video


class Sensor(NamedTuple):
    """photons: electrons at full scale for ratio 1; read_noise: standard deviation in electrons.

    The read noise is the same whatever the exposure.
    """

    photons: float
    read_noise: float


class Exposure(NamedTuple):
    """Light of one exposure before the sensor, and the motion that was in it.

    blurred_linear [h,w,3] has the brightness of ratio 1. kernels [N,K,K] and weights [N,h,w], which
    sum to 1 per pixel: what blurred it, exact for pictures, by optical flow for videos.
    """

    blurred_linear: np.ndarray
    kernels: np.ndarray
    weights: np.ndarray


def expose_picture(
    picture: np.ndarray, masks: np.ndarray, paths: Sequence[np.ndarray], ratio: float, size: int
) -> Exposure:
    """An exposure of a picture [H,W,3] and its objects' masks [N,H,W].

    h, w = H - size + 1, W - size + 1. paths: of the camera and of every object, [M,2] positions in
    px over the exposure of ratio 1. Every kernel is centred on its mean.
    """
    kernels = np.stack([kernel_of_path(part_of_path(path, ratio), size) for path in paths])
    blurred, weights = blend_arrays(STANDARD.linear(picture), kernels, masks)
    return Exposure(blurred.clip(0), kernels, weights)


def expose_video(
    frames: Sequence[np.ndarray], exposure: float, ratio: float, size: int
) -> Exposure:
    """An exposure around the middle of sharp frames [H,W,3] in [0,1]; nothing is cut off.

    exposure: of ratio 1, in frame intervals.
    """
    exposure = exposure / ratio
    middle = len(frames) // 2
    half = frames_needed(exposure) // 2
    image = exposed_frame(frames[middle - half : middle + half + 1], exposure)
    scale = exposure / 2 / half
    to_start = _flow(frames[middle], frames[middle - half]) * scale
    to_end = _flow(frames[middle], frames[middle + half]) * scale
    kernels, weights = _motions(np.concatenate([to_start, to_end], -1), size)
    return Exposure(STANDARD.linear(image), kernels, weights)


def sense(
    exposure_linear: np.ndarray, ratio: float, sensor: Sensor, rng: np.random.Generator
) -> np.ndarray:
    """The stored picture, uint8 [h,w,3], of light [h,w,3] with the brightness of ratio 1."""
    photons = rng.poisson(exposure_linear * (sensor.photons / ratio))
    electrons = photons + rng.normal(0, sensor.read_noise, exposure_linear.shape)
    return array_to_8bit(STANDARD.encoded(np.float32(electrons / sensor.photons)))


def brightened(stored: np.ndarray, ratio: float) -> np.ndarray:
    """A stored picture (uint8 or uint16) as bright as at ratio 1: float32 [h,w,3].

    Values lie above 1 where noise lifts them there.
    """
    highest = np.iinfo(stored.dtype).max
    return np.float32(stored) / highest * np.float32(ratio ** (1 / GAMMA))


def encoded_noise(sensor: Sensor, ratio: float, light: float) -> float:
    """Standard deviation of the noise in the brightened encoded picture, at a mean light.

    light: linear, of ratio 1. Photon noise has nearly the same deviation at all of them, as the
    gamma is close to a square root; read noise and 8-bit steps come on top.
    """
    slope = light ** (1 / GAMMA - 1) / GAMMA  # of the encoding
    photon = math.sqrt(light * ratio / sensor.photons)
    read = sensor.read_noise * ratio / sensor.photons
    step = ratio ** (1 / GAMMA) / 255 / math.sqrt(12)
    return math.hypot(slope * photon, slope * read, step)


def part_of_path(path: np.ndarray, ratio: float) -> np.ndarray:
    """The middle 1/ratio of a path [M,2] in time, as [PATH_POINTS,2]."""
    return resampled_path(path, 0.5 + exposure_times(0, 1, PATH_POINTS) / ratio)


def _flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return search.calc(luma_8bit(first), luma_8bit(second), None)


def _motions(displacements: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernels [N,K,K] and weights [N,h,w] of the MOTIONS most common motions.

    displacements [h,w,4]: (dx, dy) from the middle of the exposure to its start and to its end.
    """
    height, width = displacements.shape[:2]
    limit = (size - 3) / 4
    points = np.ascontiguousarray(displacements.clip(-limit, limit).reshape(-1, 4))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 20, 0.05)
    cv2.setRNGSeed(0)
    _, labels, centres = cv2.kmeans(points, MOTIONS, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
    masks = np.float32(labels.reshape(height, width) == np.arange(MOTIONS)[:, None, None])
    smooth = np.stack([cv2.GaussianBlur(mask, (0, 0), 4) for mask in masks])
    middles = np.zeros((MOTIONS, 2), np.float32)
    paths = np.stack((centres[:, :2], middles, centres[:, 2:]), 1)  # [N,3,2]
    kernels = np.stack([kernel_of_path(part_of_path(path, 1), size) for path in paths])
    return kernels, smooth / smooth.sum(0)
