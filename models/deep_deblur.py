"""DeepDeblur: three ResNets from coarse to fine (Nah, Kim, Lee, CVPR 2017, arXiv 1612.02177).

The form is the authors' PyTorch edition, MSResNet. Scales are numbered 0 (full) to 2 (quarter).
Inside, images are on the 0..255 scale with 127.5 subtracted, and so is the result that is handed to
the next finer scale.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ResidualBlock
from models.contracts import ImageNetwork
from models.convolution import SameConv2d

MEAN_8BIT = 127.5
# Standard deviation of the pyramid's Gaussian, px: 2 * downscale / 6, cut at 4 deviations, as in
# scikit-image's pyramid_gaussian.
SIGMA = 2 / 3


class DeepDeblur(ImageNetwork):
    """The network that restores an image at every scale, coarsest first.

    width: channels. blocks: residual blocks per scale. kernel_size: odd, px. scales: number of
    scales, each half as large as the one before. With the default arguments it is the published
    network: 11,721,321 parameters, 30.40 dB on GoPro's blur_gamma.
    """

    def __init__(self, width: int = 64, blocks: int = 19, kernel_size: int = 5, scales: int = 3):
        super().__init__()
        self.scales = scales
        self.multiple = 2 ** (scales - 1)
        self.bytes_per_pixel = 45 * width
        # The coarsest body sees the image alone, the others also the lifted coarser result.
        in_channels = [6] * (scales - 1) + [3]
        self.bodies = nn.ModuleList(
            _body(channels, width, blocks, kernel_size) for channels in in_channels
        )
        self.lifts = nn.ModuleList(_lift(kernel_size) for _ in range(scales - 1))

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored images [B,3,H,W] of blurry ones of any size, in [0,1]; not clamped.

        The edge is repeated at the bottom and right to multiples of 4.
        """
        height, width = blurry.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = F.pad(blurry, padding, mode="replicate")
        return self.forward_scales(padded)[0][..., :height, :width]

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """Results [B,3,H,W], [B,3,H/2,W/2], [B,3,H/4,W/4] in [0,1]; H and W multiples of 4."""
        return self.restore_pyramid(self.scales_of(blurry))

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """The pyramid of inputs and of targets: [B,3,H,W], [B,3,H/2,W/2], ..."""
        levels = [sharp]
        for _ in range(self.scales - 1):
            levels.append(halved(levels[-1]))
        return levels

    def restore_pyramid(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Results of every scale for a pyramid of blurry images in [0,1], finest first."""
        results: list[Tensor] = [None] * self.scales
        coarser = None
        for scale in reversed(range(self.scales)):
            image = pyramid[scale] * 255 - MEAN_8BIT  # [B,3,h,w]
            if coarser is not None:
                image = torch.cat((image, self.lifts[scale](coarser)), 1)  # [B,6,h,w]
            coarser = self.bodies[scale](image)  # [B,3,h,w]
            results[scale] = (coarser + MEAN_8BIT) / 255
        return results


class Discriminator(nn.Module):
    """Logits [B,1,1,1] of images [B,3,256,256] in [0,1]: are they sharp photos?

    width: channels of the first convolutions. It serves the adversarial loss of the paper.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        # (channels / width, stride) of nine 5x5 convolutions; no convolution has a bias
        plan = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 4), (8, 1), (8, 4), (16, 1)]
        layers = []
        in_channels = 3
        for factor, stride in plan:
            out_channels = factor * width
            layers.append(nn.Conv2d(in_channels, out_channels, 5, stride, 2, bias=False))
            layers.append(nn.LeakyReLU(0.2))
            in_channels = out_channels
        self.layers = nn.Sequential(
            *layers,
            nn.Conv2d(in_channels, 16 * width, 4, 4, bias=False),  # [B,16*width,1,1]
            nn.LeakyReLU(0.2),
            nn.Conv2d(16 * width, 1, 1, bias=False),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image * 255 - MEAN_8BIT)


def halved(image: Tensor) -> Tensor:
    """The next pyramid level [B,C,H/2,W/2] of images [B,C,H,W] with even sides.

    A Gaussian filter, then the mean of 2x2 pixels. Borders are mirrored including the edge pixel.
    Equal to scikit-image's pyramid_gaussian to 1e-4 of 255.
    """
    reach = int(4 * SIGMA + 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).to(image)
    channels = image.shape[1]
    for axis in (2, 3):
        length = image.shape[axis]
        position = torch.arange(-reach, length + reach, device=image.device)
        position = position % torch.full_like(position, 2 * length)  # a number can't be exported
        mirrored = torch.minimum(position, 2 * length - 1 - position)  # .. 1 0 | 0 1 2 .. 2 | 2 ..
        image = image.index_select(axis, mirrored)
        shape = [1, 1, 1, 1]
        shape[axis] = 2 * reach + 1
        kernel = weights.view(shape).expand(channels, 1, *shape[2:])
        image = F.conv2d(image, kernel, groups=channels)
    return F.avg_pool2d(image, 2)


def _body(in_channels: int, width: int, blocks: int, kernel_size: int) -> nn.Sequential:
    """The ResNet of one scale: [B,in_channels,h,w] -> [B,3,h,w]."""
    first = SameConv2d(in_channels, width, kernel_size)
    last = SameConv2d(width, 3, kernel_size)
    return nn.Sequential(first, *(ResidualBlock(width, kernel_size) for _ in range(blocks)), last)


def _lift(kernel_size: int) -> nn.Sequential:
    """The coarser scale's result [B,3,h,w] at the size of the finer one, [B,3,2h,2w]."""
    return nn.Sequential(SameConv2d(3, 12, kernel_size), nn.PixelShuffle(2))


# The authors' keys -> ours; see models/published.py. conv_end_models.S lifts scale S to S-1, their
# index 0 is empty.
PUBLISHED_KEYS = [
    *((f"body_models.{scale}.body.", f"bodies.{scale}.") for scale in range(3)),
    *((f"conv_end_models.{scale + 1}.uppath.", f"lifts.{scale}.") for scale in range(2)),
    ("*.body.0.", ".conv1."),
    ("*.body.2.", ".conv2."),
]


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict."""
    width, _, kernel_size, _ = state["body_models.0.body.0.weight"].shape
    blocks = _count(state, r"body_models\.0\.body\.\d+\.body\.2\.weight")
    scales = _count(state, r"body_models\.\d+\.body\.0\.weight")
    return {"width": width, "blocks": blocks, "kernel_size": kernel_size, "scales": scales}


def _count(state: dict[str, Tensor], pattern: str) -> int:
    return len([key for key in state if re.fullmatch(pattern, key)])


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"DeepDeblur": {}}
