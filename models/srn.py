"""SRN: a scale-recurrent network (Tao et al., CVPR 2018, arXiv 1802.01770).

Written anew from the TensorFlow program's behaviour. One encoder-decoder runs over a quarter, half
and full size with the same weights; each scale sees the blurry image and the result of the scale
before. Conventions that decide the numbers are TensorFlow 1's: SAME padding (one more at the bottom
and right at stride 2) and bilinear resizing whose source position is the destination's times the
ratio, without a half-pixel shift.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ResidualBlock, added
from models.contracts import ImageNetwork
from models.convolution import in_layout_of, same_convolution

SCALES = (4, 2, 1)  # reductions, from coarse to fine
STATE = 128  # channels of the recurrent state


class SRN(ImageNetwork):
    """The network that restores an image at three scales with the same weights.

    variant: color (6,881,251 parameters); lstm, with a recurrent state between the scales
    (8,056,609); gray, color on one channel. lstm and gray see one colour at a time: an RGB image is
    restored as three images. width: channels at full size.
    """

    def __init__(self, variant: Literal["color", "lstm", "gray"] = "color", width: int = 32):
        super().__init__()
        if variant not in ("color", "lstm", "gray"):
            raise ValueError(f"SRN has the variants color, lstm and gray, not {variant!r}")
        self.variant = variant
        self.channels = 3 if variant == "color" else 1
        self.multiple = 16
        self.bytes_per_pixel = (55 if self.channels == 3 else 170) * width
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
        self.ups = nn.ModuleList([Up(w2, w1), Up(w3, w2)])
        self.output = SameConv(w1, self.channels)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        if self.lstm is not None:
            nn.init.trunc_normal_(self.lstm.gates.weight, std=1e-3, a=-2e-3, b=2e-3)

    def forward(self, blurry: Tensor) -> Tensor:
        """Restored images [B,3,H,W] of blurry ones of any size, in [0,1]; not clamped.

        The edge is repeated at the bottom and right to multiples of 16.
        """
        height, width = blurry.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = F.pad(blurry, padding, mode="replicate")
        images = padded.reshape(-1, self.channels, *padded.shape[-2:])  # [B,3,..] or [B*3,1,..]
        restored = self.forward_scales(images)[-1].reshape(padded.shape)
        return restored[..., :height, :width]

    def forward_scales(self, blurry: Tensor) -> list[Tensor]:
        """Results [B,C,H/4,W/4], [B,C,H/2,W/2], [B,C,H,W] of blurry images [B,C,H,W].

        H and W are multiples of 16, C = self.channels.
        """
        results = []
        coarser = blurry  # the coarsest scale sees the blurry image twice
        state = None
        for image in self.scales_of(blurry):
            lifted = resize(coarser.detach(), image.shape[-2:])
            fine = self.encoders[0](torch.cat((image, lifted), 1))  # [B,w1,h,w]
            middle = self.encoders[1](fine)  # [B,w2,h/2,w/2]
            coarse = self.encoders[2](middle)  # [B,w3,h/4,w/4]
            if self.lstm is not None:
                if state is not None:
                    state = resize(state, coarse.shape[-2:])
                coarse, state = self.lstm(coarse, state)
            middle = added(self.ups[1](self.decoders[2](coarse)), middle)
            fine = added(self.ups[0](self.decoders[1](middle)), fine)
            coarser = self.output(self.decoders[0](fine))  # [B,C,h,w]
            results.append(coarser)
        return results

    def scales_of(self, sharp: Tensor) -> list[Tensor]:
        """Images [B,C,H,W] at a quarter, a half and the full size."""
        height, width = sharp.shape[-2:]
        return [resize(sharp, (height // factor, width // factor)) for factor in SCALES]


class ConvLSTM(nn.Module):
    """A convolutional LSTM cell: 3x3, forget bias 1.

    The gates stand in the order input, new, forget, output.
    """

    def __init__(self, channels: int = STATE):
        super().__init__()
        self.channels = channels
        self.gates = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)

    def forward(self, features: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """(h [B,C,H,W], state [B,2C,H,W]) of features [B,C,H,W] and the state before.

        A state is the cell and h; None stands for zeros.
        """
        if state is None:
            state = features.new_zeros(features.shape[0], 2 * self.channels, *features.shape[-2:])
        cell, hidden = state.chunk(2, 1)
        gates = self.gates(torch.cat((features, hidden), 1))  # [B,4C,H,W]
        entry, new, forget, output = gates.chunk(4, 1)
        cell = cell * (forget + 1).sigmoid() + entry.sigmoid() * new.tanh()
        hidden = cell.tanh() * output.sigmoid()
        return hidden, torch.cat((cell, hidden), 1)


class SameConv(nn.Conv2d):
    """5x5 convolution with TensorFlow's SAME padding."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(in_channels, out_channels, 5, stride)

    def forward(self, features: Tensor) -> Tensor:
        stride = self.stride[0]
        if stride == 1:
            return same_convolution(features, self.weight, self.bias)
        padding = []  # left, right, top, bottom
        for length in reversed(features.shape[-2:]):
            steps = -(-length // stride) - 1
            missing = max(steps * stride + 5 - length, 0)
            padding += [missing // 2, missing - missing // 2]
        padded = F.pad(features, padding)
        return F.conv2d(padded, in_layout_of(padded, self.weight), self.bias, stride)


class Up(nn.ConvTranspose2d):
    """Twice the size by a transposed 4x4 convolution of stride 2, and ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 4, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        weight = in_layout_of(features, self.weight)
        return F.relu(F.conv_transpose2d(features, weight, self.bias, 2, 1), inplace=True)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """[B,C,*size] of images [B,C,H,W], bilinear as TensorFlow 1 does it.

    Source position = destination position * input size / output size.
    """
    for axis, length in ((2, size[0]), (3, size[1])):
        source_length = image.shape[axis]
        if source_length == length:
            continue
        index = torch.arange(length, device=image.device, dtype=torch.float32)
        position = index * (source_length / length)
        low = position.floor().long()
        fraction = (position - low).to(image.dtype)
        if axis == 2:
            fraction = fraction[:, None]
        last = source_length - 1
        first = image.index_select(axis, low.clamp(max=last))
        second = image.index_select(axis, (low + 1).clamp(max=last))
        image = first + (second - first) * fraction
    return image


def _stage(first: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(first, nn.ReLU(inplace=True), *_blocks(channels))


def _blocks(channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels, 5) for _ in range(3)))


# Variables of a training's checkpoint that are no weights; so are those that end in Adam.
_OPTIMISER = ("Variable", "beta1_power", "beta2_power", "global_step")


def published_state(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Our state dict of the authors' TensorFlow variables.

    Those of the optimiser and the step counter are left out by name. Kernels are stored as (height,
    width, in, out), transposed ones as (height, width, out, in): both become (3, 2, 0, 1).
    """
    scopes = _published_scopes()
    renamed = {}
    for name, value in state.items():
        name = name.removesuffix(":0")
        scope, _, kind = name.rpartition("/")
        if kind in ("Adam", "Adam_1") or name in _OPTIMISER:
            continue
        layer = scopes.get(scope, scope)
        if kind == "weights":
            renamed[f"{layer}.weight"] = value.permute(3, 2, 0, 1).contiguous()
        elif kind == "biases":
            renamed[f"{layer}.bias"] = value
        else:
            renamed[f"{layer}.{kind}"] = value  # the strict load then names it
    return renamed


def _published_scopes() -> dict[str, str]:
    """The authors' variable scopes -> our layers."""
    scopes = {"g_net/convLSTM/LSTM_conv": "lstm.gates", "g_net/dec1_0": "output"}
    for level in (1, 2, 3):
        encoder = f"encoders.{level - 1}"
        decoder = f"decoders.{level - 1}"
        scopes[f"g_net/enc{level}_1"] = f"{encoder}.0"
        for block in (1, 2, 3):
            for conv in ("conv1", "conv2"):
                scopes[f"g_net/enc{level}_{block + 1}/{conv}"] = f"{encoder}.{block + 1}.{conv}"
                scopes[f"g_net/dec{level}_{4 - block}/{conv}"] = f"{decoder}.{block - 1}.{conv}"
    for level in (1, 2):
        scopes[f"g_net/dec{level}_4"] = f"ups.{level - 1}"
    return scopes


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' variables."""
    _, _, in_channels, width = state["g_net/enc1_1/weights"].shape
    if "g_net/convLSTM/LSTM_conv/weights" in state:
        variant = "lstm"
    elif in_channels == 6:
        variant = "color"
    else:
        variant = "gray"
    return {"variant": variant, "width": width}


# Published sizes: name -> arguments
PUBLISHED_SIZES = {"SRN": {}}
