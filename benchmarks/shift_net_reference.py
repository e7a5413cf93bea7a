"""Shift-Net computed literally, module for module as it was published: the reference for speed.

Plain functions over the modules of a models.shift_net.ShiftNet, in contiguous memory: nothing is
merged, reordered or written in place. tests/models/test_shift_net.py compares results.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.shift_blocks import (
    AttentionBlock,
    Body,
    ChannelAttention,
    ShiftBlocks,
    ShiftStep,
    UNet,
    shift_groups,
)
from models.shift_net import Fusion, ShiftNet


def restore_literally(network: ShiftNet, clip: Tensor, past: int, future: int) -> Tensor:
    """Restored frames [T-past-future,3,H,W] of a clip [T,3,H,W] with sides of right multiples."""
    x0 = attention_block(network.inward_block, network.inward(clip), network.inward_slope)
    r = x0
    for network_ in network.first:
        r = unet(network_, r)
    r = r + x0
    m = fusion(network.fusion, network.transition(r))
    kept = slice(past, len(clip) - future)
    z = network.outward(torch.cat((x0, r, m), 1)[kept])
    inner = z
    for network_ in network.last:
        inner = unet(network_, inner)
    return network.ending(inner + z) + clip[kept]


def attention(module: ChannelAttention, features: Tensor) -> Tensor:
    means = F.adaptive_avg_pool2d(features, 1)
    return features * torch.sigmoid(module.excite(F.relu(module.squeeze(means))))


def attention_block(module: AttentionBlock, features: Tensor, slope: Tensor) -> Tensor:
    inner = module.conv2(F.prelu(module.conv1(features), slope))
    return attention(module.attention, inner) + features


def attention_blocks(modules: nn.ModuleList, features: Tensor, slope: Tensor) -> Tensor:
    for module in modules:
        features = attention_block(module, features, slope)
    return features


def up(module: nn.Module, features: Tensor) -> Tensor:
    larger = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
    return module.conv(larger)


def unet(module: UNet, features: Tensor) -> Tensor:
    slope = module.slope
    e1 = attention_blocks(module.encoder[0], features, slope)
    e2 = attention_blocks(module.encoder[1], module.down[0](e1), slope)
    e3 = attention_blocks(module.encoder[2], module.down[1](e2), slope)
    d3 = attention_blocks(module.decoder[2], e3, slope)
    d2 = up(module.up[1], d3) + attention_block(module.skip[1], e2, slope)
    d2 = attention_blocks(module.decoder[1], d2, slope)
    d1 = up(module.up[0], d2) + attention_block(module.skip[0], e1, slope)
    return attention_blocks(module.decoder[0], d1, slope)


def fusion(module: Fusion, s: Tensor) -> Tensor:
    f = attention_block(module.entry, s, module.slope)
    features = F.prelu(module.shrink_conv(f), module.shrink_slope)
    levels = []
    for level, encoder in enumerate(module.encoder):
        features = blocks(encoder, features, module.slope)
        levels.append(features)
        if level < len(module.down):
            features = module.down[level](features)
    for level in reversed(range(len(module.decoder))):
        if level < len(module.up):
            skip = attention_block(module.skip[level], levels[level], module.slope)
            features = up(module.up[level], features) + skip
        features = blocks(module.decoder[level], features, module.slope)
    fine = F.pixel_shuffle(module.enlarge_conv(features), 2)
    skip = attention_block(module.outer_skip, f, module.slope)
    if module.concatenates:
        joined = module.join(torch.cat((fine, skip), 1))
    else:
        joined = module.join(F.prelu(fine, module.slope)) + skip
    return attention_block(module.exit, joined, module.slope)


def blocks(module: nn.Module, features: Tensor, slope: Tensor) -> Tensor:
    if isinstance(module, nn.ModuleList):
        return attention_blocks(module, features, slope)
    for step in module.steps:
        features = shift_step(step, features, module)
    return features


def shift_step(module: ShiftStep, features: Tensor, owner: ShiftBlocks) -> Tensor:
    half = features.shape[1] // 2
    if module.backward:
        rolled = torch.roll(features, -1, 0)
        trunk = torch.cat((features[:, half:], rolled[:, :half]), 1)
        moved = rolled[:, :half].clone()
        if not owner.wraps:
            trunk[-1] = features[-1]
            moved[-1] = features[-1, half:]
    else:
        rolled = torch.roll(features, 1, 0)
        trunk = torch.cat((rolled[:, half:], features[:, :half]), 1)
        moved = rolled[:, half:].clone()
        if not owner.wraps:
            trunk[0] = features[0]
            moved[0] = features[0, :half]
    shifted = module.smooth(spatial_shift(moved))
    both = torch.cat((trunk, shifted), 1)
    features = trunk + module.beta1 * body(module.body1, norm(module.norm1, both))
    return features + module.beta2 * body(module.body2, norm(module.norm2, features))


def spatial_shift(features: Tensor) -> Tensor:
    """Every group padded, cut and concatenated."""
    height, width = features.shape[-2:]
    parts = []
    for group, dy, dx in shift_groups(features.shape[1]):
        padded = F.pad(features[:, group], (8, 8, 8, 8))
        rows = slice(8 - dy, 8 - dy + height)
        parts.append(padded[:, :, rows, 8 - dx : 8 - dx + width])
    return torch.cat(parts, 1)


def norm(module: nn.Module, features: Tensor) -> Tensor:
    mean = features.mean(1, keepdim=True)
    variance = (features - mean).pow(2).mean(1, keepdim=True)
    normalised = (features - mean) / (variance + module.epsilon).sqrt()
    return module.weight.view(1, -1, 1, 1) * normalised + module.bias.view(1, -1, 1, 1)


def body(module: Body, features: Tensor) -> Tensor:
    inner = module.expand(features)
    inner = inner + module.local(inner)
    first, second = inner.chunk(2, 1)
    inner = first * second
    inner = inner + module.wide(inner) + module.near(inner)
    first, second = module.gate(inner).chunk(2, 1)
    inner = first * torch.sigmoid(second)
    return module.project(attention(module.attention, inner))
