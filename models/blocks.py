"""Building blocks that several networks share."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageNetwork(nn.Module):
    """A network that restores images [B,3,H,W] in [0,1] of any size to unclamped ones; what
    training asks of all of them.

    channels: of the images that `forward_scales` takes, 3 unless the network sees one colour at a
    time. multiple: sides that `forward` pads to. bytes_per_pixel: an upper bound of what `forward`
    needs at its peak in float32, measured at 640x640.
    """

    kind = "network for single images"
    channels = 3
    multiple: int
    bytes_per_pixel: int

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """The results at every scale the network is trained at; here the full one alone."""
        return [self(blurry)]

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """The sharp images that these results are compared with."""
        return [sharp]


Values = Literal["imagenet_rgb", "imagenet_bgr", "rgb"]
IMAGENET = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # means and deviations of red, green, blue


class SequenceNetwork(nn.Module):
    """A network of HyperCUT's family, which sees frames [...,3,H,W] as its weights were trained.

    values: what it sees. imagenet_rgb: (image - mean) / deviation with ImageNet's figures;
    imagenet_bgr: the same with red and blue exchanged and the figures left in the order red, green,
    blue, as HyperCUT's published training had it (OpenCV reads BGR); rgb: the image itself (Jin's
    own files).
    """

    kind = "network that makes or orders the moments of a blurry picture"

    def __init__(self, values: Values):
        super().__init__()
        if values not in ("imagenet_rgb", "imagenet_bgr", "rgb"):
            raise ValueError(f"values {values!r}: imagenet_rgb, imagenet_bgr or rgb")
        self.values = values

    def seen(self, image: Tensor) -> Tensor:
        """What the network sees of images [...,3,H,W], RGB in [0,1]."""
        if self.values == "rgb":
            return image
        mean, deviation = (image.new_tensor(figures).view(3, 1, 1) for figures in IMAGENET)
        image = image.flip(-3) if self.values == "imagenet_bgr" else image
        return (image - mean) / deviation

    def shown(self, frames: Tensor) -> Tensor:
        """The inverse of `seen`; results are not clamped."""
        if self.values == "rgb":
            return frames
        mean, deviation = (frames.new_tensor(figures).view(3, 1, 1) for figures in IMAGENET)
        image = frames * deviation + mean
        return image.flip(-3) if self.values == "imagenet_bgr" else image


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))): two "same" convolutions of one width, no normalisation, no
    activation after the sum.
    """

    def __init__(self, channels: int, kernel_size: int = 3, padding_mode: str = "zeros"):
        super().__init__()
        self.conv1 = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, padding_mode=padding_mode
        )
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, padding_mode=padding_mode
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(self.relu(self.conv1(features)))


def added(own: Tensor, other: Tensor) -> Tensor:
    """own + other; without gradients in the memory of `own`, a tensor that nobody else needs."""
    return own + other if torch.is_grad_enabled() else own.add_(other)


def multiplied(own: Tensor, other: Tensor) -> Tensor:
    """own * other; without gradients in the memory of `own`, a tensor that nobody else needs."""
    return own * other if torch.is_grad_enabled() else own.mul_(other)


class ChannelNorm(nn.Module):
    """Layer normalisation of [B,C,H,W] over the channels of each pixel: biased variance, then
    weight and bias [C].

    In channels_last memory the permutations cost nothing and the fused kernel runs on the pixels as
    they lie.
    """

    def __init__(self, channels: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, features: Tensor) -> Tensor:
        rows = features.permute(0, 2, 3, 1)  # [B,H,W,C]
        rows = F.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.epsilon)
        return rows.permute(0, 3, 1, 2)
