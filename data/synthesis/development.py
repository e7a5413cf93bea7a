"""A camera that develops light into a picture, with the noise of its sensor, and the way back.

light (linear sRGB) -> colours of the sensor -> shot and read noise in the Bayer mosaic,
interpolated -> white balance and colour matrix -> tone curve -> noise reduction, sharpening.

Source: unprocessing, Brooks et al., CVPR 2019 (arXiv 1811.11127), for matrices, gains and levels of
noise; RSBlur, Rim et al., ECCV 2022, for the order. Images are float32 [H,W,3].
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from data.synthesis.camera import Response

# CIE XYZ -> colours of four sensors, and linear sRGB -> XYZ (Brooks et al.).
SENSORS = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
SRGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
SHOT_NOISE = (1e-4, 0.012)  # variance at full scale, log-uniform
TABLE = np.linspace(0, 1, 4097)  # where tone curves are tabulated for their inverse
# Bilinear interpolation of a mosaic: of green, and of red and blue.
GREEN_KERNEL = np.float32([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
COLOUR_KERNEL = np.float32([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


@dataclass(frozen=True)
class ToneCurve:
    """encoded = (1 - contrast) v + contrast (3 v^2 - 2 v^3) of v = light^(1/gamma)."""

    gamma: float = 2.2
    contrast: float = 0.0

    def linear(self, image: np.ndarray) -> np.ndarray:
        """Light of an image: 8-bit pixels (by table) or values in [0,1]."""
        if image.dtype == np.uint8:
            return self.linear(np.arange(256, dtype=np.float32) / 255)[image]
        if self.contrast:
            image = np.interp(image, self._curve, TABLE)
        return np.power(image, self.gamma, dtype=np.float32)

    def encoded(self, light: np.ndarray) -> np.ndarray:
        """The inverse of `linear`, of light clipped to [0,1]."""
        value = np.power(light.clip(0, 1), 1 / self.gamma, dtype=np.float32)
        if not self.contrast:
            return value
        contrast = np.float32(self.contrast)
        return (1 - contrast) * value + contrast * value * value * (3 - 2 * value)

    @cached_property
    def _curve(self) -> np.ndarray:
        return self.encoded(np.float64(TABLE) ** self.gamma)


@dataclass(frozen=True)
class Camera:
    """How one camera sees and develops; by default it is its curve alone.

    curve: a tone curve, or the response of a camera without a sensor of its own. to_sensor [3,3]:
    linear sRGB to the sensor's colours; none: there is no sensor, and no noise. gains [3]: its
    white balance, at least 1. shot, read: variance of the noise at a signal s of full scale 1: shot
    * s + read. noise_reduction: 0 .. 1, fraction of the fine grain taken away. sharpening: amount
    of an unsharp mask of 1 px.
    """

    curve: ToneCurve | Response = ToneCurve()
    to_sensor: np.ndarray | None = None
    gains: np.ndarray = field(default_factory=lambda: np.ones(3, np.float32))
    shot: float = 0.0
    read: float = 0.0
    noise_reduction: float = 0.0
    sharpening: float = 0.0

    def light(self, image: np.ndarray) -> np.ndarray:
        """Linear sRGB of an image: 8-bit pixels, or values in [0,1]."""
        return self.curve.linear(image)

    def developed(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The picture in [0,1] of light, which may exceed 1."""
        if self.to_sensor is not None:
            light = self._through_sensor(light, rng)
        image = self.curve.encoded(light.clip(0))
        if self.noise_reduction:
            smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
            image = image + np.float32(self.noise_reduction) * _grain(smooth - image)
        if self.sharpening:
            detail = image - cv2.GaussianBlur(image, (0, 0), 1.0)
            image = image + np.float32(self.sharpening) * detail
        return image.clip(0, 1)

    def _through_sensor(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sensor = light @ np.float32(self.to_sensor.T) / np.float32(self.gains)
        if self.shot or self.read:
            sensor = sensor + mosaic_noise(sensor, rng, self.shot, self.read)
        from_sensor = np.linalg.inv(self.to_sensor)
        return (sensor.clip(max=1) * np.float32(self.gains)) @ np.float32(from_sensor.T)


def draw_camera(
    rng: np.random.Generator,
    sharpened: bool,
    denoised: bool,
    shot_noise: tuple[float, float] = SHOT_NOISE,
) -> Camera:
    """A random camera with a tone curve, colours, gains and noise of its own (Brooks et al.).

    Its noise follows the line between shot and read noise that real sensors keep.
    """
    weights = rng.random(len(SENSORS)) + 1e-8
    xyz_to_sensor = np.tensordot(weights / weights.sum(), SENSORS, 1)
    to_sensor = xyz_to_sensor @ SRGB_TO_XYZ
    to_sensor /= to_sensor.sum(1, keepdims=True)  # white stays white
    brightness = 1 / min(max(rng.normal(0.8, 0.1), 0.6), 1.0)
    gains = brightness * np.array([rng.uniform(1.9, 2.4), 1.0, rng.uniform(1.5, 1.9)])
    log_shot = rng.uniform(*np.log(shot_noise))
    log_read = 2.18 * log_shot + 1.20 + rng.normal(0, 0.26)
    return Camera(
        curve=ToneCurve(rng.uniform(1.9, 2.4), rng.uniform(0, 1)),
        to_sensor=to_sensor,
        gains=gains,
        shot=math.exp(log_shot),
        read=math.exp(log_read),
        noise_reduction=rng.uniform(0.3, 0.9) if denoised else 0.0,
        sharpening=rng.uniform(0.2, 1.0) if sharpened else 0.0,
    )


def mosaic_noise(
    sensor: np.ndarray, rng: np.random.Generator, shot: float, read: float
) -> np.ndarray:
    """Noise [H,W,3] that a Bayer mosaic (RGGB) leaves in an image after interpolation.

    A pixel has one colour of the mosaic, where the noise has the variance shot * signal + read; the
    other two are interpolated from its neighbours, so that the noise is correlated. Since
    interpolating is linear, the noise alone is interpolated: detail of the image is not lost.
    """
    height, width = sensor.shape[:2]
    colours = np.ones((height, width), np.intp)
    colours[::2, ::2] = 0
    colours[1::2, 1::2] = 2
    signal = np.take_along_axis(sensor, colours[..., None], 2)[..., 0]
    deviation = np.sqrt(np.maximum(shot * signal + read, 0))
    noise = deviation * rng.standard_normal((height, width), np.float32)
    planes = []
    for colour, kernel in enumerate((COLOUR_KERNEL, GREEN_KERNEL, COLOUR_KERNEL)):
        plane = np.where(colours == colour, noise, 0).astype(np.float32)
        # Reflection about a pixel keeps the mosaic's pattern.
        planes.append(cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_REFLECT_101))
    return np.stack(planes, -1)


def brightened_highlights(light: np.ndarray, factor: float, threshold: float = 0.9) -> np.ndarray:
    """Light whose highlights are `factor` times as bright as the picture could hold.

    From `threshold` to 1 of the brightest channel the factor rises from 1.
    """
    brightest = light.max(-1, keepdims=True)
    fraction = ((brightest - threshold) / (1 - threshold)).clip(0, 1)
    return light * (1 + np.float32(factor - 1) * fraction)


def _grain(difference: np.ndarray, threshold: float = 0.04) -> np.ndarray:
    """Small differences as they are, larger ones (edges) fading out."""
    return difference * np.exp(-((difference / threshold) ** 2))
