"""SRN: scale-recurrent network (Tao et al., CVPR 2018, arXiv 1802.01770), written anew from the
TensorFlow program's behaviour.

One encoder-decoder runs over a quarter, half and full size with the same weights; each scale sees
the blurry image and the result of the scale before. Conventions that decide the numbers are
TensorFlow 1's: SAME padding (one more at the bottom and right at stride 2) and bilinear resizing
whose source position is the destination's times the ratio, without a half-pixel shift.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ImageNetwork, ResidualBlock

SCALES = (4, 2, 1)  # reductions, from coarse to fine
STATE = 128  # channels of the recurrent state


class SRN(ImageNetwork):
    """variant: color (6,881,251 parameters); lstm, with a recurrent state between the scales
    (8,056,609); gray, color on one channel.

    lstm and gray see one colour at a time: an RGB image is restored as three images.
    """

    def __init__(self, variant: Literal["color", "lstm", "gray"] = "color", width: int = 32):
        super().__init__()
        if variant not in ("color", "lstm", "gray"):
            raise ValueError(f"SRN has the variants color, lstm and gray, not {variant!r}")
        self.variant = variant
        self.channels = 3 if variant == "color" else 1
        self.multiple, self.bytes_per_pixel = 16, (45 if self.channels == 3 else 90) * width
        w1, w2, w3 = width, 2 * width, 4 * width
        self.encoders = nn.ModuleList(
            [
                _stage(SameConv(2 * self.channels, w1), w1),
                _stage(SameConv(w1, w2, 2), w2),
                _stage(SameConv(w2, w3, 2), w3),
            ]
        )
        self.lstm = ConvLSTM(w3) if variant == "lstm" else None
        self.decoders = nn.ModuleList(_blocks(channels) for channels in (w1, w2, w3))
        self.ups = nn.ModuleList(
            [nn.ConvTranspose2d(w2, w1, 4, 2, 1), nn.ConvTranspose2d(w3, w2, 4, 2, 1)]
        )
        self.output = SameConv(w1, self.channels)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored image [B,3,H,W] of blurry ones of any size (edge repeated at the bottom and
        right to multiples of 16).
        """
        height, width = blurry.shape[-2:]
        padded = F.pad(
            blurry, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate"
        )
        images = padded.reshape(-1, self.channels, *padded.shape[-2:])
        return self.forward_scales(images)[-1].reshape(padded.shape)[..., :height, :width]

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """Results [B,C,H/4,W/4], [B,C,H/2,W/2], [B,C,H,W] of blurry images [B,C,H,W]; H and W
        multiples of 16, C = self.channels.
        """
        results, before, state = [], blurry, None
        for image in self.scales_of(blurry):
            size = image.shape[-2:]
            inputs = torch.cat((image, resize(before.detach(), size)), 1)
            fine = self.encoders[0](inputs)
            middle = self.encoders[1](fine)
            coarse = self.encoders[2](middle)
            if self.lstm is not None:
                if state is not None:
                    state = resize(state, coarse.shape[-2:])
                coarse, state = self.lstm(coarse, state)
            middle = F.relu(self.ups[1](self.decoders[2](coarse))) + middle
            fine = F.relu(self.ups[0](self.decoders[1](middle))) + fine
            before = self.output(self.decoders[0](fine))
            results.append(before)
        return results

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """An image [B,C,H,W] at a quarter, a half and the full size."""
        height, width = sharp.shape[-2:]
        return [resize(sharp, (round(height / factor), round(width / factor))) for factor in SCALES]


class ConvLSTM(nn.Module):
    """A convolutional LSTM cell: 3x3, forget bias 1, gates in the order input, new, forget,
    output.
    """

    def __init__(self, channels: int = STATE):
        super().__init__()
        self.channels = channels
        self.gates = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)

    def forward(self, features: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """(h [B,C,H,W], state [B,2C,H,W]) of features [B,C,H,W] and the state before: c and h, none
        = zeros.
        """
        if state is None:
            state = features.new_zeros(features.shape[0], 2 * self.channels, *features.shape[-2:])
        cell, hidden = state.chunk(2, 1)
        entry, new, forget, output = self.gates(torch.cat((features, hidden), 1)).chunk(4, 1)
        cell = cell * (forget + 1).sigmoid() + entry.sigmoid() * new.tanh()
        hidden = cell.tanh() * output.sigmoid()
        return hidden, torch.cat((cell, hidden), 1)


class SameConv(nn.Conv2d):
    """5x5 convolution with TensorFlow's SAME padding."""

    def __init__(self, before: int, after: int, stride: int = 1):
        super().__init__(before, after, 5, stride)

    def forward(self, features: Tensor) -> Tensor:
        padding = []
        for length in reversed(features.shape[-2:]):
            missing = max((-(-length // self.stride[0]) - 1) * self.stride[0] + 5 - length, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(features, padding))


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """[B,C,*size] of images [B,C,H,W], bilinear as TensorFlow 1 does it: source = destination *
    input size / output size.
    """
    for axis, length in ((2, size[0]), (3, size[1])):
        before = image.shape[axis]
        if before == length:
            continue
        position = torch.arange(length, device=image.device, dtype=torch.float32) * (
            before / length
        )
        low = position.floor().long()
        share = (position - low).to(image.dtype).view([-1, 1] if axis == 2 else [-1])
        first, second = (
            image.index_select(axis, place.clamp(max=before - 1)) for place in (low, low + 1)
        )
        image = first + (second - first) * share
    return image


def _stage(first: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(first, nn.ReLU(inplace=True), *_blocks(channels))


def _blocks(channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels, 5) for _ in range(3)))


def published_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of the authors' TensorFlow variables; those of the optimiser and the step
    counter are left out by name.

    Kernels are stored as (height, width, in, out), transposed ones as (height, width, out, in):
    both become (3, 2, 0, 1).
    """
    table = {"g_net/convLSTM/LSTM_conv": "lstm.gates", "g_net/dec1_0": "output"}
    for level in (1, 2, 3):
        table[f"g_net/enc{level}_1"] = f"encoders.{level - 1}.0"
        for block in (1, 2, 3):
            for conv in (1, 2):
                table[f"g_net/enc{level}_{block + 1}/conv{conv}"] = (
                    f"encoders.{level - 1}.{block + 1}.conv{conv}"
                )
                table[f"g_net/dec{level}_{4 - block}/conv{conv}"] = (
                    f"decoders.{level - 1}.{block - 1}.conv{conv}"
                )
        if level < 3:
            table[f"g_net/dec{level}_4"] = f"ups.{level - 1}"
    renamed = {}
    for name, value in state.items():
        name = name.removesuffix(":0")
        scope, _, kind = name.rpartition("/")
        if kind in ("Adam", "Adam_1") or name in (
            "Variable",
            "beta1_power",
            "beta2_power",
            "global_step",
        ):
            continue
        key = (
            f"{table.get(scope, scope)}.{ {'weights': 'weight', 'biases': 'bias'}.get(kind, kind) }"
        )
        renamed[key] = value.permute(3, 2, 0, 1).contiguous() if kind == "weights" else value
    return renamed


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' variables."""
    recurrent = "g_net/convLSTM/LSTM_conv/weights" in state
    _, _, before, width = state["g_net/enc1_1/weights"].shape
    return {"variant": "lstm" if recurrent else "color" if before == 6 else "gray", "width": width}


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"SRN": {}}
