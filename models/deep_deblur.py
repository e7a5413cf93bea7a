"""DeepDeblur: three ResNets from coarse to fine (Nah, Kim, Lee, CVPR 2017, arXiv 1612.02177; the
authors' PyTorch edition, MSResNet).

Scales are numbered 0 (full) to 2 (quarter). Inside, images are on the 0..255 scale with 127.5
subtracted, and so is the result that is handed to the next finer scale.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ImageNetwork, ResidualBlock

MEAN_8BIT = 127.5
SIGMA = (
    2 / 3
)  # of the pyramid's Gaussian: 2 * downscale / 6, cut at 4 sigma (scikit-image's pyramid_gaussian)


class DeepDeblur(ImageNetwork):
    """The network; with the default arguments the published one (11,721,321 parameters, 30.40 dB on
    GoPro's blur_gamma).
    """

    def __init__(self, width: int = 64, blocks: int = 19, kernel_size: int = 5, scales: int = 3):
        super().__init__()
        self.scales, self.multiple, self.bytes_per_pixel = scales, 2 ** (scales - 1), 17 * width
        # the coarsest body sees the image alone
        self.bodies = nn.ModuleList(
            _body(6 if scale < scales - 1 else 3, width, blocks, kernel_size)
            for scale in range(scales)
        )
        # lift the result of scale S+1 to scale S
        self.lifts = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, 12, kernel_size, padding=kernel_size // 2), nn.PixelShuffle(2)
            )
            for _ in range(scales - 1)
        )

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored image [B,3,H,W] of blurry ones of any size (edge repeated at the bottom and
        right to multiples of 4).
        """
        height, width = blurry.shape[-2:]
        padded = F.pad(
            blurry, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate"
        )
        return self.forward_scales(padded)[0][..., :height, :width]

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """Results [B,3,H,W], [B,3,H/2,W/2], [B,3,H/4,W/4] in [0,1]; H and W multiples of 4."""
        return self.restore_pyramid(self.scales_of(blurry))

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """The pyramid of an image, which inputs and targets share: [B,3,H,W], [B,3,H/2,W/2], ..."""
        levels = [sharp]
        for _ in range(self.scales - 1):
            levels.append(halved(levels[-1]))
        return levels

    def restore_pyramid(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Results of every scale for a pyramid of blurry images in [0,1], finest first."""
        results: list[Tensor] = [None] * self.scales
        coarser = None
        for scale in reversed(range(self.scales)):
            image = pyramid[scale] * 255 - MEAN_8BIT
            if coarser is not None:
                image = torch.cat((image, self.lifts[scale](coarser)), 1)
            coarser = self.bodies[scale](image)
            results[scale] = (coarser + MEAN_8BIT) / 255
        return results


class Discriminator(nn.Module):
    """Says of images [B,3,256,256] whether they are sharp photos: logits [B,1,1,1] (the adversarial
    term of the CVPR 2017 paper).
    """

    def __init__(self, width: int = 32):
        super().__init__()
        # (channels, stride) of ten convolutions without biases, 5x5 but for the last, 4x4 without
        # padding
        plan = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 4), (8, 1), (8, 4), (16, 1), (16, 4)]
        layers, before = [], 3
        for place, (factor, stride) in enumerate(plan):
            last = place == len(plan) - 1
            layers += [
                nn.Conv2d(
                    before, factor * width, 4 if last else 5, stride, 0 if last else 2, bias=False
                ),
                nn.LeakyReLU(0.2),
            ]
            before = factor * width
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 1, bias=False))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image * 255 - MEAN_8BIT)


def halved(image: Tensor) -> Tensor:
    """The next pyramid level [B,C,H/2,W/2] of images [B,C,H,W] with even sides: Gaussian, then the
    mean of 2x2 pixels.

    Borders are mirrored including the edge pixel. Equal to scikit-image's pyramid_gaussian to 1e-4
    of 255.
    """
    reach = int(4 * SIGMA + 0.5)
    positions = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-(positions**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).to(image)
    for axis in (2, 3):
        length = image.shape[axis]
        place = torch.arange(-reach, length + reach, device=image.device) % (
            2 * length
        )  # 0 1 2 | 2 1 0 | 0 1 2 ...
        image = image.index_select(axis, torch.minimum(place, 2 * length - 1 - place))
        shape = [1, 1, 1, 1]
        shape[axis] = 2 * reach + 1
        image = F.conv2d(
            image, weights.view(shape).expand(image.shape[1], 1, *shape[2:]), groups=image.shape[1]
        )
    return F.avg_pool2d(image, 2)


def _body(before: int, width: int, blocks: int, kernel_size: int) -> nn.Sequential:
    first = nn.Conv2d(before, width, kernel_size, padding=kernel_size // 2)
    last = nn.Conv2d(width, 3, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(first, *(ResidualBlock(width, kernel_size) for _ in range(blocks)), last)


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
    blocks = sum(
        re.fullmatch(r"body_models\.0\.body\.\d+\.body\.2\.weight", key) is not None
        for key in state
    )
    scales = sum(
        re.fullmatch(r"body_models\.\d+\.body\.0\.weight", key) is not None for key in state
    )
    return {"width": width, "blocks": blocks, "kernel_size": kernel_size, "scales": scales}


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"DeepDeblur": {}}
