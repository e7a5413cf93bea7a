"""MIMO-UNet and MIMO-UNet+: one U-Net that takes and gives three scales (Cho et al., ICCV 2021,
arXiv 2108.05054).

Scales are named 0 (full), 1 (half), 2 (quarter). Images and features are reduced by taking every
second pixel and enlarged by repeating pixels, as published.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ImageNetwork, ResidualBlock
from utils.tiling import pad_to_multiple


class MIMOUNet(ImageNetwork):
    """blocks: residual blocks per stage, 20 for MIMO-UNet+ (16,107,651 parameters, 32.45 dB), 8 for
    MIMO-UNet (6,807,171, 31.73 dB).

    dropout: share of the channels of the fused features that is dropped in training; published 0.1
    for MIMO-UNet+, 0 for MIMO-UNet.
    """

    def __init__(self, width: int = 32, blocks: int = 20, dropout: float | None = None):
        super().__init__()
        self.multiple, self.bytes_per_pixel, self.blocks = 4, 80 * width, blocks
        self.dropout = (0.1 if blocks > 8 else 0.0) if dropout is None else dropout
        w0, w1, w2 = width, 2 * width, 4 * width
        self.first = _convolution(3, w0)
        self.downs = nn.ModuleList([_convolution(w0, w1, stride=2), _convolution(w1, w2, stride=2)])
        self.shallow = nn.ModuleList([ShallowFeatures(w1), ShallowFeatures(w2)])
        self.merges = nn.ModuleList(
            [_convolution(w1, w1), _convolution(w2, w2)]
        )  # of the feature attention modules
        self.encoders = nn.ModuleList(_stage(channels, blocks) for channels in (w0, w1, w2))
        self.fusions = nn.ModuleList(_fusion(w0 + w1 + w2, channels) for channels in (w0, w1))
        self.ups = nn.ModuleList(
            [nn.ConvTranspose2d(w1, w0, 4, 2, 1), nn.ConvTranspose2d(w2, w1, 4, 2, 1)]
        )
        self.joins = nn.ModuleList([_convolution(2 * w0, w0, 1), _convolution(2 * w1, w1, 1)])
        self.decoders = nn.ModuleList(_stage(channels, blocks) for channels in (w0, w1, w2))
        self.outputs = nn.ModuleList(_convolution(channels, 3) for channels in (w0, w1, w2))

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored image [B,3,H,W] of blurry ones of any size (padded by reflection at the bottom
        and right to multiples of 4).
        """
        height, width = blurry.shape[-2:]
        return self.forward_scales(pad_to_multiple(blurry, self.multiple))[-1][..., :height, :width]

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """Results [B,3,H/4,W/4], [B,3,H/2,W/2], [B,3,H,W]; H and W multiples of 4."""
        images = [blurry, blurry[..., ::2, ::2], blurry[..., ::4, ::4]]
        e0 = self.encoders[0](F.relu(self.first(blurry)))
        e1 = self.encoders[1](self._attend(0, F.relu(self.downs[0](e0)), images[1]))
        e2 = self.encoders[2](self._attend(1, F.relu(self.downs[1](e1)), images[2]))
        a1 = self.fusions[1](torch.cat((e0[..., ::2, ::2], e1, _enlarged(e2, 2)), 1))
        a0 = self.fusions[0](torch.cat((e0, _enlarged(e1, 2), _enlarged(e2, 4)), 1))
        a0, a1 = (F.dropout2d(features, self.dropout, self.training) for features in (a0, a1))
        d2 = self.decoders[2](e2)
        d1 = self.decoders[1](F.relu(self.joins[1](torch.cat((F.relu(self.ups[1](d2)), a1), 1))))
        d0 = self.decoders[0](F.relu(self.joins[0](torch.cat((F.relu(self.ups[0](d1)), a0), 1))))
        return [
            self.outputs[scale](features) + images[scale]
            for scale, features in ((2, d2), (1, d1), (0, d0))
        ]

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """Sharp images [B,3,H,W] at a quarter, a half and the full size; bilinear, without a filter
        against aliasing, as published.
        """
        return [
            F.interpolate(sharp, scale_factor=factor, mode="bilinear") for factor in (0.25, 0.5)
        ] + [sharp]

    def _attend(self, place: int, features: Tensor, image: Tensor) -> Tensor:
        """Feature attention: the features plus what they and the reduced image's shallow features
        have in common.
        """
        return features + self.merges[place](features * self.shallow[place](image))


class ShallowFeatures(nn.Module):
    """Features [B,C,H,W] of a reduced image [B,3,H,W], the image among them."""

    def __init__(self, channels: int):
        super().__init__()
        widths = (3, channels // 4, channels // 2, channels // 2, channels - 3)
        self.layers = nn.ModuleList(
            _convolution(*pair, size) for *pair, size in zip(widths, widths[1:], (3, 1, 3, 1))
        )
        self.last = _convolution(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = image
        for layer in self.layers:
            features = F.relu(layer(features))
        return self.last(torch.cat((image, features), 1))


def _stage(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))


def _fusion(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(before, after, 1), nn.ReLU(inplace=True), _convolution(after, after)
    )


def _convolution(before: int, after: int, kernel_size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel_size, stride, kernel_size // 2)


def _enlarged(features: Tensor, factor: int) -> Tensor:
    return F.interpolate(features, scale_factor=factor, mode="nearest")


# The authors' keys -> ours; see models/published.py. Their 1 is the coarse scale in FAM and SCM,
# the fine one in AFFs.
PUBLISHED_KEYS = [
    *((f"Encoder.{scale}.layers.", f"encoders.{scale}.") for scale in range(3)),
    *((f"Decoder.{2 - scale}.layers.", f"decoders.{scale}.") for scale in range(3)),
    ("feat_extract.0.", "first."),
    ("feat_extract.1.", "downs.0."),
    ("feat_extract.2.", "downs.1."),
    ("feat_extract.3.", "ups.1."),
    ("feat_extract.4.", "ups.0."),
    ("feat_extract.5.", "outputs.0."),
    ("ConvsOut.0.", "outputs.2."),
    ("ConvsOut.1.", "outputs.1."),
    ("Convs.0.", "joins.1."),
    ("Convs.1.", "joins.0."),
    ("AFFs.0.conv.0.", "fusions.0.0."),
    ("AFFs.0.conv.1.", "fusions.0.2."),
    ("AFFs.1.conv.0.", "fusions.1.0."),
    ("AFFs.1.conv.1.", "fusions.1.2."),
    ("FAM1.merge.", "merges.1."),
    ("FAM2.merge.", "merges.0."),
    ("SCM1.main.", "shallow.1.layers."),
    ("SCM2.main.", "shallow.0.layers."),
    ("SCM1.conv.", "shallow.1.last."),
    ("SCM2.conv.", "shallow.0.last."),
    ("*.main.0.main.0.", ".conv1."),
    ("*.main.1.main.0.", ".conv2."),
    ("*.main.0.", "."),
]


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict."""
    blocks = sum(
        key.startswith("Encoder.0.layers.") and key.endswith(".main.0.main.0.weight")
        for key in state
    )
    return {"width": len(state["feat_extract.0.main.0.weight"]), "blocks": blocks}


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"MIMO-UNet": {"blocks": 8}, "MIMO-UNet+": {"blocks": 20}}
