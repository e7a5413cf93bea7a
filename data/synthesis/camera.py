"""What a camera makes of light: response curve, saturation, light streaks, sensor noise.

Source: SBDD, arXiv 2209.12675. Images are float32 arrays [H,W,3]; encoded ones in [0,1], `_linear`
ones proportional to light with 1 = the sensor's full scale.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

GAMMA = 2.2  # camera response of GoPro's `blur_gamma` and of most of this field


@dataclass(frozen=True)
class Response:
    """A camera's response: encoded = response(linear).

    gamma: linear = s^value. exponential: linear = -log(1 - s + 1e-9) / value, so white is 2.96 for
    value 7. none: linear = s.
    """

    kind: Literal["gamma", "exponential", "none"] = "gamma"
    value: float = GAMMA

    def linear(self, image: np.ndarray) -> np.ndarray:
        """Linear light of an image: 8- or 16-bit pixels (by table) or values in [0,1]."""
        if image.dtype in (np.uint8, np.uint16):
            full_scale = np.iinfo(image.dtype).max
            levels = np.arange(full_scale + 1, dtype=np.float32) / full_scale
            return self.linear(levels)[image]
        if self.kind == "gamma":
            return np.power(image, self.value, dtype=np.float32)
        if self.kind == "exponential":
            return np.float32(-np.log(1 - np.float64(image) + 1e-9) / self.value)
        return np.float32(image)

    def encoded(self, image_linear: np.ndarray, clip: bool = True) -> np.ndarray:
        """The inverse of `linear`.

        clip: to what the sensor and the file can hold; without it values above 1 survive, as in
        sharp images.
        """
        if self.kind == "exponential":  # response first, then the clip
            image = 1 - np.exp(-self.value * image_linear, dtype=np.float32)
            return image.clip(0, 1) if clip else image
        if clip:
            image_linear = image_linear.clip(0, 1)
        if self.kind == "none":
            return np.float32(image_linear)
        return np.power(np.maximum(image_linear, 0), 1 / self.value, dtype=np.float32)


STANDARD = Response()  # gamma 2.2
# Averaging in sRGB space, as GoPro's `blur` (Nah et al., CVPR 2017) and most sets of video frames
# are made.
NO_RESPONSE = Response("none")


def gamma_response(gamma: float) -> Response:
    """linear = s^gamma; 1 stands for no response."""
    if gamma == 1:
        return NO_RESPONSE
    return Response("gamma", gamma)


def saturation_mask(image_linear: np.ndarray, published: bool = False) -> np.ndarray:
    """How much of each pixel and channel [H,W,3] belongs to a clipped region, in [0,1].

    Where the light reaches full scale, closed by a 3x3 square, smoothed by a Gaussian of sigma 1.
    published: truncated to 1/255 steps.
    """
    full = np.where(image_linear >= 1, 255, 0).astype(np.uint8)
    closed = cv2.morphologyEx(full, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    smooth = np.float32(gaussian_filter(closed.astype(np.float64), sigma=(1, 1, 0), mode="nearest"))
    if published:
        smooth = np.trunc(smooth)
    return smooth / 255


def is_saturated(mask: np.ndarray, fraction: float = 0.001) -> bool:
    """Whether the non-zero entries of a saturation mask make at least a fraction of the pixels.

    Entries of all channels count.
    """
    return np.count_nonzero(mask) >= fraction * mask.shape[0] * mask.shape[1]


def add_streaks(
    image_linear: np.ndarray,
    rng: np.random.Generator,
    min_count: int = 10,
    max_count: int = 100,
    max_intensity: float = 2000 / 255,
    margin: int = 65,
) -> np.ndarray:
    """Small bright patches added to all channels, which blur will draw out to streaks of light.

    `min_count` .. `max_count` - 1 patches of half-height 0..3 and half-width 0..4 px (0 = nothing),
    one intensity U(0, max_intensity) each, centres at least `margin` px from the border; images too
    small for that stay as they are.
    """
    height, width = image_linear.shape[:2]
    if min(height, width) <= 2 * margin:
        return image_linear
    image_linear = image_linear.copy()
    for _ in range(int(rng.integers(min_count, max_count))):
        y = int(rng.integers(margin, height - margin))
        x = int(rng.integers(margin, width - margin))
        half_height = int(rng.integers(4))
        half_width = int(rng.integers(5))
        rows = slice(y - half_height, y + half_height)
        columns = slice(x - half_width, x + half_width)
        image_linear[rows, columns] += np.float32(rng.uniform(0, max_intensity))
    return image_linear


def add_noise(
    image_linear: np.ndarray,
    rng: np.random.Generator,
    kind: Literal["none", "poisson", "gaussian"],
    level: float,
) -> np.ndarray:
    """An image with sensor noise.

    poisson: photon counts with `level` photons at full scale; gaussian: standard deviation `level`
    times the signal.
    """
    if kind == "poisson":
        return np.float32(rng.poisson(np.maximum(image_linear, 0) * level) / level)
    if kind == "gaussian":
        noise = rng.standard_normal(image_linear.shape, np.float32)
        return image_linear + np.float32(level) * image_linear * noise
    return image_linear
