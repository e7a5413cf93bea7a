"""NAFNet that also sees how good an image will be after restoration, part by part: the third use of
IRP (Zhang et al., CVPR 2022).

A frozen IRP network judges the image; two small convolutions turn its map and its score into a
scale and a shift per channel (FiLM, Perez et al., AAAI 2018) of NAFNet's first features. Both start
at zero, so that an untrained condition changes nothing.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.irp import IRP, LABEL, MIDDLE, brighten
from models.nafnet import TRAINING_SIZE, NAFNet
from utils.tiling import pad_to_multiple

HIDDEN = 16  # channels between the two convolutions
SPREAD = 0.2  # of potentials around the MIDDLE, which the convolutions see centred


class GuidedNAFNet(NAFNet):
    """The network; `irp` are the arguments of the IRP network inside, the others NAFNet's."""

    def __init__(
        self,
        irp: dict | None = None,
        width: int = 32,
        encoder: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: Sequence[int] = (1, 1, 1, 1),
        downscale: int = 1,
        training_size: int = TRAINING_SIZE,
    ):
        super().__init__(width, encoder, middle, decoder, downscale, training_size)
        self.multiple = math.lcm(self.multiple, IRP.stride)  # tiles then lie on the map's grid
        self.judge = IRP(**(irp or {})).requires_grad_(False).eval()
        self.guide = nn.Sequential(
            nn.Conv2d(2, HIDDEN, 3, padding=1), nn.ReLU(), nn.Conv2d(HIDDEN, 2 * width, 1)
        )
        nn.init.zeros_(self.guide[-1].weight)
        nn.init.zeros_(self.guide[-1].bias)

    def state_from(self, other: nn.Module) -> dict[str, Tensor]:
        """See ImageNetwork; a plain NAFNet starts a guided one, too."""
        return self.state_dict() | super().state_from(other)

    def train(self, mode: bool = True) -> "GuidedNAFNet":
        """As of any module, but the judge stays as it is."""
        super().train(mode)
        self.judge.eval()
        return self

    def condition(self, blurry: Tensor) -> Tensor:
        """[B,2,H/32,W/32], sides rounded up to multiples of the network's: IRP's map, and its score
        everywhere; about -1 ... 1.
        """
        seen = pad_to_multiple(blurry, self.multiple)
        with torch.no_grad():
            score, potential = self.judge.score_and_map(seen, brighten(seen))
        values = torch.stack((potential, score[:, None, None].expand_as(potential)), 1) / LABEL
        return ((values - MIDDLE) / SPREAD).clamp(-4, 4)

    def _first_features(self, blurry: Tensor, padded: Tensor) -> Tensor:
        features = super()._first_features(blurry, padded)
        film = F.interpolate(
            self.guide(self.condition(blurry)), size=features.shape[-2:], mode="bilinear"
        )
        scale, shift = film.chunk(2, 1)
        return features * (1 + scale) + shift
