"""MIMO-UNet and MIMO-UNet+: one U-Net that takes and gives three scales.

Cho et al., ICCV 2021, arXiv 2108.05054; SCM, FAM and AFF are its modules' names there. Scales are
named 0 (full), 1 (half), 2 (quarter). Images and features are reduced by taking every second pixel
and enlarged by repeating pixels, as published.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ResidualBlock
from models.contracts import ImageNetwork
from utils.tiling import pad_to_multiple


class MIMOUNet(ImageNetwork):
    """A U-Net that predicts a correction of the image at three scales.

    width: channels of the full scale. blocks: residual blocks per stage, 20 for MIMO-UNet+
    (16,107,651 parameters, 32.45 dB), 8 for MIMO-UNet (6,807,171, 31.73 dB). dropout: fraction of
    the channels of the fused features that is dropped in training; published 0.1 for MIMO-UNet+, 0
    for MIMO-UNet; None chooses between these by `blocks`.
    """

    def __init__(self, width: int = 32, blocks: int = 20, dropout: float | None = None):
        super().__init__()
        if dropout is None:
            dropout = 0.1 if blocks > 8 else 0.0
        self.multiple = 4
        self.bytes_per_pixel = 80 * width
        self.blocks = blocks
        self.dropout = dropout
        w0, w1, w2 = width, 2 * width, 4 * width
        self.first = _convolution(3, w0)
        self.downs = nn.ModuleList([_convolution(w0, w1, stride=2), _convolution(w1, w2, stride=2)])
        self.shallow = nn.ModuleList([ShallowFeatures(w1), ShallowFeatures(w2)])  # SCM
        self.merges = nn.ModuleList([_convolution(w1, w1), _convolution(w2, w2)])  # FAM
        self.encoders = nn.ModuleList(_stage(channels, blocks) for channels in (w0, w1, w2))
        self.fusions = nn.ModuleList(_fusion(w0 + w1 + w2, channels) for channels in (w0, w1))
        self.ups = nn.ModuleList(
            [nn.ConvTranspose2d(w1, w0, 4, 2, 1), nn.ConvTranspose2d(w2, w1, 4, 2, 1)]
        )
        self.joins = nn.ModuleList([_convolution(2 * w0, w0, 1), _convolution(2 * w1, w1, 1)])
        self.decoders = nn.ModuleList(_stage(channels, blocks) for channels in (w0, w1, w2))
        self.outputs = nn.ModuleList(_convolution(channels, 3) for channels in (w0, w1, w2))

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored images [B,3,H,W] of blurry ones of any size, in [0,1]; not clamped.

        The image is padded by reflection at the bottom and right to multiples of 4.
        """
        height, width = blurry.shape[-2:]
        return self.forward_scales(pad_to_multiple(blurry, self.multiple))[-1][..., :height, :width]

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """Results [B,3,H/4,W/4], [B,3,H/2,W/2], [B,3,H,W]; H and W multiples of 4."""
        half = blurry[..., ::2, ::2]
        quarter = blurry[..., ::4, ::4]
        e0 = self.encoders[0](F.relu(self.first(blurry)))  # [B,w0,H,W]
        e1 = self.encoders[1](self._attend(0, F.relu(self.downs[0](e0)), half))  # [B,w1,H/2,W/2]
        e2 = self.encoders[2](self._attend(1, F.relu(self.downs[1](e1)), quarter))  # [B,w2,H/4,W/4]
        a1 = self.fusions[1](torch.cat((e0[..., ::2, ::2], e1, _enlarged(e2, 2)), 1))  # w1
        a0 = self.fusions[0](torch.cat((e0, _enlarged(e1, 2), _enlarged(e2, 4)), 1))  # w0
        a0 = F.dropout2d(a0, self.dropout, self.training)
        a1 = F.dropout2d(a1, self.dropout, self.training)
        d2 = self.decoders[2](e2)
        d1 = self.decoders[1](self._join(1, d2, a1))
        d0 = self.decoders[0](self._join(0, d1, a0))
        return [
            self.outputs[2](d2) + quarter,
            self.outputs[1](d1) + half,
            self.outputs[0](d0) + blurry,
        ]

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """Sharp images [B,3,H,W] at a quarter, a half and the full size.

        Bilinear, without a filter against aliasing, as published.
        """
        quarter = F.interpolate(sharp, scale_factor=0.25, mode="bilinear")
        half = F.interpolate(sharp, scale_factor=0.5, mode="bilinear")
        return [quarter, half, sharp]

    def _attend(self, index: int, features: Tensor, image: Tensor) -> Tensor:
        """Feature attention (FAM) [B,C,h,w] of features and a reduced image [B,3,h,w].

        The features plus what they and the image's shallow features have in common.
        """
        return features + self.merges[index](features * self.shallow[index](image))

    def _join(self, scale: int, coarser: Tensor, fused: Tensor) -> Tensor:
        """A decoder's input [B,C,h,w] from the coarser decoder's output and the fused features."""
        enlarged = F.relu(self.ups[scale](coarser))  # [B,C,h,w]
        return F.relu(self.joins[scale](torch.cat((enlarged, fused), 1)))


class ShallowFeatures(nn.Module):
    """Features [B,C,H,W] of a reduced image [B,3,H,W], the image among them (SCM)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                _convolution(3, channels // 4, 3),
                _convolution(channels // 4, channels // 2, 1),
                _convolution(channels // 2, channels // 2, 3),
                _convolution(channels // 2, channels - 3, 1),
            ]
        )
        self.last = _convolution(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = image
        for layer in self.layers:
            features = F.relu(layer(features))
        return self.last(torch.cat((image, features), 1))


def _stage(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))


def _fusion(in_channels: int, out_channels: int) -> nn.Sequential:
    """The features of all three scales, concatenated, in one (AFF)."""
    return nn.Sequential(
        _convolution(in_channels, out_channels, 1),
        nn.ReLU(inplace=True),
        _convolution(out_channels, out_channels),
    )


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2)


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
    stage = [key for key in state if key.startswith("Encoder.0.layers.")]
    first_convolutions = [key for key in stage if key.endswith(".main.0.main.0.weight")]
    width = len(state["feat_extract.0.main.0.weight"])
    return {"width": width, "blocks": len(first_convolutions)}


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"MIMO-UNet": {"blocks": 8}, "MIMO-UNet+": {"blocks": 20}}
