"""Losses by name, one table for all methods: `--loss "1*L1+2*HEM"`."""

import re
from collections.abc import Collection

import torch
from torch import Tensor

from losses.pixel import (
    charbonnier,
    fft_l1,
    hard_example_mining,
    l1,
    mse,
    negative_psnr,
    random_pixels,
)
from utils.errors import UserError

LOSSES = {
    "L1": l1,
    "MSE": mse,
    "Charbonnier": charbonnier,
    "PSNR": negative_psnr,
    "FFT": fft_l1,
    "HEM": hard_example_mining,
}
# ADV is no function of two images: it trains a discriminator beside the network, see image_deblur.
ADVERSARIAL = "ADV"
RANDOM_FRACTION = 0.1  # of the pixels, which HEM adds to the hard ones


def weighted_sum(text: str, known: Collection[str]) -> dict[str, float]:
    """{"L1": 1.0, "HEM": 2.0} of "1*L1+2*HEM", the published way to write a loss; raises UserError
    for a name that is not known.
    """
    weights = {}
    for term in text.split("+"):
        parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\*(\w+)\s*", term)
        if parts is None or parts[2] not in known:
            raise UserError(
                f"can't read {term!r} in the loss {text!r}: write a sum of {', '.join(known)} "
                f"like 1*{next(iter(known))}"
            )
        weights[parts[2]] = float(parts[1])
    return weights


def weighted_losses(
    weights: dict[str, float],
    restored: Tensor,
    sharp: Tensor,
    generators: list[torch.Generator],
    psnr_floor: float = 1e-3,
) -> dict[str, Tensor]:
    """{name: weight * loss} of restored and sharp images [B,C,H,W], for the names of LOSSES.

    weights: as weighted_sum reads them. generators: one per sample, for HEM's random
    pixels. psnr_floor: see negative_psnr.
    """
    restored = restored.float()
    options: dict[str, dict] = {"PSNR": {"floor": psnr_floor}}
    if "HEM" in weights:
        options["HEM"] = {"random_mask": random_pixels(restored, RANDOM_FRACTION, generators)}
    losses = {}
    for name, weight in weights.items():
        if name in LOSSES:
            losses[name] = weight * LOSSES[name](restored, sharp, **options.get(name, {}))
    return losses
