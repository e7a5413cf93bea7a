"""A blurry and a sharp photo from one sharp photo, its objects and a blur kernel for each.

Source: SBDD, arXiv 2209.12675. Order: linear light, illumination, saturation, light streaks;
background and objects blurred and blended; noise; the camera's response; the sharp image cut to the
valid region.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from data.synthesis.blend import blend_arrays
from data.synthesis.camera import (
    STANDARD,
    Response,
    add_noise,
    add_streaks,
    is_saturated,
    saturation_mask,
)
from utils.rounding import array_to_8bit


@dataclass(frozen=True)
class PairSettings:
    """How a pair is made.

    illumination: factors U(1, illumination) for the light of the whole picture, 1 = none (published
    3). streaks: probability of light streaks. saturation: highlights get up to `saturation` times
    more light (published 4), 0 = off; in the sharp image, or in the blurred one. noise_level: see
    add_noise. published: with the defects of the published program, for comparison: the saturation
    mask is truncated to integers, and gamma 2.2 comes on top of the exponential response.
    """

    response: Response = STANDARD
    illumination: float = 1.0
    streaks: float = 0.0
    fewest_streaks: int = 10
    max_streaks: int = 100
    brightest_streak: float = 2000 / 255
    saturation: float = 0.0
    saturation_in: Literal["sharp", "blurry"] = "sharp"
    noise: Literal["none", "poisson", "gaussian"] = "none"
    noise_level: float = 0.0
    published: bool = False


class Pair(NamedTuple):
    """A blurry and a sharp image of one scene.

    blurry [h,w,3] in [0,1]; sharp [h,w,3], which may exceed 1; weights [N+1,h,w] of background and
    objects.
    """

    blurry: np.ndarray
    sharp: np.ndarray
    weights: np.ndarray


def make_pair(
    picture: np.ndarray,
    masks: np.ndarray,
    kernels: np.ndarray,
    rng: np.random.Generator,
    settings: PairSettings = PairSettings(),
) -> Pair:
    """A pair from a picture [H,W,3] (8-bit, or [0,1]), masks [N,H,W] and kernels [N+1,K,K].

    h, w = H - K + 1, W - K + 1.
    """
    response = settings.response
    sharp_linear = response.linear(picture)  # [H,W,3]
    if settings.illumination > 1:  # the same as V of HSV times the factor
        sharp_linear = sharp_linear * np.float32(rng.uniform(1, settings.illumination))
    highlights = None
    if settings.saturation:
        highlights = saturation_mask(sharp_linear, settings.published)
    if settings.streaks and rng.random() < settings.streaks:
        sharp_linear = add_streaks(
            sharp_linear,
            rng,
            settings.fewest_streaks,
            settings.max_streaks,
            settings.brightest_streak,
        )
    boost = np.float32(0)
    if highlights is not None and is_saturated(highlights):
        boost = np.float32(rng.uniform(0, settings.saturation))
    if boost and settings.saturation_in == "sharp":
        sharp_linear = np.where(highlights >= 1, sharp_linear * (1 + boost), sharp_linear)
    blurred_linear, weights = blend_arrays(sharp_linear, kernels, masks)  # [h,w,3], [N+1,h,w]
    blurred_linear = add_noise(blurred_linear, rng, settings.noise, settings.noise_level)
    if boost and settings.saturation_in == "blurry":
        blurred_highlights, _ = blend_arrays(highlights, kernels, masks)
        blurred_linear = blurred_linear + boost * blurred_highlights
    margin = kernels.shape[-1] // 2
    height, width = picture.shape[:2]
    sharp_linear = sharp_linear[margin : height - margin, margin : width - margin]  # [h,w,3]
    blurry = response.encoded(blurred_linear)
    sharp = response.encoded(sharp_linear, clip=False)
    if settings.published and response.kind == "exponential":
        with np.errstate(invalid="ignore"):
            blurry = blurry ** np.float32(1 / 2.2)
            sharp = sharp ** np.float32(1 / 2.2)
    return Pair(blurry, sharp, weights)


def to_file(image: np.ndarray, published: bool = False) -> np.ndarray:
    """8-bit pixels; rounded, or truncated as in the published program."""
    if published:
        return (image.clip(0, 1) * 255 + 1e-4).astype(np.uint8)
    return array_to_8bit(image)
