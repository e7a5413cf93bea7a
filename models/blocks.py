"""Building blocks that several networks share."""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))): two "same" convolutions of one width, no normalisation, no activation after the sum."""

    def __init__(self, channels: int, kernel_size: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(self.relu(self.conv1(features)))
