"""Trunks that judge images: ResNets of torchvision or pretrainedmodels, and a light relative.

In eval mode without gradients batch norms are multiplied into the convolutions in front of them.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import added
from utils.errors import UserError

# torchvision's names of a ResNet's parts, in their order
RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


class Trunk(nn.Sequential):
    """Modules in a row, ending with a batch norm's channels: [B,3,H,W] -> [B,out_channels,h,w]."""

    @property
    def out_channels(self) -> int:
        norms = [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]
        return norms[-1].num_features

    def forward(self, image: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            return super().forward(image)
        return _merged(self, image)


def _merged(layers: nn.Sequential, features: Tensor) -> Tensor:
    """What the layers give in eval mode, batch norms merged into convolutions."""
    remaining = list(layers)
    while remaining:
        layer = remaining.pop(0)
        if isinstance(layer, nn.Conv2d) and remaining and isinstance(remaining[0], nn.BatchNorm2d):
            features = normed_convolution(layer, remaining.pop(0), features)
        elif type(layer) is nn.Sequential:
            features = _merged(layer, features)
        elif type(layer).__module__ == "torchvision.models.resnet":
            features = _merged_block(layer, features)
        else:
            features = layer(features)
    return features


def _merged_block(block: nn.Module, features: Tensor) -> Tensor:
    """A residual block of torchvision in eval mode."""
    own = F.relu(normed_convolution(block.conv1, block.bn1, features), inplace=True)
    own = normed_convolution(block.conv2, block.bn2, own)
    if hasattr(block, "conv3"):
        own = normed_convolution(block.conv3, block.bn3, F.relu(own, inplace=True))
    shortcut = features
    if block.downsample is not None:
        shortcut = _merged(block.downsample, features)
    return F.relu(added(own, shortcut), inplace=True)


def normed_convolution(conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor) -> Tensor:
    """norm(conv(features)), in eval mode by one convolution: the norm scales its kernels."""
    if norm.training:
        return norm(conv(features))
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()  # [D]
    bias = norm.bias - norm.running_mean * factor
    if conv.bias is not None:
        bias = bias + conv.bias * factor
    return conv._conv_forward(features, conv.weight * factor.view(-1, 1, 1, 1), bias)


class LightStage(nn.Module):
    """A residual block of stride 2 with batch norm, as a basic block of ResNet."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.body = Trunk(
            *_conv_and_norm(in_channels, out_channels, 3, stride=2),
            nn.ReLU(inplace=True),
            *_conv_and_norm(out_channels, out_channels, 3),
        )
        self.shortcut = Trunk(*_conv_and_norm(in_channels, out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,D,H/2,W/2]."""
        # The shortcut is a 1x1 convolution of stride 2; written as one, its backward pass breaks
        # the heap (torch 2.12, CPU, channels_last, few channels).
        every_second = features[..., ::2, ::2]
        return F.relu(added(self.body(features), self.shortcut(every_second)), inplace=True)


def stages(backbone: str, widths: Sequence[int]) -> list[nn.Module]:
    """Modules in a row that end at stride 32; without the last two at stride 8."""
    if backbone == "light":
        if len(widths) != 5:
            raise UserError(
                f"the light backbone has 5 widths, of strides 2 to 32, not {len(widths)}"
            )
        stem = Trunk(*_conv_and_norm(3, widths[0], 3, stride=2), nn.ReLU(inplace=True))
        return [stem, *(LightStage(*pair) for pair in zip(widths, widths[1:]))]
    network = _resnet(backbone)
    if not all(hasattr(network, name) for name in RESNET_PARTS):
        raise UserError(
            f"{backbone} is no ResNet: IRP's trunks need the parts {', '.join(RESNET_PARTS)}"
        )
    return [getattr(network, name) for name in RESNET_PARTS]


def _resnet(backbone: str) -> nn.Module:
    package, _, name = backbone.rpartition(":")
    if package == "pretrainedmodels":
        return _pretrainedmodels_resnet(name)
    if package:
        raise UserError(
            f"unknown backbone {backbone!r}: light, a ResNet of torchvision, or "
            "pretrainedmodels:NAME"
        )
    from torchvision.models import get_model  # the light backbone does without

    try:
        return get_model(name, weights=None)
    except ValueError as error:
        raise UserError(
            f"torchvision has no model {name!r}: resnet18, resnet34, resnet50, ..., or light"
        ) from error


def _pretrainedmodels_resnet(name: str) -> nn.Module:
    try:
        import pretrainedmodels
    except ImportError as error:
        raise UserError(
            f"--backbone pretrainedmodels:{name} needs the packages pretrainedmodels and six: "
            "pip install pretrainedmodels six"
        ) from error
    if name not in pretrainedmodels.model_names:
        resnets = [known for known in pretrainedmodels.model_names if "resnet" in known]
        raise UserError(f"pretrainedmodels has no model {name!r}: it has {', '.join(resnets)}")
    return pretrainedmodels.__dict__[name](pretrained=None)


def _conv_and_norm(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    padding = kernel_size // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
    return conv, nn.BatchNorm2d(out_channels)
