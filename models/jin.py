"""Seven frames out of one blurry image, from the middle outwards (Jin et al., CVPR 2018).

The form is the one of HyperCUT's tables. Notation: frames 1 ... 7, the centre is 4. The centre
comes from the blurry image; 3 and 5 from it and the centre; 2 and 6, then 1 and 7, each from the
blurry image and the two frames next to it towards the middle. Every generator sees one colour at a
time: the three run as one batch, and so do the two directions that share a network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contracts import SequenceNetwork, Values

# Stages of a generator: per block, the dilations of its two 3x3 convolutions.
CENTRE_STAGES = (
    ((1, 1),) * 3,
    ((1, 2), (2, 4), (4, 8)),
    ((8, 4), (4, 2), (2, 1)),
    ((1, 1),) * 3,
)
DILATED = ((1, 2), (4, 8), (8, 4), (2, 1))


class Jin(SequenceNetwork):
    """Seven sharp frames [B,7,3,H,W] of blurry images [B,3,H,W].

    width: a sixteenth of the published one makes one channel of it; with 16 there are 18,213,376
    parameters. values: what the network sees and gives, see NormalisedInput.
    """

    multiple = 20
    mean_over_frames = True

    def __init__(self, width: int = 16, values: Values = "imagenet_bgr"):
        super().__init__(values)
        self.bytes_per_pixel = 1300 + 40 * width
        self.centre = Generator((9 * width,), 4, CENTRE_STAGES, 4 * width, global_skip=True)
        self.frame3 = self._outer(width, plain=4)
        self.frame5 = self._outer(width, plain=4)
        self.frames26 = self._outer(width, plain=2)
        self.frames17 = self._outer(width, plain=2)

    @staticmethod
    def _outer(width: int, plain: int) -> "Generator":
        """A generator of one frame from the blurry image and two frames."""
        stages = (((1, 1),) * plain, DILATED, ((1, 1),) * plain)
        return Generator((4 * width, 2 * width, 2 * width), 5, stages, 2 * width, global_skip=False)

    def forward(self, blurry: Tensor) -> Tensor:
        """Frames [B,7,3,H,W] of blurry images [B,3,H,W], both of `values`; not clamped.

        Raises ValueError if H or W is no multiple of 20.
        """
        if any(side % self.multiple for side in blurry.shape[-2:]):
            raise ValueError(
                f"image of {blurry.shape[-1]}x{blurry.shape[-2]} px: Jin's sides are multiples "
                f"of {self.multiple}"
            )
        frame4 = self.centre(blurry)
        frame3 = self.frame3(blurry, frame4, frame4)
        frame5 = self.frame5(blurry, frame3, frame4)
        both = torch.cat((blurry, blurry))  # [2B,3,H,W]: backward and forward in time
        centres = torch.cat((frame4, frame4))
        frames35 = torch.cat((frame3, frame5))
        frames26 = self.frames26(both, centres, frames35)
        frames17 = self.frames17(both, frames35, frames26)
        frame2, frame6 = frames26.chunk(2)
        frame1, frame7 = frames17.chunk(2)
        return torch.stack((frame1, frame2, frame3, frame4, frame5, frame6, frame7), 1)


class Generator(nn.Module):
    """One frame [B,3,H,W] from images of that size.

    heads: channels that each image's 5x5 convolution gives, behind space-to-depth by `factor`.
    stages: the dilations of their blocks. colours: channels of the last layers, which see all three
    colours. global_skip: these layers keep their number of channels and add their input.
    """

    def __init__(
        self, heads: tuple[int, ...], factor: int, stages: tuple, colours: int, global_skip: bool
    ):
        super().__init__()
        self.factor = factor
        deep = factor**2
        channels = sum(heads)
        self.heads = nn.ModuleList(
            nn.Conv2d(deep, head, 5, padding=2, bias=False) for head in heads
        )
        self.stages = nn.ModuleList(_stage(channels, dilations) for dilations in stages)
        self.fusions = nn.ModuleList(Fusion(channels, deep) for _ in stages)
        self.colour = nn.Conv2d(3, colours, 3, padding=1, bias=False)
        self.whole = TwoBranch(colours, 1, 1) if global_skip else Fusion(colours, colours)
        self.norm = nn.InstanceNorm2d(colours, affine=True)
        self.output = nn.Conv2d(colours, 3, 3, padding=1, bias=False)

    def forward(self, *images: Tensor) -> Tensor:
        """The frame; the last image is the reference that a difference is added to."""
        planes = [image.flatten(0, 1)[:, None] for image in images]  # [B*3,1,H,W]
        coloured = self.of_colours(*planes).unflatten(0, (-1, 3))[:, :, 0]  # [B,3,H,W]
        return self.together(coloured, images[-1])

    def of_colours(self, *images: Tensor) -> Tensor:
        """The part that sees one colour at a time: [N,1,H,W] from images of that shape."""
        deep = [F.pixel_unshuffle(image, self.factor) for image in images]  # [N,factor^2,h,w]
        parts = [head(planes) for head, planes in zip(self.heads, deep, strict=True)]
        features = torch.cat(parts, 1)  # [N,sum(heads),h,w]
        total = deep[-1]
        for stage, fusion in zip(self.stages, self.fusions):
            features = stage(features)
            total = total + fusion(features)  # [N,factor^2,h,w]
        return F.pixel_shuffle(total, self.factor)

    def together(self, coloured: Tensor, reference: Tensor) -> Tensor:
        """The last layers, which see all three colours [B,3,H,W], and the reference added."""
        features = self.whole(self.colour(coloured))  # [B,colours,H,W]
        return self.output(F.relu(self.norm(features))) + reference


class TwoBranch(nn.Module):
    """x + short(x) + long(x): [B,C,H,W] -> [B,C,H,W].

    Both branches are pre-activated: short is a 1x1 convolution, long two 3x3 ones with dilations of
    their own.
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
    """short(x) + long(x): [B,C,H,W] -> [B,D,H,W].

    Both branches are pre-activated: short is a 1x1 convolution, long a 3x3 one.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.short = Activated(in_channels, out_channels, 1)
        self.long = nn.Sequential(Activated(in_channels, out_channels, 3))

    def forward(self, features: Tensor) -> Tensor:
        return self.short(features) + self.long(features)


class Activated(nn.Module):
    """Instance normalisation, ReLU, "same" convolution without bias: [B,C,H,W] -> [B,D,H,W]."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        self.norm = nn.InstanceNorm2d(in_channels, affine=True)
        self.convolution = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            bias=False,
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.convolution(F.relu(self.norm(features)))


def _stage(channels: int, dilations: tuple[tuple[int, int], ...]) -> nn.Sequential:
    return nn.Sequential(*(TwoBranch(channels, *pair) for pair in dilations))


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict.

    Files with the loss inside are HyperCUT's, which read BGR.
    """
    from_hypercut = any(key.startswith("loss.") for key in state)
    return {
        "width": len(state["f4.conv1_B.weight"]) // 9,
        "values": "imagenet_bgr" if from_hypercut else "rgb",
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


def _published_keys() -> list[tuple[str, str]]:
    keys = []
    for theirs, ours in _GENERATORS.items():
        for layer, name in _LAYERS.items():
            keys.append((theirs + layer, ours + name))
    for number, branch in ((1, "short"), (2, "long.0"), (4, "long.1")):
        keys.append((f"*.norm{number}.", f".{branch}.norm."))
        keys.append((f"*.conv{number}.", f".{branch}.convolution."))
    return keys


# The authors' keys -> ours, what is no part of the network, and Jin's own release: one file per
# network, each {"state_dict_G": ...}; see models/published.py.
PUBLISHED_KEYS = _published_keys()
PUBLISHED_EXTRAS = ("loss.",)  # the HyperCUT network that sits in the published training's loss
PUBLISHED_PARTS = {
    "center_v3.pth": "f4.",
    "F35_N8.pth": "f35.",
    "F26_N9_from_F35_N8.pth": "f26.",
    "F17_N9_from_F26_N9_from_F35_N8.pth": "f17.",
}

# Published sizes: name -> arguments
PUBLISHED_SIZES = {"Jin": {}}
