"""A light network in the manner of dehazing networks, the low-cost baseline. OUR design.

The survey that this project repeats reused its author's dehazing network of 280.35 K parameters for
deblurring and never published it. Ours has the same budget (279,107) and the traits of its kind
(gated context aggregation, Chen et al., WACV 2019): on 2x2 space-to-depth a chain of residual
blocks whose dilation grows and shrinks again (1 1 2 4 4 2 1: a reach of 67 px), channel attention,
and a gated sum of the shallow, middle and deep features, from which a correction of the image is
predicted.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contracts import ImageNetwork
from utils.tiling import pad_to_multiple

DILATIONS = (1, 1, 2, 4, 4, 2, 1)


class LightDehaze(ImageNetwork):
    """A chain of dilated residual blocks at half the size that predicts a correction of the image.

    width: channels of all features; 44 gives the published budget.
    """

    def __init__(self, width: int = 44):
        super().__init__()
        self.multiple = 2
        self.bytes_per_pixel = 11 * width
        self.inward = nn.Sequential(
            nn.Conv2d(12, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.blocks = nn.ModuleList(DilatedBlock(width, dilation) for dilation in DILATIONS)
        self.attention = nn.Conv2d(width, width, 1)
        self.gates = nn.Conv2d(3 * width, 3, 3, padding=1)
        self.fusion = nn.Conv2d(width, width, 1)
        self.outward = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored images [B,3,H,W] of blurry ones of any size, in [0,1]; not clamped.

        The image is padded by reflection at the bottom and right to even sides.
        """
        padded = pad_to_multiple(blurry, self.multiple)
        shallow = F.relu(self.inward(F.pixel_unshuffle(padded, 2)))  # [B,width,H/2,W/2]
        features = shallow
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index == len(self.blocks) // 2:
                middle = features
        attention = self.attention(features.mean((2, 3), keepdim=True)).sigmoid()  # [B,width,1,1]
        features = features * attention
        kinds = (shallow, middle, features)
        gates = self.gates(torch.cat(kinds, 1)).chunk(3, 1)  # three of [B,1,H/2,W/2]
        gated = sum(gate * kind for gate, kind in zip(gates, kinds))
        correction = self.outward(F.relu(self.fusion(gated)))  # [B,12,H/2,W/2]
        restored = padded + F.pixel_shuffle(correction, 2)
        return restored[..., : blurry.shape[-2], : blurry.shape[-1]]


class DilatedBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))), both 3x3 and dilated alike: [B,C,H,W] -> [B,C,H,W]."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.conv2(F.relu(self.conv1(features))))


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"LightDehaze": {}}
