"""Building blocks that several networks share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.convolution import SameConv2d


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))): two "same" convolutions of one width, no normalisation, no
    activation after the sum.
    """

    def __init__(self, channels: int, kernel_size: int = 3, padding_mode: str = "zeros"):
        super().__init__()
        self.conv1 = SameConv2d(channels, channels, kernel_size, padding_mode)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = SameConv2d(channels, channels, kernel_size, padding_mode)

    def forward(self, features: Tensor) -> Tensor:
        return added(self.conv2(self.relu(self.conv1(features))), features)


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


def without_autocast(layer: nn.Module, features: Tensor) -> Tensor:
    """What a layer gives in its own precision, for results that are coordinates.

    In bfloat16 a flow between 20 and 40 px would have steps of 0.16 px.
    """
    with torch.autocast(features.device.type, enabled=False):
        return layer(features.to(layer.weight.dtype))
