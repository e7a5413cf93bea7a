"""Restormer: an encoder-decoder of transformer blocks whose attention runs between channels (Zamir
et al., CVPR 2022, arXiv 2111.09881).

The arithmetic is the published one, with two steps left out that cost a pass over the whole image
each and change nothing: q and k are not normalised but their product is divided by their norms, and
the attention matrix is multiplied into the 1x1 convolution behind it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ChannelNorm, ImageNetwork, added, multiplied
from utils.tiling import pad_to_multiple


class Restormer(ImageNetwork):
    """The network; with the default arguments the published one for motion deblurring (26,126,644
    parameters).

    blocks: per level of the encoder, from fine to coarse (the last is the bottom); the decoder has
    as many. heads: per level. expansion: of the feed-forward layers' hidden width, rounded down.
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
        self.multiple, self.bytes_per_pixel = 8, 125 * width
        widths = [width * 2**level for level in range(4)]

        def level(place: int, count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(
                *(TransformerBlock(channels, heads[place], expansion) for _ in range(count))
            )

        self.patch_embed = _convolution(3, width, 3)
        self.encoders = nn.ModuleList(
            level(place, blocks[place], widths[place]) for place in range(4)
        )
        self.downs = nn.ModuleList(
            nn.Sequential(_convolution(channels, channels // 2, 3), nn.PixelUnshuffle(2))
            for channels in widths[:3]
        )
        self.ups = nn.ModuleList(
            nn.Sequential(_convolution(channels, 2 * channels, 3), nn.PixelShuffle(2))
            for channels in widths[:0:-1]
        )
        self.reductions = nn.ModuleList(
            [
                _convolution(widths[3], widths[2], 1),
                _convolution(widths[2], widths[1], 1),
                nn.Identity(),
            ]
        )
        wide = (
            widths[2],
            widths[1],
            widths[1],
        )  # the finest decoder level keeps both halves: 96 channels
        self.decoders = nn.ModuleList(
            level(place, blocks[place], channels) for place, channels in zip((2, 1, 0), wide)
        )
        self.refinement = level(0, refinement, widths[1])
        self.output = _convolution(widths[1], 3, 3)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored image [B,3,H,W] of blurry ones of any size (padded by reflection at the bottom
        and right to multiples of 8).
        """
        padded = pad_to_multiple(blurry, self.multiple)
        features, skips = self.patch_embed(padded), []
        for encoder, down in zip(self.encoders, self.downs):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.encoders[3](features)
        for up, reduction, decoder in zip(self.ups, self.reductions, self.decoders):
            features = decoder(reduction(torch.cat((up(features), skips.pop()), 1)))
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
    """Multi-head attention between channels: per head softmax(q k^T / (|q| |k|) * temperature) v,
    rows of length H*W ("MDTA").
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _convolution(channels, 3 * channels, 1)
        self.qkv_depthwise = _convolution(3 * channels, 3 * channels, 3, groups=3 * channels)
        self.output = _convolution(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        qkv = self.qkv_depthwise(self.qkv(features))
        query, key, value = qkv.chunk(3, 1)
        query, key = (
            part.unflatten(1, (self.heads, -1)).flatten(3) for part in (query, key)
        )  # [B,heads,C/heads,H*W]
        if query.dtype == torch.float16:  # the product of long rows would overflow
            query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        # vector_norm is several times slower on the CPU
        norms = [
            part.square().sum(-1, keepdim=True, dtype=torch.float32).sqrt().clamp(min=1e-12)
            for part in (query, key)
        ]
        product = (query @ key.transpose(-2, -1)).float() / (norms[0] * norms[1].transpose(-2, -1))
        attention = (product * self.temperature).softmax(-1)  # [B,heads,C/heads,C/heads]
        joined = (
            self.output.weight.view(channels, self.heads, -1).movedim(1, 0) @ attention
        )  # [B,heads,C,C/heads]
        joined = (
            joined.movedim(1, 2).flatten(2).to(value.dtype)
        )  # [B,C,C]: attention, then the output convolution
        if qkv.is_contiguous(memory_format=torch.channels_last):
            rows = value.flatten(2).transpose(1, 2) @ joined.transpose(1, 2)  # [B,H*W,C]
            return rows.transpose(1, 2).unflatten(2, (height, width))
        return (joined @ value.flatten(2)).unflatten(2, (height, width))


class FeedForward(nn.Module):
    """Two branches, each 1x1 and depthwise 3x3; one gates the other through GELU ("GDFN"). hidden:
    width of a branch.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.inward = _convolution(channels, 2 * hidden, 1)
        self.depthwise = _convolution(2 * hidden, 2 * hidden, 3, groups=2 * hidden)
        self.outward = _convolution(hidden, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        gate, value = self.depthwise(self.inward(features)).chunk(2, 1)
        return self.outward(multiplied(F.gelu(gate), value))


def _convolution(before: int, after: int, kernel_size: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        before, after, kernel_size, padding=kernel_size // 2, groups=groups, bias=False
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
    width = len(state["patch_embed.proj.weight"])
    levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    blocks, heads = [], []
    for level in levels:
        temperatures = [
            value
            for key, value in state.items()
            if key.startswith(level) and key.endswith(".temperature")
        ]
        blocks.append(len(temperatures))
        heads.append(len(temperatures[0]) if temperatures else 1)
    refinement = sum(
        key.startswith("refinement.") and key.endswith(".temperature") for key in state
    )
    return {"width": width, "blocks": blocks, "refinement": refinement, "heads": heads}


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"Restormer": {}}
