"""The motion inside a blurry image, as a recurrent network sees it, and the centre frame warped
along it (Purohit et al., CVPR 2019).

Notation: flows [B,N,2,h,w] in pixels of their own resolution, from the frame to be made to the
centre frame; scales 1, 1/2, 1/4, 1/8. As HyperCUT published it: the network that should encode the
previous flow is always given zeros, so its features are the same for every frame and are computed
once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import SequenceNetwork, Values
from models.blur_motion import blur_motion
from models.warp import warp

SLOPE = 0.1
MOTION_UNIT = 10.0  # px; the encoder sees motions in units of it
# share of the bilinear support inside the image from which a warped pixel counts (published
# sampling)
VALID = 0.9999


class Purohit(SequenceNetwork):
    """Frames [B,N,3,H,W] from a blurry image and its sharp centre frame [B,3,H,W] of `values`, H
    and W multiples of 8.

    width: channels of the motion encoder's first layers, twice as many in its last and in the LSTM.
    flow_channels: those of the flow's encoder and decoder on the scales 1, 1/2, 1/4 (164 is as
    published). sampling: `published` reads the position (p + flow) * size / (size - 1) - 1/2, so
    that no flow is a shift by half a pixel, with zeros outside, and takes every second pixel for
    the coarser scales; `plain` reads p + flow, repeats the border, and averages for the coarser
    scales. refine: a flow is the coarser one, doubled in size and values, plus what is predicted
    (published: predicted anew on every scale). closed_form: what is predicted is added to the
    uniform motion that models/blur_motion.py finds, which the motion encoder also sees; training
    starts there. With the default arguments 1,648,704 + 2,905,004 parameters.
    """

    multiple = 8

    def __init__(
        self,
        width: int = 64,
        flow_channels: tuple[int, int, int] = (16, 32, 164),
        sampling: str = "published",
        refine: bool = False,
        closed_form: bool = False,
        values: Values = "imagenet_bgr",
    ):
        super().__init__(values)
        if sampling not in ("published", "plain") or len(flow_channels) != 3:
            raise ValueError(
                f"sampling {sampling!r} and flow_channels {flow_channels}: published or plain, "
                "and three numbers"
            )
        self.sampling, self.closed_form = sampling, closed_form
        hidden = 2 * width
        self.bytes_per_pixel = 100 * width
        self.motion = MotionEncoder(8 if closed_form else 6, width)
        self.encoder = FlowEncoder((*flow_channels, hidden))
        self.lstm = nn.Conv2d(2 * hidden, 4 * hidden, 3, padding=1)
        self.decoder = FlowDecoder((hidden, *reversed(flow_channels)), refine)
        for module in (
            *self.motion.modules(),
            *self.encoder.modules(),
            *self.decoder.ups.modules(),
        ):
            if isinstance(module, nn.Conv2d):
                # with PyTorch's own start the blurry image is lost on its way through the seven
                # layers
                nn.init.kaiming_normal_(module.weight, SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if closed_form:
            for output in self.decoder.outputs:
                nn.init.zeros_(output.weight)
                nn.init.zeros_(output.bias)

    def forward(
        self, blurry: Tensor, centre: Tensor, frames: int = 7, axis: Tensor | None = None
    ) -> Tensor:
        """The finest scale alone; not clamped. axis: see models/blur_motion.py; for the parts of
        one image, which must agree on time.
        """
        return self.warped(centre, self.flows(blurry, centre, frames, axis)[-1])

    def forward_scales(
        self, blurry: Tensor, centre: Tensor, frames: int = 7
    ) -> tuple[list[Tensor], list[Tensor]]:
        """(frames [B,N,3,h,w], finest scale first; flows [B,N,2,h,w], coarsest first)."""
        flows = self.flows(blurry, centre, frames)
        return [
            self.warped(self.halved(centre, level), flow)
            for level, flow in enumerate(reversed(flows))
        ], flows

    def flows(
        self, blurry: Tensor, centre: Tensor, frames: int = 7, axis: Tensor | None = None
    ) -> list[Tensor]:
        """Flows [B,N,2,h,w] at 1/8, 1/4, 1/2 and full resolution."""
        if any(side % self.multiple for side in blurry.shape[-2:]):
            raise ValueError(
                f"image of {blurry.shape[-1]}x{blurry.shape[-2]} px: Purohit's sides are "
                f"multiples of {self.multiple}"
            )
        images = torch.cat((blurry, centre), 1)
        if self.closed_form:
            motion = blur_motion(self.shown(blurry), self.shown(centre), axis)
            images = torch.cat((images, (motion / MOTION_UNIT).to(images.dtype)), 1)
        hidden = self.motion(images)
        features = self.encoder(
            blurry.new_zeros(1, 2, *blurry.shape[-2:])
        )  # of the previous flow: published as zeros, the same for all
        features = [feature.expand(len(blurry), -1, -1, -1) for feature in features]
        cell, states = torch.zeros_like(hidden), []
        for _ in range(frames):
            gates = self.lstm(torch.cat((features[-1], hidden), 1))
            accept, forget, release, candidate = gates.chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(accept) * torch.tanh(candidate)
            hidden = torch.sigmoid(release) * torch.tanh(cell)
            states.append(hidden)
        flows = self.decoder(
            torch.stack(states, 1).flatten(0, 1),
            [feature.repeat_interleave(frames, 0) for feature in features],
        )
        flows = [flow.unflatten(0, (-1, frames)) for flow in flows]
        if (
            self.closed_form
        ):  # frame k shows what the centre shows, moved on by its share of the motion
            times = (torch.arange(frames, device=blurry.device) - frames // 2).view(
                -1, 1, 1, 1
            ) / frames
            uniform = -times * motion[:, None]  # [B,N,2,H,W]
            flows = [
                flow + averaged(uniform, level) / 2**level
                for level, flow in zip((3, 2, 1, 0), flows)
            ]
        return flows

    def halved(self, frames: Tensor, times: int) -> Tensor:
        """Frames [...,H,W] at half the size, `times` over: every second pixel (published sampling)
        or means of four (plain).
        """
        step = 2**times
        if self.sampling == "published":
            return frames[..., ::step, ::step]
        return averaged(frames, times)

    def warped(self, centre: Tensor, flow: Tensor) -> Tensor:
        """The centre frame [B,3,h,w] along flows [B,N,2,h,w]: [B,N,3,h,w]."""
        repeated, flat = centre.repeat_interleave(flow.shape[1], 0), flow.flatten(0, 1)
        if self.sampling == "plain":
            frames, _ = warp(repeated, flat)
        else:
            frames, mask = warp(repeated, flat, "zeros", align_corners=False, valid=VALID)
            frames = frames * mask
        return frames.unflatten(0, (-1, flow.shape[1]))


def averaged(frames: Tensor, times: int) -> Tensor:
    """Frames [...,H,W] at half the size by means of four, `times` over."""
    step = 2**times
    return frames.unflatten(-1, (-1, step)).unflatten(-3, (-1, step)).mean((-1, -3))


class MotionEncoder(nn.Module):
    """What moved how, [B,2*width,H/8,W/8], from the blurry image and the centre frame
    [B,channels,H,W]: seven 5x5 convolutions.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        widths, strides = (
            (channels, width, width, width, 2 * width, 2 * width, 2 * width, 2 * width),
            (1, 1, 2, 1, 1, 2, 2),
        )
        layers = [
            nn.Conv2d(*pair, 5, stride, 2) for *pair, stride in zip(widths, widths[1:], strides)
        ]
        self.layers = nn.Sequential(
            *(part for layer in layers for part in (layer, nn.LeakyReLU(SLOPE, inplace=True)))
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class FlowEncoder(nn.Module):
    """Features of a flow [B,2,H,W] at full, 1/2, 1/4 and 1/8 resolution."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        levels = zip((2, *widths), widths, (1, 2, 2, 2))
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), LeakyBlock(after))
            for before, after, stride in levels
        )

    def forward(self, flow: Tensor) -> list[Tensor]:
        features = []
        for level in self.levels:
            flow = level(flow)
            features.append(flow)
        return features


class LeakyBlock(nn.Module):
    """leaky(x + conv(leaky(conv(x)))), 3x3 convolutions without bias."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2)
        )

    def forward(self, features: Tensor) -> Tensor:
        return F.leaky_relu(features + self.conv2(F.leaky_relu(self.conv1(features), SLOPE)), SLOPE)


class FlowDecoder(nn.Module):
    """Flows at 1/8, 1/4, 1/2 and full resolution from the LSTM's state and the encoder's features
    (refine: see Purohit).
    """

    def __init__(self, widths: tuple[int, ...], refine: bool):
        super().__init__()
        self.refine = refine
        self.ups = nn.ModuleList(
            nn.Conv2d(before, after, 5, padding=2) for before, after in zip(widths, widths[1:])
        )
        inputs = (
            2 * widths[0],
            *(2 * width + 2 for width in widths[1:]),
        )  # feature and state, then also the coarser flow
        self.outputs = nn.ModuleList(nn.Conv2d(channels, 2, 3, padding=1) for channels in inputs)

    def forward(self, state: Tensor, features: list[Tensor]) -> list[Tensor]:
        flows = [self.outputs[0](torch.cat((features[-1], state), 1))]
        for up, output, feature in zip(self.ups, self.outputs[1:], features[-2::-1]):
            state = F.leaky_relu(up(doubled(state)), SLOPE)
            coarser = doubled(flows[-1])
            flow = output(torch.cat((feature, state, coarser), 1))
            flows.append(flow + 2 * coarser if self.refine else flow)
        return flows


def doubled(features: Tensor) -> Tensor:
    """[B,C,2H,2W], bilinear, half-pixel centres."""
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


PUBLISHED_EXTRAS = ("loss.",)  # the HyperCUT network that sits in the published training's loss
PUBLISHED_KEYS = [
    ("bie.model.", "motion.layers."),
    *((f"rvd.flow_encoder.model.{level}.", f"encoder.levels.{level}.") for level in range(4)),
    ("rvd.conv_lstm.conv.", "lstm."),
    *((f"rvd.flow_decoder.deconvs.{level}.conv.", f"decoder.ups.{level}.") for level in range(3)),
    ("rvd.flow_decoder.convs.", "decoder.outputs."),
]
