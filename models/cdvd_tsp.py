"""CDVD-TSP: cascaded video deblurring with a temporal sharpness prior (Pan, Bai, Tang, CVPR 2020,
arXiv 2004.02501).

One stage restores the centre of three frames: both neighbours are warped onto the centre by optical
flow, the prior says per pixel how far the three agree, a residual encoder-decoder reads all ten
channels. T stages with shared weights need 2T+1 frames: stage 1 restores every inner frame from its
triplet, stage 2 restores from triplets of stage-1 results, ... The published network is the default
of every argument below; the shipped small one sets others (see its weights).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ResidualBlock
from models.dis_flow import DISFlow
from models.nafnet import NAFNet
from models.pwc_net import PUBLISHED_KEYS as PWC_KEYS
from models.pwc_net import PWCNet
from models.warp import warp
from utils.tiling import restore_tiled

TILE_OVERLAP = 192  # px; the reconstruction reaches about 130 px, though hardly beyond 70
PRIOR_WINDOW = 5  # the prior averages frames over 5x5 pixels first


class CDVDTSP(nn.Module):
    """The cascade; with the default arguments the published network (16,187,045 parameters).

    stages: T, clips have 2T+1 frames. width, blocks, kernel_size: of the reconstruction (see
    there). downscale: the reconstruction works on s x s space-to-depth. global_skip: it predicts a
    correction of the centre frame (the published one predicts the frame itself); gate: scaled per
    pixel by a second output in 0..1. flow: "pwc" (learned) or "dis" (OpenCV's DIS, no weights).
    align_corners: sampling convention, see models/warp.py. body: what reconstructs, "residual"
    (published) or "naf": NAFNet with `blocks` blocks at its bottom, which predicts a correction of
    the centre frame whatever kernel_size, global_skip and gate say. prior: without it ones stand in
    its place (the paper's ablation). recurrent: the reconstruction also sees its own result for the
    previous frame, aligned; clips may then be longer than 2T+1 frames.
    """

    def __init__(
        self,
        stages: int = 2,
        width: int = 32,
        blocks: int = 3,
        kernel_size: int = 5,
        downscale: int = 1,
        global_skip: bool = False,
        gate: bool = False,
        flow: str = "pwc",
        align_corners: bool = True,
        body: str = "residual",
        prior: bool = True,
        recurrent: bool = False,
    ):
        super().__init__()
        if body not in ("residual", "naf"):
            raise ValueError(f"unknown body {body!r}: choose from residual, naf")
        if flow not in FLOWS:
            raise ValueError(f"unknown flow {flow!r}: choose from {', '.join(FLOWS)}")
        if stages < 1:
            raise ValueError(f"a cascade has at least one stage, got stages={stages}")
        self.stages = stages
        self.frames = 2 * stages + 1
        self.multiple = 4 * downscale  # H and W must be multiples of this
        # Peaks per pixel, upper bounds of what was measured with both flows at 128x192 .. 1440x2560
        # in float32: of `stream` without the reconstruction, and of the reconstruction.
        self.stream_bytes_per_pixel = 500
        self.tile = 0  # side of the tiles that the reconstruction works in, px; 0 = whole frames
        self.align_corners = align_corners
        self.flow = FLOWS[flow](align_corners)
        self.prior, self.recurrent = prior, recurrent
        channels = 13 if recurrent else 10
        if body == "naf":
            self.reconstruction: nn.Module = AlignedNAFNet(channels, width, blocks, downscale)
            self.reconstruction_bytes_per_pixel = self.reconstruction.bytes_per_pixel
        else:
            self.reconstruction = Reconstruction(
                width, blocks, kernel_size, downscale, global_skip, gate, channels
            )
            self.reconstruction_bytes_per_pixel = 60 * width // downscale**2

    def forward(self, clip: Tensor) -> Tensor:
        """Restored centre frame [B,3,H,W] of clips [B,2T+1,3,H,W], RGB in [0,1]; H, W multiples of
        `self.multiple`.
        """
        return self.forward_stages(clip)[-1][:, 0]

    def forward_stages(self, clip: Tensor) -> list[Tensor]:
        """Results of every stage: [B,2T-1,3,H,W], [B,2T-3,3,H,W], ..., [B,1,3,H,W]."""
        fits = clip.ndim == 5 and (
            clip.shape[1] == self.frames or self.recurrent and clip.shape[1] > self.frames
        )
        if not fits or clip.shape[2] != 3:
            raise ValueError(
                f"{self.stages} stages need clips [B,{self.frames},3,H,W], got {tuple(clip.shape)}"
            )
        if clip.shape[3] % self.multiple or clip.shape[4] % self.multiple:
            raise ValueError(
                f"height and width must be multiples of {self.multiple}, got "
                f"{tuple(clip.shape[3:])}: pad first"
            )
        results = []
        for _ in range(self.stages):
            if self.recurrent:
                clip = torch.stack(list(self._stream_stage(clip.unbind(1), 0, None)), 1)
            else:
                triplets = [clip[:, i : clip.shape[1] - 2 + i].flatten(0, 1) for i in range(3)]
                clip = self.restore_triplet(*triplets).unflatten(
                    0, (clip.shape[0], clip.shape[1] - 2)
                )
            results.append(clip)
        return results

    def restore_triplet(self, previous: Tensor, centre: Tensor, following: Tensor) -> Tensor:
        """One stage: the restored centre [B,3,H,W] of three consecutive frames [B,3,H,W] each."""
        triplet = previous, centre, following
        return self._restore(triplet, [self.flow.pyramid(frame) for frame in triplet], previous)

    def restore_still(self, frame: Tensor) -> Tensor:
        """One stage on a frame [B,3,H,W] that is its own neighbour: nothing moves, so no flow is
        estimated and the prior is 1.
        """
        before = [frame] if self.recurrent else []
        return self.reconstruction(
            torch.cat((frame, frame, frame, torch.ones_like(frame[:, :1]), *before), 1), frame
        )

    def stream(
        self, frames: Iterable[Tensor], observe: Callable[[int, Tensor], None] | None = None
    ) -> Iterator[Tensor]:
        """Restored inner frames [B,3,H,W] of a video given frame by frame: 2T fewer than came in,
        the same as `forward` gives.

        Each frame's pyramid, flow and stage result is computed once (per frame and stage two flows
        and one reconstruction, where the windowed form computes up to 2T-1 times as many), and
        three frames per stage are held, however long the video. The caller pads H and W to
        `self.multiple` and, if the ends of the video shall be restored too, extends it by T frames
        on both sides. observe(stage, frame) is called with every stage's results as they come;
        stage counts from 1.
        """
        for stage in range(1, self.stages + 1):
            frames = self._stream_stage(frames, stage, observe)
        yield from frames

    def _stream_stage(
        self, frames: Iterable[Tensor], stage: int, observe: Callable[[int, Tensor], None] | None
    ) -> Iterator[Tensor]:
        window: deque[tuple[Tensor, list[Tensor]]] = deque(maxlen=3)
        restored = None
        for frame in frames:
            window.append((frame, self.flow.pyramid(frame)))
            if len(window) == 3:
                restored = self._restore(
                    *zip(*window), before=window[0][0] if restored is None else restored
                )
                if observe:
                    observe(stage, restored)
                yield restored

    def _restore(
        self, triplet: Sequence[Tensor], features: Sequence[list[Tensor]], before: Tensor
    ) -> Tensor:
        """The restored centre of three frames whose flow features are known; `before` is what there
        is of the first one's restoration.
        """
        stacked, flow = self._align(triplet, features)
        if self.recurrent:
            before, mask = warp(before, flow.chunk(2)[0], align_corners=self.align_corners)
            stacked = torch.cat((stacked, before * mask), 1)
        if not self.tile:
            return self.reconstruction(stacked, triplet[1])
        # the centre frame stands in the fourth to sixth channel
        return restore_tiled(
            lambda part: self.reconstruction(part, part[:, 3:6]),
            stacked,
            self.tile,
            TILE_OVERLAP,
            self.multiple,
        )

    def flow_and_prior(
        self, previous: Tensor, centre: Tensor, following: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What one stage sees of three frames [B,3,H,W]: the flow [B,2,H,W] centre -> following,
        and the prior [B,1,H,W].
        """
        triplet = previous, centre, following
        stacked, flow = self._align(triplet, [self.flow.pyramid(frame) for frame in triplet])
        return flow.chunk(2)[1], stacked[:, 9:]

    def _align(
        self, triplet: Sequence[Tensor], features: Sequence[list[Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """The reconstruction's ten channels [B,10,H,W], and the flows [2B,2,H,W] to the previous
        and following frames as one batch.
        """
        previous, centre, following = triplet
        twice = [torch.cat((level, level)) for level in features[1]]
        others = [torch.cat(levels) for levels in zip(features[0], features[2])]
        flow = self.flow.flow_between(twice, others, centre.shape[-2:]).to(
            centre.device
        )  # DIS answers on the CPU
        warped, mask = warp(
            torch.cat((previous, following)), flow, align_corners=self.align_corners
        )
        (previous, following), masks = (warped * mask).chunk(2), mask.chunk(2)
        prior = (
            sharpness_prior(previous, centre, following, masks[0] * masks[1])
            if self.prior
            else torch.ones_like(masks[0])
        )
        return torch.cat((previous, centre, following, prior), 1), flow


def sharpness_prior(previous: Tensor, centre: Tensor, following: Tensor, mask: Tensor) -> Tensor:
    """Temporal sharpness prior [B,1,H,W] in [0,1]: near 1 where the aligned frames [B,3,H,W] agree.

    exp(-sqrt(sum_c sum_j (mean5(I_j) - mean5(I))^2 / 2)) * mask, as in the published code: the
    squared differences are of 5x5 means (zero padding, always divided by 25), and the root is
    taken, unlike the paper's eq. 5. No gradient.
    """
    with torch.no_grad(), torch.autocast(centre.device.type, enabled=False):
        previous, centre, following = (
            _mean_5x5(frame.detach().float()) for frame in (previous, centre, following)
        )
        difference = ((previous - centre) ** 2 + (following - centre) ** 2).sum(1, keepdim=True) / 2
        return torch.exp(-difference.sqrt()) * mask


def _mean_5x5(image: Tensor) -> Tensor:
    """Box mean with zero padding; as a convolution it is ten times as fast on a CPU as
    avg_pool2d.
    """
    channels = image.shape[1]
    box = image.new_full((channels, 1, PRIOR_WINDOW, PRIOR_WINDOW), 1 / PRIOR_WINDOW**2)
    return F.conv2d(image, box, padding=PRIOR_WINDOW // 2, groups=channels)


class Reconstruction(nn.Module):
    """Encoder-decoder on [warped previous, centre, warped next, prior] (10 channels) with additive
    skips, three scales.

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
        self.downscale, self.global_skip, self.gate = downscale, global_skip, gate
        self.inward = _Level(
            _convolution(channels * downscale**2, w1, kernel_size), blocks, kernel_size
        )
        self.down1 = _Level(_convolution(w1, w2, kernel_size, stride=2), blocks, kernel_size)
        self.down2 = _Level(_convolution(w2, w3, kernel_size, stride=2), blocks, kernel_size)
        self.up2 = _Level(_upsampling(w3, w2), blocks, kernel_size, first=False)
        self.up1 = _Level(_upsampling(w2, w1), blocks, kernel_size, first=False)
        last = nn.Conv2d(
            w1, (4 if gate else 3) * downscale**2, kernel_size, padding=kernel_size // 2
        )
        if global_skip:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.outward = _Level(last, blocks, kernel_size, first=False)

    def forward(self, stacked: Tensor, centre: Tensor) -> Tensor:
        """Restored frame [B,3,H,W] from the ten channels [B,10,H,W] and the centre frame
        [B,3,H,W].
        """
        fine = self.inward(F.pixel_unshuffle(stacked, self.downscale))
        middle = self.down1(fine)
        coarse = self.down2(middle)
        middle = self.up2(coarse) + middle
        fine = self.up1(middle) + fine
        output = F.pixel_shuffle(self.outward(fine), self.downscale)
        if self.gate:
            output = output[:, :3] * output[:, 3:].sigmoid()
        return centre + output if self.global_skip else output


class AlignedNAFNet(NAFNet):
    """NAFNet (two levels above its bottom) on the same channels; it predicts a correction of the
    centre frame, zero at first.
    """

    def __init__(self, channels: int, width: int, blocks: int, downscale: int):
        super().__init__(width, (1, 1), blocks, (1, 1), downscale)
        self.intro = nn.Conv2d(channels * downscale**2, width, 3, padding=1)
        nn.init.zeros_(self.ending.weight)
        nn.init.zeros_(self.ending.bias)

    def forward(self, stacked: Tensor, centre: Tensor) -> Tensor:
        """Restored frame [B,3,H,W] from the channels [B,10,H,W] (or 13) and the centre frame
        [B,3,H,W].
        """
        return centre + self.correction(self.intro(F.pixel_unshuffle(stacked, self.downscale)))

    def start_from(self, other: NAFNet, blocks: Sequence[int] | None = None) -> None:
        """Begin as a network for single images of the same width, which sees the centre frame
        alone, or as one for video that was trained without `recurrent`. blocks: if it has more
        blocks at the bottom, the ones to take, counted from 0; none: the first ones.

        Raises ValueError for a network of another shape or without these blocks.
        """
        every = len(other.middle) == len(self.middle)
        blocks = list(range(len(self.middle)) if every or blocks is None else blocks)
        if len(blocks) != len(self.middle) or not all(
            0 <= block < len(other.middle) for block in blocks
        ):
            raise ValueError(
                f"the blocks {blocks} of {len(other.middle)} can't start {len(self.middle)}"
            )
        state, own = other.state_dict(), self.state_dict()
        for place, block in enumerate(blocks):
            state |= other.middle[block].state_dict(prefix=f"middle.{place}.")
        taken = {
            key: state[key]
            for key in own
            if key in state and key != "intro.weight" and state[key].shape == own[key].shape
        }
        intro, seen = torch.zeros_like(own["intro.weight"]), state["intro.weight"]
        first = (
            0 if isinstance(other, AlignedNAFNet) else 3 * self.downscale**2
        )  # a photo's colours are the centre frame's
        if (
            other.downscale != self.downscale
            or len(taken) != len(own) - 1
            or first + seen.shape[1] > intro.shape[1]
        ):
            raise ValueError(
                f"a NAFNet of width {other.width} with {other.downscale}x space-to-depth can't "
                f"start one of width {self.width}"
            )
        intro[:, first : first + seen.shape[1]] = seen
        self.load_state_dict(taken | {"intro.weight": intro})


class _Level(nn.Sequential):
    """The scale's own layer before (`first`) or after its residual blocks."""

    def __init__(self, layer: nn.Module, blocks: int, kernel_size: int, first: bool = True):
        own = layer[0] if isinstance(layer, nn.Sequential) else layer
        residual = [
            ResidualBlock(own.out_channels if first else own.in_channels, kernel_size)
            for _ in range(blocks)
        ]
        super().__init__(layer, *residual) if first else super().__init__(*residual, layer)


def _convolution(before: int, after: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size, stride, kernel_size // 2), nn.ReLU(inplace=True)
    )


def _upsampling(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1), nn.ReLU(inplace=True)
    )


FLOWS = {"pwc": PWCNet, "dis": DISFlow}

# The authors' keys -> ours, as (prefix, prefix) pairs; the first that fits wins.
PUBLISHED_KEYS = [
    *(("flow_net.moduleNetwork." + theirs, "flow." + ours) for theirs, ours in PWC_KEYS),
    ("recons_net.inBlock.", "reconstruction.inward."),
    ("recons_net.encoder_first.", "reconstruction.down1."),
    ("recons_net.encoder_second.", "reconstruction.down2."),
    ("recons_net.decoder_second.", "reconstruction.up2."),
    ("recons_net.decoder_first.", "reconstruction.up1."),
    ("recons_net.outBlock.", "reconstruction.outward."),
]


def published_arguments(state: dict[str, Tensor]) -> dict:
    """Constructor arguments read off the authors' state dict (the number of stages leaves no trace
    in it).
    """
    width, _, kernel_size, _ = state["recons_net.inBlock.0.0.weight"].shape
    blocks = sum(
        key.startswith("recons_net.inBlock.") and key.endswith("conv1.weight") for key in state
    )
    return {"width": width, "blocks": blocks, "kernel_size": kernel_size}
