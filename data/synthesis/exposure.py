"""What a sensor collects while its shutter is open: averages of many moments in linear light.

Images are arrays [H,W,3]; `_linear` values are proportional to light, others gamma-encoded in [0,1].
"""

from collections.abc import Iterable

import cv2
import numpy as np

from data.synthesis.motion import Trajectory

GAMMA = 2.2  # camera response of GoPro's `blur_gamma` and of most of this field


def linearise(image: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    """Linear light [H,W,3] float32 of a gamma-encoded image in [0,1]."""
    return np.power(image, gamma, dtype=np.float32)


def encode(image_linear: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    """The inverse of linearise, clipped to the sensor's range [0,1] first."""
    return np.power(np.clip(image_linear, 0, 1), 1 / gamma, dtype=np.float32)


def mean_in_linear_light(frames: Iterable[np.ndarray], gamma: float = GAMMA) -> np.ndarray:
    """The exposure that lasts over the given encoded frames: their mean in linear light, encoded again."""
    total, count = 0.0, 0
    for frame in frames:
        total, count = total + linearise(frame, gamma), count + 1
    return encode(total / count, gamma)


def exposure_times(frame: float, exposure: float, moments: int) -> np.ndarray:
    """Midpoints of `moments` equal parts of the exposure around t = frame; exposure in frame intervals (0 .. 1)."""
    return frame + exposure * ((np.arange(moments) + 0.5) / moments - 0.5)


def moved_clip(
    image: np.ndarray,
    trajectory: Trajectory,
    frames: int,
    exposure: float,
    size: tuple[int, int],
    gamma: float = GAMMA,
) -> tuple[np.ndarray, np.ndarray]:
    """A blurry and a sharp clip [T,h,w,3] seen by a camera that moves over one encoded picture [H,W,3].

    The window of `size` (h, w) starts at the picture's middle; outside lies its reflection. Every blurry frame is the mean in linear
    light of at least one moment per pixel of motion, the sharp frame is the moment in the middle of the exposure.
    """
    linear = linearise(image, gamma)
    blurry, sharp = [], []
    for frame in range(frames):
        length = trajectory.length(frame - exposure / 2, frame + exposure / 2)
        moments = 2 * int(np.ceil(length / 2)) + 1 if exposure else 1  # odd, so that one lies in the middle
        views = [_view(linear, pose, size) for pose in trajectory.at(exposure_times(frame, exposure, moments))]
        sharp.append(encode(views[moments // 2], gamma))
        blurry.append(encode(np.mean(views, axis=0), gamma) if moments > 1 else sharp[-1])
    return np.stack(blurry), np.stack(sharp)


def _view(linear: np.ndarray, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The window of `size` moved by pose = (dx, dy, angle) over the picture, bicubic."""
    (height, width), (dx, dy, angle) = linear.shape[:2], pose
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2  # the window's centre
    matrix = np.array(
        [
            [cos, -sin, (width - 1) / 2 + dx - cos * x + sin * y],
            [sin, cos, (height - 1) / 2 + dy - sin * x - cos * y],
        ]
    )
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(linear, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101).clip(0)
