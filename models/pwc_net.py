"""PWC-Net optical flow (Sun, Yang, Liu, Kautz, CVPR 2018), in the form that CDVD-TSP fine-tunes.

Six feature levels (1/2 .. 1/64 of the input), a decoder at levels 6 .. 2 (cost volume, warped
features, densely connected convolutions), a dilated context network on level 2. Flow is estimated
at 1/4 of the input's size, divided by 20. Notation: first = the frame whose pixels the flow belongs
to, second = its neighbour; second(p + flow(p)) ~ first(p).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.correlation import correlation
from models.warp import warp

CHANNELS = (16, 32, 64, 96, 128, 196)  # feature channels of levels 1 .. 6
DENSE = (128, 128, 96, 64, 32)  # new channels of a decoder's densely connected convolutions
RADIUS = 4
FLOW_SCALE = 20  # the network predicts flow / 20
MULTIPLE = 64


class PWCNet(nn.Module):
    """Optical flow of an image pair; 9,374,274 parameters. `align_corners`: see models/warp.py."""

    def __init__(self, align_corners: bool = True):
        super().__init__()
        self.extractor = nn.ModuleList(
            _feature_level(before, after) for before, after in zip((3, *CHANNELS), CHANNELS)
        )
        self.decoders = nn.ModuleList(_Decoder(level, align_corners) for level in range(2, 7))
        self.refiner = _context_network(self.decoders[0].out_channels)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow [B,2,H,W] in pixels that says where each pixel of `first` lies in `second`; RGB
        [B,3,H,W] in [0,1].

        Any H and W: the pair is resized bilinearly up to multiples of 64, the flow back to H x W.
        """
        return self.flow_between(self.pyramid(first), self.pyramid(second), first.shape[-2:])

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Features of levels 2 .. 6 of images [B,3,H,W] resized up to multiples of 64."""
        size = [-(-side // MULTIPLE) * MULTIPLE for side in image.shape[-2:]]
        features, levels = F.interpolate(image, size, mode="bilinear", align_corners=False), []
        for level in self.extractor:
            features = level(features)
            levels.append(features)
        return levels[1:]

    def flow_between(
        self, first: list[Tensor], second: list[Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Flow [B,2,*size] in pixels from the two frames' pyramids."""
        flow = self.quarter_flow(first, second)
        height, width = flow.shape[-2] * 4, flow.shape[-1] * 4  # of the pair as the network saw it
        flow = F.interpolate(FLOW_SCALE * flow, size, mode="bilinear", align_corners=False)
        return flow * flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)

    def quarter_flow(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """The network's own output: flow / 20 at a quarter of the resized pair's size."""
        flow = features = None
        for decoder, one, two in zip(reversed(self.decoders), reversed(first), reversed(second)):
            flow, features = decoder(one, two, flow, features)
        return flow + self.refiner(features)


class _Decoder(nn.Module):
    def __init__(self, level: int, align_corners: bool):
        super().__init__()
        volume = (2 * RADIUS + 1) ** 2
        coarsest = level == len(CHANNELS)
        channels = volume if coarsest else volume + CHANNELS[level - 1] + 4
        self.align_corners = align_corners
        self.warp_scale = (
            None if coarsest else FLOW_SCALE / 2**level
        )  # from flow / 20 to pixels of this level
        if not coarsest:
            self.upsample_flow = nn.ConvTranspose2d(2, 2, 4, 2, 1)
            self.upsample_features = nn.ConvTranspose2d(_dense_channels(level + 1), 2, 4, 2, 1)
        self.dense = nn.ModuleList()
        for new in DENSE:
            self.dense.append(nn.Conv2d(channels, new, 3, padding=1))
            channels += new
        self.out_channels = channels
        self.flow = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(
        self, first: Tensor, second: Tensor, flow: Tensor | None, features: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Flow / 20 [B,2,h,w] and features of this level, from those of the coarser level (None at
        the coarsest).
        """
        if flow is None:
            features = F.leaky_relu(correlation(first, second, RADIUS), 0.1)
        else:
            flow, features = self.upsample_flow(flow), self.upsample_features(features)
            warped, mask = warp(second, self.warp_scale * flow, "zeros", self.align_corners)
            volume = F.leaky_relu(correlation(first, warped * mask, RADIUS), 0.1)
            features = torch.cat((volume, first, flow, features), 1)
        for convolution in self.dense:  # what is new stands before the old
            features = torch.cat((F.leaky_relu(convolution(features), 0.1), features), 1)
        return self.flow(features), features


def _dense_channels(level: int) -> int:
    volume = (2 * RADIUS + 1) ** 2
    return volume + sum(DENSE) + (0 if level == len(CHANNELS) else CHANNELS[level - 1] + 4)


def _feature_level(before: int, after: int) -> nn.Sequential:
    layers = []
    for stride in (2, 1, 1):
        layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.LeakyReLU(0.1)]
        before = after
    return nn.Sequential(*layers)


def _context_network(channels: int) -> nn.Sequential:
    layers = []
    for width, dilation in ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1)):
        layers += [
            nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation),
            nn.LeakyReLU(0.1),
        ]
        channels = width
    return nn.Sequential(*layers, nn.Conv2d(channels, 2, 3, padding=1))


_NUMBERS = ("One", "Two", "Thr", "Fou", "Fiv", "Six")

# The authors' keys -> ours, as (prefix, prefix) pairs; the first that fits wins.
PUBLISHED_KEYS = [
    *((f"moduleExtractor.module{name}.", f"extractor.{i}.") for i, name in enumerate(_NUMBERS)),
    *(
        (f"module{_NUMBERS[level - 1]}.{theirs}", f"decoders.{level - 2}.{ours}")
        for level in range(2, 7)
        for theirs, ours in (
            ("moduleUpflow.", "upsample_flow."),
            ("moduleUpfeat.", "upsample_features."),
            *((f"module{name}.0.", f"dense.{i}.") for i, name in enumerate(_NUMBERS[:5])),
            ("moduleSix.0.", "flow."),
        )
    ),
    ("moduleRefiner.moduleMain.", "refiner."),
]
