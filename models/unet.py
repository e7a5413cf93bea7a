"""No-Blur U-Net: the U-Net of a student project that a survey of deblurring networks compares.

It was trained there on Gaussian blur. Conventions are those of Keras: SAME padding, which at stride
2 adds one row and column at the bottom and right.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contracts import ImageNetwork
from utils.tiling import pad_to_multiple


class NoBlurUNet(ImageNetwork):
    """A U-Net of five layers down and four up.

    width: channels of the first layer; with 64 there are 8,600,067 trainable parameters.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        self.multiple = 16
        self.bytes_per_pixel = 20 * width
        self.downs = nn.ModuleList(
            [
                Layer(3, width, 2),
                Layer(width, 2 * width, 2),
                Layer(2 * width, 4 * width, 2),
                Layer(4 * width, 8 * width, 2),
                Layer(8 * width, 8 * width, 1),
            ]
        )
        self.ups = nn.ModuleList(
            [
                UpLayer(8 * width, 8 * width),
                UpLayer(12 * width, 4 * width),
                UpLayer(6 * width, 2 * width),
                UpLayer(3 * width, width),
            ]
        )
        self.output = nn.ConvTranspose2d(width, 3, 3, padding=1)
        for module in self.modules():  # Keras starts so
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored images [B,3,H,W] of blurry ones of any size, in [0,1]; not clamped.

        The image is padded by reflection at the bottom and right to multiples of 16.
        """
        features = pad_to_multiple(blurry, self.multiple)
        skips = []
        for down in self.downs:
            features = down(features)  # up to [B,8*width,H/16,W/16]
            skips.append(features)
        for up, skip in zip(self.ups, skips[2::-1]):
            features = torch.cat((skip, up(features)), 1)
        features = self.ups[-1](features)  # [B,width,H,W]
        return self.output(features)[..., : blurry.shape[-2], : blurry.shape[-1]]


class Layer(nn.Module):
    """3x3 convolution, batch normalisation, ReLU: [B,C,H,W] -> [B,D,H/stride,W/stride]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.padding = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, stride)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.norm(self.convolution(F.pad(features, self.padding))))


class UpLayer(nn.Module):
    """3x3 transposed convolution of stride 2, batch normalisation, ReLU.

    [B,C,H,W] -> [B,D,2H,2W].
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.convolution = nn.ConvTranspose2d(in_channels, out_channels, 3, 2)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)

    def forward(self, features: Tensor) -> Tensor:
        enlarged = self.convolution(features)  # [B,D,2H+1,2W+1]
        # Cropping here is the transpose of padding at the bottom and right alone.
        return F.relu(self.norm(enlarged[..., :-1, :-1]))


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"NoBlur": {}}
