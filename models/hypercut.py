"""HyperCUT: the order of frames as a side of a hyperplane (Pham et al., CVPR 2023).

A sequence and its reverse shall fall on different sides, nested pairs of one sequence on the same:
then the side defines the order of the sharp frames inside a blurry image, which is the same image
either way.
"""

import torch
from torch import Tensor, nn

from models.blocks import ResidualBlock
from models.contracts import NormalisedInput, Values
from utils.errors import UserError

PAIRS = ((0, 6), (1, 5), (2, 4))  # of seven frames: (1,7), (2,6), (3,5)
DOWNS = 5  # convolutions of stride 2
SLOPES = {"identity": None, "leaky_relu": 0.2}


class HyperCUT(NormalisedInput):
    """Scores of ordered pairs of frames: on which side of the hyperplane their vectors lie.

    width: channels of the first convolution; later ones have up to four times as many (with 32, a
    pair has a vector of 128 numbers).
    blocks: number of residual blocks.
    activation: behind the first six convolutions. `identity` is as the published program has it
    (LeakyReLU(True) is a slope of 1), `leaky_relu` has slope 0.2, which was meant.
    plane: the score is d . (w + b), the scalar b added to EVERY coefficient (`through_origin`,
    published), or d . w + b (`affine`, meant). The plane is drawn from U(-1, 1) and never trained.
    values: what the network sees, see NormalisedInput.
    With the default arguments 2,315,552 parameters.
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
        for in_channels, out_channels in zip(widths, widths[1:]):
            layers.append(nn.Conv2d(in_channels, out_channels, 3, 2, 1))
        self.downs = nn.ModuleList(layers)
        self.activation = nn.Identity() if slope is None else nn.LeakyReLU(slope)
        self.blocks = nn.Sequential(
            *(ResidualBlock(widths[-1], padding_mode="reflect") for _ in range(blocks))
        )
        self.register_buffer("hyperplane", torch.rand(widths[-1] + 1) * 2 - 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Scores [B,6] of sequences [B,7,3,H,W] of `values`: pair 1, pair 1 reversed, pair 2, ...

        The pairs are PAIRS. Raises UserError for sides of less than 33 px.
        """
        pairs = []
        for first, last in PAIRS:
            pairs.append(frames[:, [first, last]])
            pairs.append(frames[:, [last, first]])
        stacked = torch.stack(pairs, 1)  # [B,6,2,3,H,W]
        vectors = self.vectors(stacked.flatten(2, 3).flatten(0, 1))  # [B*6,4*width]
        return self.scores(vectors).view(-1, 2 * len(PAIRS))

    def vectors(self, pair: Tensor) -> Tensor:
        """Vectors [B,4*width] of pairs of frames [B,6,H,W], the first frame's channels first."""
        if min(pair.shape[-2:]) <= 2**DOWNS:
            raise UserError(
                f"frames of {pair.shape[-1]}x{pair.shape[-2]} px: HyperCUT needs more than "
                f"{2**DOWNS} px on each side"
            )
        for down in self.downs:
            pair = self.activation(down(pair))
        return self.blocks(pair).mean((-2, -1))

    def scores(self, vectors: Tensor) -> Tensor:
        """Scores [B] of vectors [B,4*width]; their signs are the sides."""
        normal = self.hyperplane[:-1]
        bias = self.hyperplane[-1]
        if self.plane == "through_origin":
            return vectors @ (normal + bias)
        return vectors @ normal + bias


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict."""
    blocks = {key.split(".")[2] for key in state if ".conv_block.1.weight" in key}
    return {"width": len(state["f_func.model.1.weight"]), "blocks": len(blocks)}


def _published_keys() -> list[tuple[str, str]]:
    keys = [(f"f_func.model.{1 + 2 * index}.", f"downs.{index}.") for index in range(DOWNS + 1)]
    for index in range(12):
        block = f"f_func.model.{13 + index}.conv_block"
        keys.append((f"{block}.1.", f"blocks.{index}.conv1."))
        keys.append((f"{block}.4.", f"blocks.{index}.conv2."))
    keys.append(("hyperplane.hyperplane", "hyperplane"))
    return keys


# The authors' keys -> ours; see models/published.py. The published network has six blocks; a larger
# one is understood up to twelve.
PUBLISHED_KEYS = _published_keys()
