"""A blurry and a sharp photo from one sharp photo, its objects and a blur kernel for each (SBDD,
arXiv 2209.12675).

Order: linear light, illumination, saturation, light streaks; background and objects blurred and
blended; noise; the camera's response; the sharp image cut to the valid region.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from data.synthesis.blend import blend
from data.synthesis.camera import (
    STANDARD,
    Response,
    add_noise,
    add_streaks,
    is_saturated,
    saturation_mask,
)


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
    """blurry [h,w,3] in [0,1]; sharp [h,w,3], which may exceed 1; weights [N+1,h,w] of background
    and objects.
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
    """A pair from a picture [H,W,3] (8-bit, or [0,1]), masks [N,H,W] and kernels [N+1,K,K]; h, w =
    H - K + 1, W - K + 1.
    """
    sharp = settings.response.linear(picture)
    if settings.illumination > 1:  # the same as V of HSV times the factor
        sharp = sharp * np.float32(rng.uniform(1, settings.illumination))
    highlights = saturation_mask(sharp, settings.published) if settings.saturation else None
    if highlights is not None and not is_saturated(highlights):
        highlights = None
    if settings.streaks and rng.random() < settings.streaks:
        sharp = add_streaks(
            sharp, rng, settings.fewest_streaks, settings.max_streaks, settings.brightest_streak
        )
    boost = (
        np.float32(rng.uniform(0, settings.saturation)) if highlights is not None else np.float32(0)
    )
    if boost and settings.saturation_in == "sharp":
        sharp = np.where(highlights >= 1, sharp * (1 + boost), sharp)
    blurred, weights = _blended(sharp, masks, kernels)
    blurred = add_noise(blurred, rng, settings.noise, settings.noise_level)
    if boost and settings.saturation_in == "blurry":
        blurred = blurred + boost * _blended(highlights, masks, kernels)[0]
    margin = kernels.shape[-1] // 2
    sharp = sharp[margin : sharp.shape[0] - margin, margin : sharp.shape[1] - margin]
    blurry, sharp = settings.response.encoded(blurred), settings.response.encoded(sharp, clip=False)
    if settings.published and settings.response.kind == "exponential":
        with np.errstate(invalid="ignore"):
            blurry, sharp = blurry ** np.float32(1 / 2.2), sharp ** np.float32(1 / 2.2)
    return Pair(blurry, sharp, weights)


def to_file(image: np.ndarray, published: bool = False) -> np.ndarray:
    """8-bit pixels; rounded, or truncated as in the published program."""
    pixels = image.clip(0, 1) * 255
    return (pixels + 1e-4 if published else np.round(pixels)).astype(np.uint8)


def _blended(
    image_linear: np.ndarray, masks: np.ndarray, kernels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        planes = torch.from_numpy(np.ascontiguousarray(image_linear.transpose(2, 0, 1)))
        blurred, weights = blend(
            planes, torch.from_numpy(np.float32(kernels)), torch.from_numpy(np.float32(masks))
        )
    return blurred.permute(1, 2, 0).numpy(), weights.numpy()
