"""NAFNet: a U-Net of blocks without nonlinear activations (Chen, Chu, Zhang, Sun, ECCV 2022, arXiv
2204.04676).

Published for GoPro: width 32 (17,111,907 parameters, 32.87 dB) and 64 (67,888,835, 33.71 dB), the
latter tested with local statistics (TLC, Chu et al., ECCV 2022, arXiv 2112.04491). The shipped
narrow network works on 2x2 space-to-depth (`downscale`).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ChannelNorm, multiplied
from models.contracts import ImageNetwork
from models.convolution import PointwiseConv2d, unshuffled_convolution
from models.window_mean import times_windows, window_means

TRAINING_SIZE = 256  # side of the published training patches, px


class NAFNet(ImageNetwork):
    """The network; with the default arguments NAFNet-32.

    encoder, middle, decoder: blocks per level, from fine to coarse, at the bottom, from coarse to
    fine; each level has half the resolution and twice the channels. downscale: works on s x s
    space-to-depth of the image. training_size: side of the patches it was trained on, px, or
    whatever size shall decide the windows of `use_local_statistics`.
    """

    def __init__(
        self,
        width: int = 32,
        encoder: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: Sequence[int] = (1, 1, 1, 1),
        downscale: int = 1,
        training_size: int = TRAINING_SIZE,
    ):
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(f"an encoder of {len(encoder)} levels and a decoder of {len(decoder)}")
        self.multiple = downscale * 2 ** len(encoder)  # H and W are padded to multiples of this
        self.bytes_per_pixel = 700 + 45 * width // downscale**2
        self.width, self.downscale, self.training_size = width, downscale, training_size
        widths = [width * 2**level for level in range(len(encoder) + 1)]
        self.intro = nn.Conv2d(3 * downscale**2, width, 3, padding=1)
        self.encoders = nn.ModuleList(
            _blocks(channels, count) for channels, count in zip(widths, encoder)
        )
        self.downs = nn.ModuleList(
            nn.Conv2d(channels, 2 * channels, 2, 2) for channels in widths[:-1]
        )
        self.middle = _blocks(widths[-1], middle)
        self.ups = nn.ModuleList(
            nn.Sequential(PointwiseConv2d(channels, 2 * channels, bias=False), nn.PixelShuffle(2))
            for channels in widths[:0:-1]
        )
        self.decoders = nn.ModuleList(
            _blocks(channels, count) for channels, count in zip(widths[-2::-1], decoder)
        )
        self.ending = nn.Conv2d(width, 3 * downscale**2, 3, padding=1)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored image [B,3,H,W], not clamped, of blurry ones in [0,1] of any size (zero padding
        at the bottom and right).
        """
        height, width = blurry.shape[-2:]
        padded = F.pad(blurry, (0, -width % self.multiple, 0, -height % self.multiple))
        return (padded + self.correction(self._first_features(blurry, padded)))[
            ..., :height, :width
        ]

    def correction(self, features: Tensor) -> Tensor:
        """What is added to the image [B,3,H,W], of its first features [B,width,H/s,W/s]; sides are
        multiples of `self.multiple`.
        """
        skips = []
        for blocks, down in zip(self.encoders, self.downs):
            features = blocks(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for up, blocks in zip(self.ups, self.decoders):
            features = blocks(up(features) + skips.pop())
        return F.pixel_shuffle(self.ending(features), self.downscale)

    def state_from(self, other: nn.Module) -> dict[str, Tensor]:
        """See ImageNetwork; also of a NAFNet with fewer blocks at the bottom or a level less.

        What is new starts as if it were not there: the result is the same.
        """
        state = super().state_from(other)
        if not isinstance(other, NAFNet):
            return state
        own = self.state_dict()
        levels = len(self.encoders) - len(other.encoders)
        if levels == 1:
            state = {_one_level_deeper(key, len(other.encoders)): state[key] for key in state}
            own["ups.0.0.weight"] = torch.zeros_like(own["ups.0.0.weight"])
        if levels == 1 or levels == 0 and len(other.middle) < len(self.middle):
            return own | state
        return state

    def _first_features(self, blurry: Tensor, padded: Tensor) -> Tensor:
        """[B,width,h,w] of the padded images; `blurry` are the same without padding."""
        return unshuffled_convolution(padded, self.intro, self.downscale)

    def use_local_statistics(self, enabled: bool = True) -> "NAFNet":
        """Average channel attention over windows of 1.5 times the training size instead of the
        whole image (TLC); no weight changes.

        A network trained on patches meets other statistics on whole images; about 0.6 dB for
        NAFNet-64 on GoPro.
        """
        window = int(1.5 * self.training_size) // self.downscale
        levels = [
            *enumerate(self.encoders),
            (len(self.encoders), self.middle),
            *enumerate(reversed(self.decoders)),
        ]
        for level, blocks in levels:
            for block in blocks:
                block.window = window // 2**level if enabled else None
        return self


class NAFBlock(nn.Module):
    """norm, 1x1, depthwise 3x3, gate, channel attention, 1x1, + x; then norm, 1x1, gate, 1x1, +
    that; both sums start as x alone.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm1 = ChannelNorm(channels, 1e-6)
        self.conv1 = PointwiseConv2d(channels, 2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = PointwiseConv2d(channels, channels)
        self.conv3 = PointwiseConv2d(channels, channels)
        self.norm2 = ChannelNorm(channels, 1e-6)
        self.conv4 = PointwiseConv2d(channels, 2 * channels)
        self.conv5 = PointwiseConv2d(channels, channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.window: int | None = (
            None  # side of the averaging window, px of this level; None = the whole map
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        gated = _gate(self.conv2(self.conv1(self.norm1(features))))
        features = self.conv3.scaled_onto(features, self._attended(gated), self.beta)
        gated = _gate(self.conv4(self.norm2(features)))
        return self.conv5.scaled_onto(features, gated, self.gamma)

    def _attended(self, gated: Tensor) -> Tensor:
        """The map times the attention that its means, whole or local, give to each channel."""
        if self.window is None or self.window >= max(gated.shape[-2:]):
            return multiplied(gated, self.attention(gated.mean((2, 3), keepdim=True)))
        values = self.attention(window_means(gated, self.window))  # [B,C,n_h,n_w]
        return times_windows(gated, values, self.window)


def _one_level_deeper(key: str, level: int) -> str:
    """The name of an entry in a network with another level below its bottom, which is `level`."""
    part, _, rest = key.partition(".")
    if part == "middle":
        return f"encoders.{level}.{rest}"
    if part in ("ups", "decoders"):
        index, _, rest = rest.partition(".")
        return f"{part}.{int(index) + 1}.{rest}"
    return key


def _gate(features: Tensor) -> Tensor:
    first, second = features.chunk(2, 1)
    return first * second


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))


# The authors' keys -> ours; see models/published.py.
PUBLISHED_KEYS = [("middle_blks.", "middle."), ("*.sca.1.", ".attention.")]


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict."""

    def counts(part: str) -> list[int]:
        """The blocks of each level of `encoders` or `decoders`."""
        keys = [key for key in state if key.startswith(part + ".") and key.endswith(".beta")]
        levels = [int(key.split(".")[1]) for key in keys]
        return [levels.count(level) for level in range(max(levels) + 1)]

    middle = sum(key.startswith("middle_blks.") and key.endswith(".beta") for key in state)
    return {
        "width": len(state["intro.weight"]),
        "encoder": counts("encoders"),
        "middle": middle,
        "decoder": counts("decoders"),
    }


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"NAFNet-32": {"width": 32}, "NAFNet-64": {"width": 64}}
