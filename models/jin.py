"""Seven frames out of one blurry image, from the middle outwards (Jin et al., CVPR 2018), as
HyperCUT's tables use it.

Notation: frames 1 ... 7, the centre is 4. The centre comes from the blurry image; 3 and 5 from it
and the centre; 2 and 6, then 1 and 7, each from the blurry image and the two frames next to it
towards the middle. Every generator sees one colour at a time: the three run as one batch, and so do
the two directions that share a network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import SequenceNetwork, Values

CENTRE_STAGES = (
    ((1, 1),) * 3,
    ((1, 2), (2, 4), (4, 8)),
    ((8, 4), (4, 2), (2, 1)),
    ((1, 1),) * 3,
)  # dilations of a block's two 3x3s
DILATED = ((1, 2), (4, 8), (8, 4), (2, 1))


class Jin(SequenceNetwork):
    """Frames [B,7,3,H,W] of blurry images [B,3,H,W] of `values`, H and W multiples of 20; not
    clamped.

    width: a sixteenth of the published one makes one channel of it; with 16 there are 18,213,376
    parameters.
    """

    multiple = 20

    def __init__(self, width: int = 16, values: Values = "imagenet_bgr"):
        super().__init__(values)
        self.bytes_per_pixel = 1300 + 40 * width
        self.centre = Generator((9 * width,), 4, CENTRE_STAGES, 4 * width, global_skip=True)
        self.frame3, self.frame5 = (self._outer(width, plain=4) for _ in range(2))
        self.frames26, self.frames17 = (self._outer(width, plain=2) for _ in range(2))

    @staticmethod
    def _outer(width: int, plain: int) -> "Generator":
        stages = (((1, 1),) * plain, DILATED, ((1, 1),) * plain)
        return Generator((4 * width, 2 * width, 2 * width), 5, stages, 2 * width, global_skip=False)

    def forward(self, blurry: Tensor) -> Tensor:
        if any(side % self.multiple for side in blurry.shape[-2:]):
            raise ValueError(
                f"image of {blurry.shape[-1]}x{blurry.shape[-2]} px: Jin's sides are multiples "
                f"of {self.multiple}"
            )
        frame4 = self.centre(blurry)
        frame3 = self.frame3(blurry, frame4, frame4)
        frame5 = self.frame5(blurry, frame3, frame4)
        both = torch.cat((blurry, blurry))
        frame2, frame6 = self.frames26(
            both, torch.cat((frame4, frame4)), torch.cat((frame3, frame5))
        ).chunk(2)
        frame1, frame7 = self.frames17(
            both, torch.cat((frame3, frame5)), torch.cat((frame2, frame6))
        ).chunk(2)
        return torch.stack((frame1, frame2, frame3, frame4, frame5, frame6, frame7), 1)


class Generator(nn.Module):
    """One frame [B,3,H,W] from images of that size, the last of which is the reference that a
    difference is added to.

    heads: channels that each input's 5x5 convolution gives, behind space-to-depth by `factor`.
    stages: the dilations of their blocks. colours: channels of the last layers, which see all three
    colours.
    """

    def __init__(
        self, heads: tuple[int, ...], factor: int, stages: tuple, colours: int, global_skip: bool
    ):
        super().__init__()
        self.factor, deep, channels = factor, factor**2, sum(heads)
        self.heads = nn.ModuleList(
            nn.Conv2d(deep, head, 5, padding=2, bias=False) for head in heads
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(TwoBranch(channels, *pair) for pair in stage)) for stage in stages
        )
        self.fusions = nn.ModuleList(Fusion(channels, deep) for _ in stages)
        self.colour = nn.Conv2d(3, colours, 3, padding=1, bias=False)
        self.whole = TwoBranch(colours, 1, 1) if global_skip else Fusion(colours, colours)
        self.norm = nn.InstanceNorm2d(colours, affine=True)
        self.output = nn.Conv2d(colours, 3, 3, padding=1, bias=False)

    def forward(self, *images: Tensor) -> Tensor:
        coloured = self.of_colours(*(image.flatten(0, 1)[:, None] for image in images)).unflatten(
            0, (-1, 3)
        )[:, :, 0]  # [B,3,H,W]
        return self.together(coloured, images[-1])

    def of_colours(self, *images: Tensor) -> Tensor:
        """The part that sees one colour at a time: [N,1,H,W] from images of that shape."""
        deep = [F.pixel_unshuffle(image, self.factor) for image in images]  # [N,factor^2,h,w]
        features = torch.cat(
            [head(planes) for head, planes in zip(self.heads, deep, strict=True)], 1
        )
        total = deep[-1]
        for stage, fusion in zip(self.stages, self.fusions):
            features = stage(features)
            total = total + fusion(features)
        return F.pixel_shuffle(total, self.factor)

    def together(self, coloured: Tensor, reference: Tensor) -> Tensor:
        """The last layers, which see all three colours [B,3,H,W], and the reference added."""
        return self.output(F.relu(self.norm(self.whole(self.colour(coloured))))) + reference


class TwoBranch(nn.Module):
    """x + short(x) + long(x), both pre-activated: a 1x1 convolution, and two 3x3 ones with
    dilations of their own.
    """

    def __init__(self, channels: int, dilation1: int, dilation2: int):
        super().__init__()
        self.short = Activated(channels, channels, 1)
        self.long = nn.Sequential(
            Activated(channels, channels, 3, dilation1), Activated(channels, channels, 3, dilation2)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.short(features) + self.long(features) + features


class Fusion(nn.Module):
    """short(x) + long(x) without a skip: a 1x1 and a 3x3 convolution, both pre-activated, to
    another number of channels.
    """

    def __init__(self, before: int, after: int):
        super().__init__()
        self.short = Activated(before, after, 1)
        self.long = nn.Sequential(Activated(before, after, 3))

    def forward(self, features: Tensor) -> Tensor:
        return self.short(features) + self.long(features)


class Activated(nn.Module):
    """Instance normalisation, ReLU, "same" convolution without bias."""

    def __init__(self, before: int, after: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        self.norm = nn.InstanceNorm2d(before, affine=True)
        self.convolution = nn.Conv2d(
            before,
            after,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            bias=False,
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.convolution(F.relu(self.norm(features)))


def published_arguments(state: dict[str, Tensor]) -> dict:
    """The width is read off the centre's first convolution; files with the loss inside are
    HyperCUT's, which read BGR.
    """
    return {
        "width": len(state["f4.conv1_B.weight"]) // 9,
        "values": "imagenet_bgr" if any(key.startswith("loss.") for key in state) else "rgb",
    }


_GENERATORS = {
    "f4.": "centre.",
    "f35.generateFrame3.": "frame3.",
    "f35.generateFrame5.": "frame5.",
    "f26.generateFrame2_6.": "frames26.",
    "f17.generateFrame1_7.": "frames17.",
}
_LAYERS = {
    "conv1_B.": "heads.0.",
    "conv1_S1.": "heads.1.",
    "conv1_S2.": "heads.2.",
    "conv2.": "colour.",
    "norm3.": "norm.",
    "conv3.": "output.",
    "GlobalGrad.0.": "whole.",
    **{f"LocalGrad{number}.": f"stages.{number - 1}." for number in range(1, 5)},
    **{f"fuse{number}.0.": f"fusions.{number - 1}." for number in range(1, 5)},
}
PUBLISHED_EXTRAS = ("loss.",)  # the HyperCUT network that sits in the published training's loss
PUBLISHED_KEYS = [
    *(
        (generator + layer, ours + name)
        for generator, ours in _GENERATORS.items()
        for layer, name in _LAYERS.items()
    ),
    *(
        (f"*.{kind}1.", f".short.{name}.")
        for kind, name in (("norm", "norm"), ("conv", "convolution"))
    ),
    *(
        (f"*.{kind}2.", f".long.0.{name}.")
        for kind, name in (("norm", "norm"), ("conv", "convolution"))
    ),
    *(
        (f"*.{kind}4.", f".long.1.{name}.")
        for kind, name in (("norm", "norm"), ("conv", "convolution"))
    ),
]
# Jin's own release: one file per network, each {"state_dict_G": ...}
PUBLISHED_PARTS = {
    "center_v3.pth": "f4.",
    "F35_N8.pth": "f35.",
    "F26_N9_from_F35_N8.pth": "f26.",
    "F17_N9_from_F26_N9_from_F35_N8.pth": "f17.",
}
