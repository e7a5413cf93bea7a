"""Restormer: transformer blocks whose attention runs between channels.

Zamir et al., CVPR 2022, arXiv 2111.09881; equation numbers are theirs. The arithmetic is the
published one, with two steps left out that cost a pass over the whole image each and change
nothing: q and k are not normalised but their product is divided by their norms, and the attention
matrix is multiplied into the 1x1 convolution behind it.

Notation: levels 0 (full size) to 3 (1/8), where the encoder ends; [h,w] is the size of a level.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ChannelNorm, added, multiplied
from models.contracts import ImageNetwork
from utils.tiling import pad_to_multiple


class Restormer(ImageNetwork):
    """An encoder-decoder of transformer blocks that predicts a correction of the image.

    width: channels of the finest level. blocks: per level, from fine to coarse; the decoder has as
    many as the encoder. refinement: blocks behind the decoder. heads: per level. expansion: hidden
    width of the feed-forward layers over the channels, rounded down. With the default arguments it
    is the published network for motion deblurring (26,126,644 parameters).
    """

    def __init__(
        self,
        width: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.66,
    ):
        super().__init__()
        if len(blocks) != 4 or len(heads) != 4:
            raise ValueError(
                f"Restormer has four levels: {len(blocks)} numbers of blocks, {len(heads)} of heads"
            )
        self.multiple = 8
        self.bytes_per_pixel = 125 * width
        widths = [width * 2**level for level in range(4)]

        def stage(level: int, count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(
                *(TransformerBlock(channels, heads[level], expansion) for _ in range(count))
            )

        self.patch_embed = _convolution(3, width, 3)
        self.encoders = nn.ModuleList(
            stage(level, blocks[level], widths[level]) for level in range(4)
        )
        self.downs = nn.ModuleList(_down(channels) for channels in widths[:3])
        self.ups = nn.ModuleList(_up(channels) for channels in widths[:0:-1])
        self.reductions = nn.ModuleList(
            [
                _convolution(widths[3], widths[2], 1),
                _convolution(widths[2], widths[1], 1),
                nn.Identity(),  # the finest decoder level keeps both halves: 96 channels
            ]
        )
        decoder_widths = (widths[2], widths[1], widths[1])
        self.decoders = nn.ModuleList(
            stage(level, blocks[level], channels)
            for level, channels in zip((2, 1, 0), decoder_widths)
        )
        self.refinement = stage(0, refinement, widths[1])
        self.output = _convolution(widths[1], 3, 3)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored images [B,3,H,W] of blurry ones of any size, in [0,1]; not clamped.

        The image is padded by reflection at the bottom and right to multiples of 8.
        """
        padded = pad_to_multiple(blurry, self.multiple)
        features = self.patch_embed(padded)  # [B,width,H,W]
        skips = []
        for encoder, down in zip(self.encoders, self.downs):
            features = encoder(features)
            skips.append(features)
            features = down(features)  # [B,2C,h/2,w/2]
        features = self.encoders[3](features)
        for up, reduction, decoder in zip(self.ups, self.reductions, self.decoders):
            joined = torch.cat((up(features), skips.pop()), 1)  # [B,C,2h,2w]
            features = decoder(reduction(joined))
        restored = self.output(self.refinement(features)) + padded
        return restored[..., : blurry.shape[-2], : blurry.shape[-1]]


class TransformerBlock(nn.Module):
    """x + attention(norm x), then that + feed-forward(norm of it); [B,C,H,W] -> [B,C,H,W]."""

    def __init__(self, channels: int, heads: int, expansion: float):
        super().__init__()
        self.norm1 = ChannelNorm(channels, 1e-5)
        self.attention = ChannelAttention(channels, heads)
        self.norm2 = ChannelNorm(channels, 1e-5)
        self.feed_forward = FeedForward(channels, int(expansion * channels))

    def forward(self, features: Tensor) -> Tensor:
        features = added(self.attention(self.norm1(features)), features)
        return added(self.feed_forward(self.norm2(features)), features)


class ChannelAttention(nn.Module):
    """Multi-head attention between channels ("MDTA", eq. 1): [B,C,H,W] -> [B,C,H,W].

    Per head softmax(q k^T / (|q| |k|) * temperature) v, with rows of length H*W.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _convolution(channels, 3 * channels, 1)
        self.qkv_depthwise = _convolution(3 * channels, 3 * channels, 3, groups=3 * channels)
        self.output = _convolution(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        qkv = self.qkv_depthwise(self.qkv(features))  # [B,3C,H,W]
        query, key, value = qkv.chunk(3, 1)
        attention = self._attention(self._rows(query), self._rows(key))
        merged = self._merged_with_output(attention).to(value.dtype)  # [B,C,C]
        if qkv.is_contiguous(memory_format=torch.channels_last):
            pixels = value.flatten(2).transpose(1, 2) @ merged.transpose(1, 2)  # [B,H*W,C]
            return pixels.transpose(1, 2).unflatten(2, (height, width))
        return (merged @ value.flatten(2)).unflatten(2, (height, width))

    def _rows(self, features: Tensor) -> Tensor:
        """Channels as rows of their heads: [B,C,H,W] -> [B,heads,C/heads,H*W]."""
        return features.unflatten(1, (self.heads, -1)).flatten(3)

    def _attention(self, query: Tensor, key: Tensor) -> Tensor:
        """Attention matrices [B,heads,C/heads,C/heads] in float32 from rows."""
        if query.dtype == torch.float16:  # the product of long rows would overflow
            query = F.normalize(query, dim=-1)
            key = F.normalize(key, dim=-1)
        norms = _norm(query) * _norm(key).transpose(-2, -1)
        product = (query @ key.transpose(-2, -1)).float() / norms
        return (product * self.temperature).softmax(-1)

    def _merged_with_output(self, attention: Tensor) -> Tensor:
        """The matrix [B,C,C] of attention followed by the output convolution."""
        channels = len(self.output.weight)
        weight = self.output.weight.view(channels, self.heads, -1).movedim(1, 0)
        merged = weight @ attention  # [B,heads,C,C/heads]
        return merged.movedim(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Two branches, one of which gates the other ("GDFN", eq. 2): [B,C,H,W] -> [B,C,H,W].

    A branch is a 1x1 and a depthwise 3x3 convolution; the gate goes through GELU. hidden: channels
    of a branch.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.inward = _convolution(channels, 2 * hidden, 1)
        self.depthwise = _convolution(2 * hidden, 2 * hidden, 3, groups=2 * hidden)
        self.outward = _convolution(hidden, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        gate, value = self.depthwise(self.inward(features)).chunk(2, 1)  # [B,hidden,H,W]
        return self.outward(multiplied(F.gelu(gate), value))


def _norm(rows: Tensor) -> Tensor:
    """Lengths [...,1] of rows in float32; vector_norm is several times slower on the CPU."""
    squares = rows.square().sum(-1, keepdim=True, dtype=torch.float32)
    return squares.sqrt().clamp(min=1e-12)


def _down(channels: int) -> nn.Sequential:
    """[B,C,h,w] -> [B,2C,h/2,w/2]."""
    return nn.Sequential(_convolution(channels, channels // 2, 3), nn.PixelUnshuffle(2))


def _up(channels: int) -> nn.Sequential:
    """[B,C,h,w] -> [B,C/2,2h,2w]."""
    return nn.Sequential(_convolution(channels, 2 * channels, 3), nn.PixelShuffle(2))


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, groups: int = 1
) -> nn.Conv2d:
    padding = kernel_size // 2
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=False
    )


# The authors' keys -> ours; see models/published.py.
PUBLISHED_KEYS = [
    ("patch_embed.proj.", "patch_embed."),
    ("encoder_level1.", "encoders.0."),
    ("encoder_level2.", "encoders.1."),
    ("encoder_level3.", "encoders.2."),
    ("latent.", "encoders.3."),
    ("down1_2.body.", "downs.0."),
    ("down2_3.body.", "downs.1."),
    ("down3_4.body.", "downs.2."),
    ("up4_3.body.", "ups.0."),
    ("up3_2.body.", "ups.1."),
    ("up2_1.body.", "ups.2."),
    ("reduce_chan_level3.", "reductions.0."),
    ("reduce_chan_level2.", "reductions.1."),
    ("decoder_level3.", "decoders.0."),
    ("decoder_level2.", "decoders.1."),
    ("decoder_level1.", "decoders.2."),
    ("*.norm1.body.", ".norm1."),
    ("*.norm2.body.", ".norm2."),
    ("*.attn.qkv_dwconv.", ".attention.qkv_depthwise."),
    ("*.attn.project_out.", ".attention.output."),
    ("*.attn.", ".attention."),
    ("*.ffn.project_in.", ".feed_forward.inward."),
    ("*.ffn.project_out.", ".feed_forward.outward."),
    ("*.ffn.dwconv.", ".feed_forward.depthwise."),
]


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict."""
    blocks = []
    heads = []
    for level in ("encoder_level1", "encoder_level2", "encoder_level3", "latent"):
        temperatures = _temperatures(state, level)
        blocks.append(len(temperatures))
        heads.append(len(temperatures[0]) if temperatures else 1)
    return {
        "width": len(state["patch_embed.proj.weight"]),
        "blocks": blocks,
        "refinement": len(_temperatures(state, "refinement.")),
        "heads": heads,
    }


def _temperatures(state: dict[str, Tensor], prefix: str) -> list[Tensor]:
    """One [heads,1,1] per transformer block below a prefix."""
    return [
        value
        for key, value in state.items()
        if key.startswith(prefix) and key.endswith(".temperature")
    ]


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"Restormer": {}}
