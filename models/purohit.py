"""The sharp frames of a blurry image: its centre frame warped along the motion of the exposure.

A recurrent network sees the motion inside the blurry image (Purohit, Shah, Rajagopalan, CVPR 2019).
Notation: flows [B,N,2,h,w] in pixels of their own resolution, from the frame to be made to the
centre frame; scales 1, 1/2, 1/4, 1/8. The form is as HyperCUT published it: the network that should
encode the previous flow is always given zeros, so its features are the same for every frame and are
computed once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import without_autocast
from models.blur_motion import blur_motion, motion_axis
from models.contracts import SequenceNetwork, Values
from models.warp import warp

SLOPE = 0.1  # of the leaky ReLUs
MOTION_UNIT = 10.0  # px; the encoder sees motions in units of it
# Fraction of the bilinear support inside the image from which a warped pixel counts (published
# sampling).
VALID = 0.9999


class Purohit(SequenceNetwork):
    """Sharp frames [B,N,3,H,W] from a blurry image and its sharp centre frame [B,3,H,W].

    width: channels of the motion encoder's first layers; its last and the LSTM have twice as many.
    flow_channels: those of the flow's encoder and decoder on the scales 1, 1/2, 1/4 (164 is as
    published).
    sampling: `published` reads the position (p + flow) * size / (size - 1) - 1/2, so that no flow
    is a shift by half a pixel, with zeros outside, and takes every second pixel for the coarser
    scales; `plain` reads p + flow, repeats the border, and averages for the coarser scales.
    refine: a flow is the coarser one, doubled in size and values, plus what is predicted
    (published: predicted anew on every scale).
    closed_form: what is predicted is added to the uniform motion that models/blur_motion.py finds,
    which the motion encoder also sees; training starts there.
    values: what the network sees and gives, see NormalisedInput.
    With the default arguments 1,648,704 + 2,905,004 parameters.
    """

    multiple = 8
    needs_centre = True

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
        self.sampling = sampling
        self.closed_form = closed_form
        hidden = 2 * width
        self.bytes_per_pixel = 100 * width
        self.motion = MotionEncoder(8 if closed_form else 6, width)
        self.encoder = FlowEncoder((*flow_channels, hidden))
        self.lstm = nn.Conv2d(2 * hidden, 4 * hidden, 3, padding=1)
        self.decoder = FlowDecoder((hidden, *reversed(flow_channels)), refine)
        self._initialise()

    def _initialise(self) -> None:
        # With PyTorch's own start the blurry image is lost on its way through the seven layers.
        for part in (self.motion, self.encoder, self.decoder.ups):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, SLOPE)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        if self.closed_form:
            for output in self.decoder.outputs:
                nn.init.zeros_(output.weight)
                nn.init.zeros_(output.bias)

    def forward(
        self, blurry: Tensor, centre: Tensor, frames: int = 7, axis: Tensor | None = None
    ) -> Tensor:
        """Frames [B,N,3,H,W] of images [B,3,H,W], both of `values`; not clamped.

        frames: their number N. axis: see models/blur_motion.py; for the parts of one image, which
        must agree on the direction of time. Raises ValueError if H or W is no multiple of 8.
        """
        return self.warped(centre, self.flows(blurry, centre, frames, axis)[-1])

    def forward_scales(
        self, blurry: Tensor, centre: Tensor, frames: int = 7
    ) -> tuple[list[Tensor], list[Tensor]]:
        """(frames [B,N,3,h,w], finest scale first; flows [B,N,2,h,w], coarsest first)."""
        flows = self.flows(blurry, centre, frames)
        images = [
            self.warped(self.halved(centre, level), flow)
            for level, flow in enumerate(reversed(flows))
        ]
        return images, flows

    def unfold(
        self, blurry: Tensor, centre: Tensor | None = None, axis: Tensor | None = None
    ) -> Tensor:
        """The sharp frames [B,7,3,H,W] in [0,1] of a blurry image and its centre [B,3,H,W]."""
        frames = self(self.seen(blurry), self.seen(centre), self.frames, axis)
        return self.shown(frames.float())

    def time_axis(self, blurry: Tensor, centre: Tensor | None) -> Tensor:
        """See models/blur_motion.py: motion_axis."""
        return motion_axis(blurry, centre)

    def training_outputs(
        self, blurry: Tensor, centre: Tensor | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The frames at every scale, and as `flow` the mean length of the flows' components."""
        images, flows = self.forward_scales(blurry, centre)
        length = sum(flow.float().abs().mean() for flow in flows) / len(flows)
        return images, {"flow": length}

    def flows(
        self, blurry: Tensor, centre: Tensor, frames: int = 7, axis: Tensor | None = None
    ) -> list[Tensor]:
        """Flows [B,N,2,h,w] at 1/8, 1/4, 1/2 and full resolution; arguments as of `forward`."""
        if any(side % self.multiple for side in blurry.shape[-2:]):
            raise ValueError(
                f"image of {blurry.shape[-1]}x{blurry.shape[-2]} px: Purohit's sides are "
                f"multiples of {self.multiple}"
            )
        images = torch.cat((blurry, centre), 1)  # [B,6,H,W]
        if self.closed_form:
            motion = blur_motion(self.shown(blurry), self.shown(centre), axis)  # [B,2,H,W]
            images = torch.cat((images, (motion / MOTION_UNIT).to(images.dtype)), 1)  # [B,8,H,W]
        # The previous flow is published as zeros: one sample serves the whole batch.
        features = self.encoder(blurry.new_zeros(1, 2, *blurry.shape[-2:]))
        features = [feature.expand(len(blurry), -1, -1, -1) for feature in features]
        states = self._states(self.motion(images), features[-1], frames)  # [B,N,D,H/8,W/8]
        repeated = [feature.repeat_interleave(frames, 0) for feature in features]
        flows = self.decoder(states.flatten(0, 1), repeated)
        flows = [flow.unflatten(0, (-1, frames)) for flow in flows]
        if not self.closed_form:
            return flows
        uniform = uniform_flows(motion, frames)
        return [
            flow + averaged(uniform, level) / 2**level for level, flow in zip((3, 2, 1, 0), flows)
        ]

    def _states(self, hidden: Tensor, features: Tensor, frames: int) -> Tensor:
        """The LSTM's states [B,N,D,h,w] from its first one and the same input, both [B,D,h,w]."""
        cell = torch.zeros_like(hidden)
        states = []
        for _ in range(frames):
            gates = self.lstm(torch.cat((features, hidden), 1))  # [B,4D,h,w]
            accept, forget, release, candidate = gates.chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(accept) * torch.tanh(candidate)
            hidden = torch.sigmoid(release) * torch.tanh(cell)
            states.append(hidden)
        return torch.stack(states, 1)

    def halved(self, frames: Tensor, times: int) -> Tensor:
        """Frames [...,H,W] at half the size, `times` over.

        By every second pixel (published sampling) or by means of four (plain).
        """
        step = 2**times
        if self.sampling == "published":
            return frames[..., ::step, ::step]
        return averaged(frames, times)

    def warped(self, centre: Tensor, flow: Tensor) -> Tensor:
        """The centre frame [B,3,h,w] along flows [B,N,2,h,w]: [B,N,3,h,w]."""
        count = flow.shape[1]
        repeated = centre.repeat_interleave(count, 0)  # [B*N,3,h,w]
        flat = flow.flatten(0, 1)  # [B*N,2,h,w]
        if self.sampling == "plain":
            frames, _ = warp(repeated, flat)
        else:
            frames, mask = warp(repeated, flat, "zeros", align_corners=False, valid=VALID)
            frames = frames * mask
        return frames.unflatten(0, (-1, count))


def uniform_flows(motion: Tensor, frames: int) -> Tensor:
    """Flows [B,N,2,H,W] of an even motion [B,2,H,W], in px over the exposure.

    Frame k shows what the centre shows, moved on by its fraction of the motion.
    """
    steps = torch.arange(frames, device=motion.device) - frames // 2
    times = steps.view(-1, 1, 1, 1) / frames  # of the exposure, 0 at the centre
    return -times * motion[:, None]


def averaged(frames: Tensor, times: int) -> Tensor:
    """Frames [...,H,W] at half the size by means of four, `times` over."""
    step = 2**times
    return frames.unflatten(-1, (-1, step)).unflatten(-3, (-1, step)).mean((-1, -3))


class MotionEncoder(nn.Module):
    """Features of the motion, [B,2*width,H/8,W/8], from images [B,channels,H,W].

    The images are the blurry one and the centre frame. Seven 5x5 convolutions.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        widths = (width, width, width, 2 * width, 2 * width, 2 * width, 2 * width)
        layers = []
        for out_channels, stride in zip(widths, (1, 1, 2, 1, 1, 2, 2)):
            layers.append(nn.Conv2d(channels, out_channels, 5, stride, 2))
            layers.append(nn.LeakyReLU(SLOPE, inplace=True))
            channels = out_channels
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class FlowEncoder(nn.Module):
    """Features of a flow [B,2,H,W] at full, 1/2, 1/4 and 1/8 resolution."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        levels = zip((2, *widths), widths, (1, 2, 2, 2))
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, width, 3, stride, 1), LeakyBlock(width))
            for in_channels, width, stride in levels
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
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        inner = F.leaky_relu(self.conv1(features), SLOPE)
        return F.leaky_relu(features + self.conv2(inner), SLOPE)


class FlowDecoder(nn.Module):
    """Flows [B,2,h,w] at 1/8, 1/4, 1/2 and full resolution.

    They come from the LSTM's state [B,widths[0],H/8,W/8] and the encoder's features. widths:
    channels of the state on the scales 1/8, 1/4, 1/2, 1. refine: see Purohit.
    """

    def __init__(self, widths: tuple[int, ...], refine: bool):
        super().__init__()
        self.refine = refine
        self.ups = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 5, padding=2)
            for in_channels, out_channels in zip(widths, widths[1:])
        )
        # Feature and state; below the coarsest scale also the coarser flow.
        inputs = [2 * widths[0], *(2 * width + 2 for width in widths[1:])]
        self.outputs = nn.ModuleList(nn.Conv2d(channels, 2, 3, padding=1) for channels in inputs)

    def forward(self, state: Tensor, features: list[Tensor]) -> list[Tensor]:
        flows = [without_autocast(self.outputs[0], torch.cat((features[-1], state), 1))]
        for up, output, feature in zip(self.ups, self.outputs[1:], features[-2::-1]):
            state = F.leaky_relu(up(doubled(state)), SLOPE)
            coarser = doubled(flows[-1])
            flow = without_autocast(output, torch.cat((feature, state, coarser), 1))
            flows.append(flow + 2 * coarser if self.refine else flow)
        return flows


def doubled(features: Tensor) -> Tensor:
    """[B,C,2H,2W] of features [B,C,H,W], bilinear, half-pixel centres."""
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


# The authors' keys -> ours, and what is no part of the network; see models/published.py.
PUBLISHED_EXTRAS = ("loss.",)  # the HyperCUT network that sits in the published training's loss
PUBLISHED_KEYS = [
    ("bie.model.", "motion.layers."),
    *((f"rvd.flow_encoder.model.{level}.", f"encoder.levels.{level}.") for level in range(4)),
    ("rvd.conv_lstm.conv.", "lstm."),
    *((f"rvd.flow_decoder.deconvs.{level}.conv.", f"decoder.ups.{level}.") for level in range(3)),
    ("rvd.flow_decoder.convs.", "decoder.outputs."),
]

# Published sizes: name -> arguments
PUBLISHED_SIZES = {"Purohit": {}}
