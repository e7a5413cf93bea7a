"""PWC-Net optical flow (Sun, Yang, Liu, Kautz, CVPR 2018, arXiv 1709.02371).

The form is the one that CDVD-TSP fine-tunes: six feature levels (1/2 .. 1/64 of the input), a
decoder at each of the levels 6 .. 2 (warped features, cost volume, densely connected convolutions)
and a dilated context network on level 2. The network predicts flow / 20 at 1/4 of the input's size.

Flow is float32 in mixed precision, too: the layers that give it run outside autocast.

Notation: first = the frame whose pixels the flow belongs to, second = its neighbour;
second(p + flow(p)) ~ first(p). [h,w] is the size of a pyramid level.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import without_autocast
from models.correlation import correlation
from models.warp import warp

CHANNELS = (16, 32, 64, 96, 128, 196)  # feature channels of levels 1 .. 6
DENSE = (128, 128, 96, 64, 32)  # new channels of a decoder's densely connected convolutions
RADIUS = 4  # of the cost volume, px of its level
FLOW_SCALE = 20  # the network predicts flow / 20
MULTIPLE = 64
SLOPE = 0.1  # of the leaky ReLUs


class PWCNet(nn.Module):
    """Optical flow of an image pair; 9,374,274 parameters.

    align_corners: how positions are sampled, see models/warp.py; True is as published.
    """

    def __init__(self, align_corners: bool = True):
        super().__init__()
        self.extractor = nn.ModuleList(
            _feature_level(in_channels, out_channels)
            for in_channels, out_channels in zip((3, *CHANNELS), CHANNELS)
        )
        self.decoders = nn.ModuleList(_Decoder(level, align_corners) for level in range(2, 7))
        self.refiner = _context_network(_decoder_channels(2))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow [B,2,H,W] in pixels that says where each pixel of `first` lies in `second`.

        The frames are RGB [B,3,H,W] in [0,1]. H and W are free: the pair is resized bilinearly up
        to multiples of 64, the flow back to H x W.
        """
        return self.flow_between(self.pyramid(first), self.pyramid(second), first.shape[-2:])

    def use_plain_correlation(self) -> Self:
        """Compute cost volumes from operations that every program has, for export."""
        for decoder in self.decoders:
            decoder.correlation = "reference"
        return self

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Features of levels 2 .. 6 of images [B,3,H,W], resized up to multiples of 64."""
        size = [-(-side // MULTIPLE) * MULTIPLE for side in image.shape[-2:]]
        features = F.interpolate(image, size, mode="bilinear", align_corners=False)
        levels = []
        for level in self.extractor:
            features = level(features)  # [B,CHANNELS[i],h,w], half the size of the level before
            levels.append(features)
        return levels[1:]

    def flow_between(
        self, first: list[Tensor], second: list[Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Flow [B,2,*size] in pixels from the two frames' pyramids."""
        flow = self.quarter_flow(first, second)  # [B,2,H'/4,W'/4] of the resized pair H' x W'
        resized_height = flow.shape[-2] * 4
        resized_width = flow.shape[-1] * 4
        flow = F.interpolate(FLOW_SCALE * flow, size, mode="bilinear", align_corners=False)
        horizontal = flow[:, 0] * (size[1] / resized_width)
        vertical = flow[:, 1] * (size[0] / resized_height)
        return torch.stack((horizontal, vertical), 1)

    def quarter_flow(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """The network's own output: flow / 20 at a quarter of the resized pair's size."""
        flow = None
        features = None
        for decoder, one, two in zip(reversed(self.decoders), reversed(first), reversed(second)):
            flow, features = decoder(one, two, flow, features)
        *layers, last = self.refiner
        for layer in layers:
            features = layer(features)
        return flow + without_autocast(last, features)


class _Decoder(nn.Module):
    """Flow / 20 of one pyramid level from its features and the coarser level's result."""

    def __init__(self, level: int, align_corners: bool):
        super().__init__()
        self.align_corners = align_corners
        self.correlation = "auto"  # which implementation, see models/correlation.py
        if level < len(CHANNELS):
            self.warp_scale = FLOW_SCALE / 2**level  # from flow / 20 to pixels of this level
            self.upsample_flow = nn.ConvTranspose2d(2, 2, 4, 2, 1)
            self.upsample_features = nn.ConvTranspose2d(_decoder_channels(level + 1), 2, 4, 2, 1)
        channels = _dense_input_channels(level)
        self.dense = nn.ModuleList()
        for new in DENSE:
            self.dense.append(nn.Conv2d(channels, new, 3, padding=1))
            channels += new
        self.flow = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(
        self, first: Tensor, second: Tensor, flow: Tensor | None, features: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Flow / 20 [B,2,h,w] and features [B,D,h,w] of this level.

        first, second: the frames' features [B,C,h,w]. flow, features: the result of the coarser
        level, half as large; None at the coarsest.
        """
        if flow is None:
            features = self._cost_volume(first, second)  # [B,81,h,w]
        else:
            flow = without_autocast(self.upsample_flow, flow)  # [B,2,h,w]
            features = self.upsample_features(features)  # [B,2,h,w]
            # eq. 1: the second frame's features at p + flow(p), 0 outside the frame
            warped, mask = warp(second, self.warp_scale * flow, "zeros", self.align_corners)
            volume = self._cost_volume(first, warped * mask)
            known = (volume, first, flow.to(first.dtype), features)
            features = torch.cat(known, 1)  # [B,81+C+4,h,w]
        for convolution in self.dense:
            new = F.leaky_relu(convolution(features), SLOPE)
            features = torch.cat((new, features), 1)
        return without_autocast(self.flow, features), features

    def _cost_volume(self, first: Tensor, second: Tensor) -> Tensor:
        """Eq. 2 for displacements up to RADIUS, with the activation behind it: [B,81,h,w]."""
        return F.leaky_relu(correlation(first, second, RADIUS, self.correlation), SLOPE)


def _dense_input_channels(level: int) -> int:
    """Channels that enter the dense convolutions of a level's decoder."""
    volume = (2 * RADIUS + 1) ** 2
    if level == len(CHANNELS):
        return volume
    return volume + CHANNELS[level - 1] + 4  # features of `first`, upsampled flow and features


def _decoder_channels(level: int) -> int:
    """Channels of the features that a level's decoder returns."""
    return _dense_input_channels(level) + sum(DENSE)


def _feature_level(in_channels: int, out_channels: int) -> nn.Sequential:
    """[B,in_channels,2h,2w] -> [B,out_channels,h,w]: three 3x3 convolutions, the first strided."""
    layers = []
    for stride in (2, 1, 1):
        layers.append(nn.Conv2d(in_channels, out_channels, 3, stride, padding=1))
        layers.append(nn.LeakyReLU(SLOPE))
        in_channels = out_channels
    return nn.Sequential(*layers)


def _context_network(channels: int) -> nn.Sequential:
    """A correction [B,2,h,w] of flow / 20 from features [B,channels,h,w]."""
    layers = []
    for width, dilation in ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1)):
        layers.append(nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation))
        layers.append(nn.LeakyReLU(SLOPE))
        channels = width
    return nn.Sequential(*layers, nn.Conv2d(channels, 2, 3, padding=1))


_NUMBERS = ("One", "Two", "Thr", "Fou", "Fiv", "Six")


def _published_keys() -> list[tuple[str, str]]:
    keys = [
        (f"moduleExtractor.module{number}.", f"extractor.{index}.")
        for index, number in enumerate(_NUMBERS)
    ]
    for level in range(2, 7):
        theirs = f"module{_NUMBERS[level - 1]}."
        ours = f"decoders.{level - 2}."
        keys.append((f"{theirs}moduleUpflow.", f"{ours}upsample_flow."))
        keys.append((f"{theirs}moduleUpfeat.", f"{ours}upsample_features."))
        for index, number in enumerate(_NUMBERS[:5]):
            keys.append((f"{theirs}module{number}.0.", f"{ours}dense.{index}."))
        keys.append((f"{theirs}moduleSix.0.", f"{ours}flow."))
    keys.append(("moduleRefiner.moduleMain.", "refiner."))
    return keys


# The authors' keys -> ours, as (prefix, prefix) pairs; the first that fits wins.
PUBLISHED_KEYS = _published_keys()
