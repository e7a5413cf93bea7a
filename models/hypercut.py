"""HyperCUT: on which side of a fixed hyperplane does an ordered pair of frames lie? (Pham et al.,
CVPR 2023)

A sequence and its reverse shall fall on different sides, nested pairs of one sequence on the same:
then the side defines the order of the moments inside a blurry photo, which is the same picture
either way.
"""

import torch
from torch import Tensor, nn

from models.blocks import ResidualBlock, SequenceNetwork, Values
from utils.errors import UserError

PAIRS = ((0, 6), (1, 5), (2, 4))  # of seven frames: (1,7), (2,6), (3,5)
DOWNS = 5
SLOPES = {"identity": None, "leaky_relu": 0.2}


class HyperCUT(SequenceNetwork):
    """Vectors of ordered pairs of frames, and their scores: on which side of the hyperplane they
    lie.

    width: channels of the first convolution, at most four times as many later (128 numbers per pair
    with 32). activation: `identity` behind the first six convolutions, as the published program has
    it (LeakyReLU(True) is a slope of 1), or `leaky_relu` of slope 0.2, which was meant. plane: the
    score is d . (w + b) with the scalar b added to EVERY coefficient (`through_origin`, published),
    or d . w + b (`affine`, meant). The plane is drawn from U(-1, 1) and never trained. With the
    default arguments 2,315,552 parameters.
    """

    kind = "HyperCUT network, which judges the order of frames"

    def __init__(
        self,
        width: int = 32,
        blocks: int = 6,
        activation: str = "identity",
        plane: str = "through_origin",
        values: Values = "imagenet_bgr",
    ):
        super().__init__(values)
        if activation not in SLOPES or plane not in ("through_origin", "affine"):
            raise ValueError(
                f"activation {activation!r} and plane {plane!r}: identity or leaky_relu, "
                "through_origin or affine"
            )
        self.plane = plane
        slope = SLOPES[activation]
        widths = [width * min(2**level, 4) for level in range(DOWNS + 1)]
        layers: list[nn.Module] = [nn.Conv2d(6, width, 7, padding=3, padding_mode="reflect")]
        layers += [nn.Conv2d(before, after, 3, 2, 1) for before, after in zip(widths, widths[1:])]
        self.downs = nn.ModuleList(layers)
        self.activation = nn.Identity() if slope is None else nn.LeakyReLU(slope)
        self.blocks = nn.Sequential(
            *(ResidualBlock(widths[-1], padding_mode="reflect") for _ in range(blocks))
        )
        self.register_buffer("hyperplane", torch.rand(widths[-1] + 1) * 2 - 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Scores [B,6] of sequences [B,7,3,H,W] of `values`: pair 1, pair 1 reversed, pair 2, ...
        (see PAIRS). Sides of at least 33 px.
        """
        pairs = [
            frames[:, order] for first, last in PAIRS for order in ([first, last], [last, first])
        ]
        both = torch.stack(pairs, 1)  # [B,6,2,3,H,W]
        return self.scores(self.vectors(both.flatten(2, 3).flatten(0, 1))).view(-1, 2 * len(PAIRS))

    def vectors(self, pair: Tensor) -> Tensor:
        """Vectors [B,4*width] of pairs of frames [B,6,H,W], one frame's channels after the
        other's.
        """
        if min(pair.shape[-2:]) <= 2**DOWNS:
            raise UserError(
                f"frames of {pair.shape[-1]}x{pair.shape[-2]} px: HyperCUT needs more than "
                f"{2**DOWNS} px on each side"
            )
        for down in self.downs:
            pair = self.activation(down(pair))
        return self.blocks(pair).mean((-2, -1))

    def scores(self, vectors: Tensor) -> Tensor:
        """Scores [B] of vectors [B,D]; their signs are the sides."""
        normal, bias = self.hyperplane[:-1], self.hyperplane[-1]
        return (
            vectors @ (normal + bias) if self.plane == "through_origin" else vectors @ normal + bias
        )


def published_arguments(state: dict[str, Tensor]) -> dict:
    """The width is the number of channels of the first convolution."""
    blocks = {key.split(".")[2] for key in state if ".conv_block.1.weight" in key}
    return {"width": len(state["f_func.model.1.weight"]), "blocks": len(blocks)}


PUBLISHED_KEYS = [
    *((f"f_func.model.{1 + 2 * place}.", f"downs.{place}.") for place in range(DOWNS + 1)),
    *(
        (f"f_func.model.{place}.conv_block.{theirs}.", f"blocks.{place - 13}.conv{ours}.")
        for place in range(13, 25)
        for theirs, ours in ((1, 1), (4, 2))
    ),
    ("hyperplane.hyperplane", "hyperplane"),
]
