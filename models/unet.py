"""No-Blur U-Net: the U-Net of a student project that a survey of deblurring networks compares;
trained there on Gaussian blur.

Conventions are those of Keras: SAME padding, which at stride 2 adds one row and column at the
bottom and right.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ImageNetwork
from utils.tiling import pad_to_multiple


class NoBlurUNet(ImageNetwork):
    """Five layers down, four up; with the default width 8,600,067 trainable parameters."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.multiple, self.bytes_per_pixel = 16, 20 * width
        widths = [3, width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.downs = nn.ModuleList(
            Layer(*pair, stride) for *pair, stride in zip(widths, widths[1:], (2, 2, 2, 2, 1))
        )
        ups = [
            (8 * width, 8 * width),
            (12 * width, 4 * width),
            (6 * width, 2 * width),
            (3 * width, width),
        ]
        self.ups = nn.ModuleList(UpLayer(before, after) for before, after in ups)
        self.output = nn.ConvTranspose2d(width, 3, 3, padding=1)
        for module in self.modules():  # Keras starts so
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored image [B,3,H,W] of blurry ones of any size (padded by reflection at the bottom
        and right to multiples of 16).
        """
        features, skips = pad_to_multiple(blurry, self.multiple), []
        for down in self.downs:
            features = down(features)
            skips.append(features)
        for up, skip in zip(self.ups, (*skips[2::-1], None)):
            features = up(features)
            features = features if skip is None else torch.cat((skip, features), 1)
        return self.output(features)[..., : blurry.shape[-2], : blurry.shape[-1]]


class Layer(nn.Module):
    """3x3 convolution, batch normalisation, ReLU: [B,C,H,W] -> [B,D,H/stride,W/stride]."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.padding = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        self.convolution = nn.Conv2d(before, after, 3, stride)
        self.norm = nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.norm(self.convolution(F.pad(features, self.padding))))


class UpLayer(nn.Module):
    """3x3 transposed convolution of stride 2, batch normalisation, ReLU: [B,C,H,W] ->
    [B,D,2H,2W].
    """

    def __init__(self, before: int, after: int):
        super().__init__()
        self.convolution = nn.ConvTranspose2d(before, after, 3, 2)
        self.norm = nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)

    def forward(self, features: Tensor) -> Tensor:
        enlarged = self.convolution(features)[
            ..., :-1, :-1
        ]  # the transpose of padding at the bottom and right alone
        return F.relu(self.norm(enlarged))


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"NoBlur": {}}
