"""What restores the centre frame of an aligned triplet in CDVD-TSP (models/cdvd_tsp.py).

Both networks see ten channels: the warped previous frame, the centre frame, the warped next frame,
the temporal sharpness prior; and three more where the cascade is recurrent.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ResidualBlock
from models.convolution import unshuffled_convolution
from models.nafnet import NAFNet


class Reconstruction(nn.Module):
    """The published encoder-decoder: three scales with additive skips.

    Widths width, 2*width, 4*width; `blocks` residual blocks per scale and direction. Without
    `global_skip` the output is the restored frame; with it, centre + correction, and the last layer
    starts at zero, so that training starts at the input. With `gate` the correction is multiplied
    per pixel by the sigmoid of a fourth output (needs `global_skip`).
    """

    def __init__(
        self,
        width: int = 32,
        blocks: int = 3,
        kernel_size: int = 5,
        downscale: int = 1,
        global_skip: bool = False,
        gate: bool = False,
        channels: int = 10,
    ):
        super().__init__()
        if gate and not global_skip:
            raise ValueError(
                "a gate scales the correction of the centre frame: it needs global_skip"
            )
        w1, w2, w3 = width, 2 * width, 4 * width
        self.downscale = downscale
        self.global_skip = global_skip
        self.gate = gate
        # The order in which layers are made decides their random start.
        down0 = _convolution(channels * downscale**2, w1, kernel_size)
        self.inward = nn.Sequential(down0, *_residual(w1, blocks, kernel_size))
        down1 = _convolution(w1, w2, kernel_size, stride=2)
        self.down1 = nn.Sequential(down1, *_residual(w2, blocks, kernel_size))
        down2 = _convolution(w2, w3, kernel_size, stride=2)
        self.down2 = nn.Sequential(down2, *_residual(w3, blocks, kernel_size))
        up2 = _upsampling(w3, w2)
        self.up2 = nn.Sequential(*_residual(w3, blocks, kernel_size), up2)
        up1 = _upsampling(w2, w1)
        self.up1 = nn.Sequential(*_residual(w2, blocks, kernel_size), up1)
        outputs = (4 if gate else 3) * downscale**2
        last = nn.Conv2d(w1, outputs, kernel_size, padding=kernel_size // 2)
        self.outward = nn.Sequential(*_residual(w1, blocks, kernel_size), last)
        if global_skip:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, stacked: Tensor, centre: Tensor) -> Tensor:
        """Restored frame [B,3,H,W] from the channels [B,10,H,W] and the centre frame [B,3,H,W]."""
        fine = self.inward(F.pixel_unshuffle(stacked, self.downscale))
        middle = self.down1(fine)  # half the size
        coarse = self.down2(middle)  # a quarter
        middle = self.up2(coarse) + middle
        fine = self.up1(middle) + fine
        output = F.pixel_shuffle(self.outward(fine), self.downscale)
        if self.gate:
            output = output[:, :3] * output[:, 3:].sigmoid()
        return centre + output if self.global_skip else output


class AlignedNAFNet(NAFNet):
    """NAFNet on the same channels: a correction of the centre frame, zero at first.

    blocks: at 1/4 of the resolution of its first level, its bottom; coarse_blocks: at a level
    below, 0: there is none. With `blend` two further outputs per pixel say how much of the warped
    neighbours' difference from the centre is added as it is, so that what a sharp neighbour shows
    need not pass through the network.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        blocks: int,
        downscale: int,
        coarse_blocks: int = 0,
        blend: bool = False,
    ):
        if coarse_blocks:
            super().__init__(width, (1, 1, blocks), coarse_blocks, (1, 1, 1), downscale)
        else:
            super().__init__(width, (1, 1), blocks, (1, 1), downscale)
        self.blend = blend
        self.intro = nn.Conv2d(channels * downscale**2, width, 3, padding=1)
        outputs = 5 if blend else 3
        self.ending = nn.Conv2d(width, outputs * downscale**2, 3, padding=1)
        nn.init.zeros_(self.ending.weight)
        nn.init.zeros_(self.ending.bias)

    def forward(self, stacked: Tensor, centre: Tensor) -> Tensor:
        """Restored frame [B,3,H,W] from the channels [B,10 or 13,H,W] and the centre [B,3,H,W]."""
        outputs = self.correction(unshuffled_convolution(stacked, self.intro, self.downscale))
        restored = centre + outputs[:, :3]
        if self.blend:
            neighbours = (stacked[:, 0:3], stacked[:, 6:9])
            for index, neighbour in enumerate(neighbours, start=3):
                restored = restored + outputs[:, index : index + 1] * (neighbour - centre)
        return restored

    def start_from(self, other: NAFNet, blocks: Sequence[int] | None = None) -> None:
        """Begin as another NAFNet of the same width.

        That is one for single images, which sees the centre frame alone, or one for video that was
        trained without `recurrent`. blocks: if it has more blocks at 1/4 of its first level's
        resolution, the ones to take, counted from 0; none: the first ones. Of a coarser level the
        first blocks are taken; one that the other does not have starts without effect. Raises
        ValueError for a network of another shape or without these blocks.
        """
        depth = len(_deep_blocks(self))
        available = _deep_blocks(other)
        if blocks is None or len(available) == depth:
            blocks = range(depth)
        if len(blocks) != depth or not all(0 <= block < len(available) for block in blocks):
            raise ValueError(f"the blocks {list(blocks)} of {len(available)} can't start {depth}")
        state = self.state_from(other)
        prefix = "encoders.2" if len(self.encoders) > 2 else "middle"
        for index, block in enumerate(blocks):
            state |= available[block].state_dict(prefix=f"{prefix}.{index}.")
        photo = not isinstance(other, AlignedNAFNet)
        offset = 3 * self.downscale**2 if photo else 0  # a photo's colours are the centre frame's
        own = self.state_dict()
        for key, columns in (("intro.weight", offset), ("ending.weight", 0), ("ending.bias", 0)):
            state[key] = _zero_padded(state[key], own[key], columns)
        taken = {key: state[key] for key in own if key in state}
        fits = all(taken[key].shape == own[key].shape for key in taken) and len(taken) == len(own)
        if other.downscale != self.downscale or not fits:
            raise ValueError(
                f"a NAFNet of width {other.width} with {other.downscale}x space-to-depth can't "
                f"start one of width {self.width}"
            )
        self.load_state_dict(taken)


def _deep_blocks(network: NAFNet) -> nn.Sequential:
    """The blocks at 1/4 of the resolution of the first level."""
    return network.encoders[2] if len(network.encoders) > 2 else network.middle


def _zero_padded(values: Tensor, own: Tensor, column: int) -> Tensor:
    """Zeros of the shape of `own` with `values` in its first rows, from a column on.

    Values that do not fit are returned as they are.
    """
    padded = torch.zeros_like(own)
    room = padded[: len(values)]
    if values.ndim > 1:
        room = room[:, column : column + values.shape[1]]
    if room.shape != values.shape:
        return values
    room.copy_(values)
    return padded


def _residual(channels: int, blocks: int, kernel_size: int) -> list[nn.Module]:
    return [ResidualBlock(channels, kernel_size) for _ in range(blocks)]


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2)
    return nn.Sequential(convolution, nn.ReLU(inplace=True))


def _upsampling(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 3, 2, 1, output_padding=1)
    return nn.Sequential(convolution, nn.ReLU(inplace=True))
