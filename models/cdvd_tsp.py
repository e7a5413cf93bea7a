"""CDVD-TSP: cascaded video deblurring with a temporal sharpness prior (Pan, Bai, Tang, CVPR 2020,
arXiv 2004.02501).

One stage restores the centre of three frames: both neighbours are warped onto the centre by optical
flow, the prior says per pixel how far the three agree, a residual encoder-decoder reads all ten
channels. T stages with shared weights need 2T+1 frames: stage 1 restores every inner frame from its
triplet, stage 2 restores from triplets of stage-1 results, ... The published network is the default
of every argument below; the shipped small one sets others (see its weights).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contracts import Observer, VideoNetwork, too_large
from models.convolution import MIN_KERNEL
from models.dis_flow import DISFlow
from models.nafnet import NAFNet
from models.pwc_net import PUBLISHED_KEYS as PWC_KEYS
from models.pwc_net import PWCNet
from models.reconstruction import AlignedNAFNet, Reconstruction
from models.warp import warp
from utils.errors import UserError
from utils.tiling import MEMORY_FRACTION, restore_tiled, tile_for

TILE_OVERLAP = 192  # px; the reconstruction reaches about 130 px, though hardly beyond 70
PRIOR_WINDOW = 5  # the prior averages frames over 5x5 pixels first
CENTRE = slice(3, 6)  # the centre frame's channels of what the reconstruction sees


class CDVDTSP(VideoNetwork):
    """The cascade; with the default arguments the published network (16,187,045 parameters).

    stages: T, clips have 2T+1 frames. width, blocks, kernel_size: of the reconstruction (see
    there). downscale: the reconstruction works on s x s space-to-depth. global_skip: it predicts a
    correction of the centre frame (the published one predicts the frame itself); gate: scaled per
    pixel by a second output in 0..1. flow: "pwc" (learned) or "dis" (OpenCV's DIS, no weights).
    align_corners: sampling convention, see models/warp.py. body: what reconstructs, "residual"
    (published) or "naf": NAFNet with `blocks` blocks at its bottom, which predicts a correction of
    the centre frame whatever kernel_size, global_skip and gate say; coarse_blocks: of a level below
    that bottom, blend: the aligned neighbours may be added as they are (both: see AlignedNAFNet).
    prior: without it ones stand in its place (the paper's ablation). recurrent: the reconstruction
    also sees its own result for the previous frame, aligned; clips may then be longer than 2T+1
    frames.
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
        coarse_blocks: int = 0,
        blend: bool = False,
    ):
        super().__init__()
        if body not in ("residual", "naf"):
            raise ValueError(f"unknown body {body!r}: choose from residual, naf")
        if flow not in FLOWS:
            raise ValueError(f"unknown flow {flow!r}: choose from {', '.join(FLOWS)}")
        if body != "naf" and (coarse_blocks or blend):
            raise ValueError("coarse_blocks and blend are of body naf")
        if stages < 1:
            raise ValueError(f"a cascade has at least one stage, got stages={stages}")
        self.stages = stages
        self.frames = 2 * stages + 1
        self.lost = stages
        self.context = None if recurrent else stages
        self.longer_clips = recurrent
        self.multiple = 4 * downscale
        # Upper bounds of what was measured with both flows at 128x192 .. 1440x2560 in float32: of
        # `stream` without the reconstruction, and of the reconstruction.
        self.stream_bytes_per_pixel = 500
        self.align_corners = align_corners
        self.flow = FLOWS[flow](align_corners)
        self.prior = prior
        self.recurrent = recurrent
        channels = 13 if recurrent else 10
        if body == "naf":
            self.reconstruction: nn.Module = AlignedNAFNet(
                channels, width, blocks, downscale, coarse_blocks, blend
            )
            self.multiple = self.reconstruction.multiple
            self.reconstruction_bytes_per_pixel = self.reconstruction.bytes_per_pixel
        else:
            self.reconstruction = Reconstruction(
                width, blocks, kernel_size, downscale, global_skip, gate, channels
            )
            by_fourier = kernel_size >= MIN_KERNEL  # which takes more, see models/convolution.py
            self.reconstruction_bytes_per_pixel = (
                (110 if by_fourier else 60) * width // downscale**2
            )
        self.bytes_per_pixel = self.stream_bytes_per_pixel + self.reconstruction_bytes_per_pixel

    def forward(self, clip: Tensor) -> Tensor:
        """Restored centre frame [B,3,H,W] of clips [B,2T+1,3,H,W]."""
        return self.restore_clip(clip)[:, 0]

    def restore_clip(self, clip: Tensor) -> Tensor:
        """The last stage's results [B,T-2*stages,3,H,W] of clips [B,T,3,H,W]."""
        self._check(clip)
        return self._stages(clip)[-1]

    def forward_stages(self, clip: Tensor) -> list[Tensor]:
        """Results of every stage: [B,2T-1,3,H,W], [B,2T-3,3,H,W], ..., [B,1,3,H,W]."""
        self._check(clip)
        if clip.shape[1] != self.frames and not self.longer_clips:
            raise ValueError(
                f"{self.stages} stages need clips [B,{self.frames},3,H,W], got {tuple(clip.shape)}"
            )
        return self._stages(clip)

    def training_outputs(self, clip: Tensor) -> list[tuple[Tensor, slice]]:
        """Every stage's results, as published, and the frames they belong to."""
        results = self.forward_stages(clip)
        frames = clip.shape[1]
        return [
            (result, slice(stage, frames - stage)) for stage, result in enumerate(results, start=1)
        ]

    def _check(self, clip: Tensor) -> None:
        if clip.ndim != 5 or clip.shape[1] < self.frames or clip.shape[2] != 3:
            raise ValueError(
                f"{self.stages} stages need clips [B,{self.frames},3,H,W], got {tuple(clip.shape)}"
            )
        if clip.shape[3] % self.multiple or clip.shape[4] % self.multiple:
            raise ValueError(
                f"height and width must be multiples of {self.multiple}, got "
                f"{tuple(clip.shape[3:])}: pad first"
            )

    def _stages(self, clip: Tensor) -> list[Tensor]:
        results = []
        for _ in range(self.stages):
            if self.recurrent:
                clip = torch.stack(list(self._stream_stage(clip.unbind(1), None)), 1)
            else:
                count = clip.shape[1] - 2
                triplets = [clip[:, i : i + count].flatten(0, 1) for i in range(3)]  # [B*n,3,H,W]
                clip = self.restore_triplet(*triplets).unflatten(0, (-1, count))
            results.append(clip)
        return results

    def restore_triplet(self, previous: Tensor, centre: Tensor, following: Tensor) -> Tensor:
        """One stage: the restored centre [B,3,H,W] of three consecutive frames [B,3,H,W] each."""
        triplet = (previous, centre, following)
        return self._restore(triplet, [self.flow.pyramid(frame) for frame in triplet], previous)

    def warm_up(self, frame: Tensor) -> Tensor:
        """One stage on a frame [B,3,H,W] that is its own neighbour.

        Nothing moves, so no flow is estimated and the prior is 1.
        """
        last_result = [frame] if self.recurrent else []
        seen = (frame, frame, frame, torch.ones_like(frame[:, :1]), *last_result)
        return self.reconstruction(torch.cat(seen, 1), frame)

    def stream(self, frames: Iterable[Tensor], observe: Observer | None = None) -> Iterator[Tensor]:
        """Restored inner frames [B,3,H,W] of a video given frame by frame: 2T fewer than came in.

        Each frame's pyramid, flow and stage result is computed once (per frame and stage two flows
        and one reconstruction, where windows compute up to 2T-1 times as many), and three frames
        per stage are held, however long the video.
        """
        for stage in range(1, self.stages):
            frames = self._stream_stage(frames, observe and partial(observe, stage), first=stage)
        yield from self._stream_stage(frames, None)

    def first_needed(self, index: int) -> int | None:
        """As of any network; `stream` has no windows here."""
        return None if self.recurrent else max(index - self.stages, 0)

    def _stream_stage(
        self,
        frames: Iterable[Tensor],
        observe: Callable[[int, Tensor], None] | None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Results of one stage; observe gets them with their frame indices, which start at
        `first`.
        """
        window: deque[tuple[Tensor, list[Tensor]]] = deque(maxlen=3)
        restored = None
        index = first
        for frame in frames:
            window.append((frame, self.flow.pyramid(frame)))
            if len(window) < 3:
                continue
            triplet, features = zip(*window)
            last_result = triplet[0] if restored is None else restored
            restored = self._restore(triplet, features, last_result)
            if observe:
                observe(index, restored)
            index += 1
            yield restored

    def _restore(
        self, triplet: Sequence[Tensor], features: Sequence[list[Tensor]], last_result: Tensor
    ) -> Tensor:
        """The restored centre of three frames whose flow features are known.

        last_result: what there is of the first one's restoration.
        """
        return self.reconstruct(triplet, self._flow(triplet, features), last_result)

    def reconstruct(self, triplet: Sequence[Tensor], flow: Tensor, last_result: Tensor) -> Tensor:
        """The restored centre of three frames along flows [2B,2,H,W], see `_flow`."""
        stacked = self._align(triplet, flow)  # [B,10,H,W]
        if self.recurrent:
            to_previous = flow.chunk(2)[0]
            last_result, mask = warp(last_result, to_previous, align_corners=self.align_corners)
            stacked = torch.cat((stacked, last_result * mask), 1)  # [B,13,H,W]
        if not self.tile:
            return self.reconstruction(stacked, triplet[1])
        return restore_tiled(
            lambda part: self.reconstruction(part, part[:, CENTRE]),
            stacked,
            self.tile,
            TILE_OVERLAP,
            self.multiple,
        )

    def plan_memory(self, size: tuple[int, int], available: float | None) -> str:
        """Let the reconstruction work in tiles where whole frames need more memory than is free."""
        flow = self.stream_bytes_per_pixel * size[0] * size[1]
        self.tile = 0
        if available is None:
            return ""
        left = available - flow / MEMORY_FRACTION
        needed = self.reconstruction_bytes_per_pixel
        try:
            tile = tile_for(size, needed, left, TILE_OVERLAP, self.multiple)
        except UserError:
            raise too_large(size, flow, available, " for the flow alone") from None
        if tile >= max(size):
            return ""
        self.tile = tile
        return (
            f"frames of {size[1]}x{size[0]} are restored in tiles of {tile} px, as "
            f"{available / 2**30:.1f} GB are free"
        )

    def previews(self, previous: Tensor, centre: Tensor, following: Tensor) -> dict[str, Tensor]:
        """The flow to the next frame and the sharpness prior, as the first stage sees them."""
        flow, prior = self.flow_and_prior(previous, centre, following)
        return {
            "flow to the next frame": flow[0],
            "temporal sharpness prior (white = the frames agree)": prior[0].expand(3, -1, -1),
        }

    def flow_and_prior(
        self, previous: Tensor, centre: Tensor, following: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What one stage sees of three frames [B,3,H,W]: flow centre -> following, and the prior.

        [B,2,H,W] in px and [B,1,H,W].
        """
        triplet = (previous, centre, following)
        flow = self._flow(triplet, [self.flow.pyramid(frame) for frame in triplet])
        return flow.chunk(2)[1], self._align(triplet, flow)[:, 9:]

    def _flow(self, triplet: Sequence[Tensor], features: Sequence[list[Tensor]]) -> Tensor:
        """The flows [2B,2,H,W] from the centres to the previous and to the following frames."""
        twice = [torch.cat((level, level)) for level in features[1]]
        others = [torch.cat(levels) for levels in zip(features[0], features[2])]
        flow = self.flow.flow_between(twice, others, triplet[1].shape[-2:])
        return flow.to(triplet[1].device)  # DIS answers on the CPU

    def _align(self, triplet: Sequence[Tensor], flow: Tensor) -> Tensor:
        """The reconstruction's ten channels [B,10,H,W]."""
        previous, centre, following = triplet
        neighbours = torch.cat((previous, following))
        warped, mask = warp(neighbours, flow, align_corners=self.align_corners)
        previous, following = (warped * mask).chunk(2)
        in_previous, in_following = mask.chunk(2)
        if self.prior:
            prior = sharpness_prior(previous, centre, following, in_previous * in_following)
        else:
            prior = torch.ones_like(in_previous)
        return torch.cat((previous, centre, following, prior), 1)

    def start_from(self, source: nn.Module, start_blocks: Sequence[int] | None = None) -> None:
        """Begin as another cascade, or with `body` "naf" as a NAFNet for photos or video.

        start_blocks: see AlignedNAFNet.start_from.
        """
        body = source if isinstance(source, NAFNet) else getattr(source, "reconstruction", None)
        if isinstance(body, NAFNet) and isinstance(self.reconstruction, AlignedNAFNet):
            self.reconstruction.start_from(body, start_blocks)
        else:
            super().start_from(source)

    def start_fresh(self, files: Mapping[str, Path | None]) -> list[str]:
        """The published PWC-Net weights of files["flow"] for a learned flow."""
        if not isinstance(self.flow, PWCNet):
            return []
        path = files.get("flow")
        if path is None or not path.is_file():
            from utils.download.table import how_to_get  # it reads YAML

            return [
                f"no published PWC-Net weights at {path}, so the flow network starts from random "
                "values. Training without a trained flow network does not reach the published "
                f"figures (users report 23-24 dB). {how_to_get('network-default.pytorch')}."
            ]
        from models.published import load_published  # it imports the network files

        self.flow.load_state_dict(load_published("pwc_net", path).state_dict())
        return []

    def use_local_statistics(self, enabled: bool = True) -> Self:
        """Of a NAFNet that reconstructs, see models/nafnet.py."""
        if isinstance(self.reconstruction, NAFNet):
            self.reconstruction.use_local_statistics(enabled)
        return self

    def compile(self, *arguments, **options) -> None:
        """As of any module, but the reconstruction alone: frames come one by one through the
        rest.
        """
        self.reconstruction.compile(*arguments, **options)


def sharpness_prior(previous: Tensor, centre: Tensor, following: Tensor, mask: Tensor) -> Tensor:
    """Temporal sharpness prior [B,1,H,W] in [0,1]: near 1 where the aligned frames [B,3,H,W] agree.

    exp(-sqrt(sum_c sum_j (mean5(I_j) - mean5(I))^2 / 2)) * mask, as in the published code: the
    squared differences are of 5x5 means (zero padding, always divided by 25), and the root is
    taken, unlike the paper's eq. 5. No gradient.
    """
    with torch.no_grad(), torch.autocast(centre.device.type, enabled=False):
        centre = centre.detach().float()
        changes = [other.detach().float() - centre for other in (previous, following)]
        squared = _mean_5x5(torch.cat(changes, 1)).square_()  # [B,6,H,W]
        difference = squared.sum(1, keepdim=True).div_(2)
        return difference.sqrt_().neg_().exp_() * mask


def _mean_5x5(image: Tensor) -> Tensor:
    """Box mean with zero padding.

    As a convolution in channels_last ten times as fast on a CPU as avg_pool2d.
    """
    channels = image.shape[1]
    box = image.new_full((channels, 1, PRIOR_WINDOW, PRIOR_WINDOW), 1 / PRIOR_WINDOW**2)
    image = image.contiguous(memory_format=torch.channels_last)
    return F.conv2d(image, box, padding=PRIOR_WINDOW // 2, groups=channels)


FLOWS = {"pwc": PWCNet, "dis": DISFlow}

PUBLISHED_SIZES = {"CDVD-TSP": {}}

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
    """Constructor arguments read off the authors' state dict (`stages` leaves no trace in it)."""
    width, _, kernel_size, _ = state["recons_net.inBlock.0.0.weight"].shape
    first_level = [key for key in state if key.startswith("recons_net.inBlock.")]
    blocks = sum(key.endswith("conv1.weight") for key in first_level)
    return {"width": width, "blocks": blocks, "kernel_size": kernel_size}
