"""Unfold blurry photos: `load` the networks, `predict` the seven moments of one image, `main`
reads, writes and shows.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.photo_catalog import pictures_by_name
from data.sample import sequences_or_sample
from methods.blur2vid.config import InferenceConfig, TestConfig, frame_indices, network_of
from models import find, load_network
from models.blocks import ImageNetwork, SequenceNetwork
from models.blur_motion import motion_axis
from models.hypercut import HyperCUT
from models.nafnet import NAFNet
from models.purohit import Purohit
from utils import distributed
from utils.config import ROOT, to_yaml
from utils.device import autocast, available_memory, choose_device, choose_precision
from utils.errors import UserError, noting, raise_left_out
from utils.files import write_text
from utils.image import is_image, read_image, resize_to, to_8bit, to_tensor, write_image
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, contact_sheet_of_rows, spread, write_report
from utils.tiling import pad_to_multiple, restore_tiled, tile_for
from utils.video import NewVideo, VideoWriter, write_gif

SHIPPED_WEIGHTS, SHIPPED_DEBLURRER = "blur2vid", "image_deblur"
CENTRE = 3  # place of the middle moment
OVERLAP = 64  # px that neighbouring tiles share
MIN_VIDEO_S = 2.0  # an MP4 does not repeat by itself, so its cycle is written until it is this long
GIF_SIDE, STRIP_WIDTH = 640, 240  # px
LONGEST_SIDE = 16384  # px of an H.264 video


@dataclass(frozen=True)
class Predictor:
    """A network on its device, the file it came from, and the one that makes Purohit's centre frame
    where there is no ground truth.
    """

    network: SequenceNetwork
    deblurrer: ImageNetwork | None
    device: torch.device
    dtype: torch.dtype
    weights: Path
    tile: int = 0
    memory: float | None = None


def main(config: InferenceConfig) -> None:
    """Write deblur_0.png ... deblur_6.png, moments.mp4, moments.gif and strip.png; of several
    photos into a folder each.

    Of several photos, damaged ones are left out: UserError names them when the others are done.
    """
    places = frame_indices(config.target_frames, symmetric=False)
    if not 0.01 <= config.fps <= 240:
        raise UserError(f"--fps {config.fps:g} must be at least 0.01 and at most 240")
    output_dir = config.output_dir or ROOT / "experiment" / "blur2vid_inference"
    pictures = find_photos(config.data_path, output_dir)
    predictor = load(config)
    if isinstance(predictor.network, Purohit):
        print(f"centre frame: deblurred ({config.deblurrer or 'the shipped network'})")
    with distributed.only_run(output_dir):
        share = distributed.shard(list(pictures.items()))  # of this process, under torchrun
        examples, mistakes, shown = [], [], dict(spread(share, MAX_PANELS))
        with distributed.synchronized():
            for folder, path in Progress(share, unit="picture"):
                with noting(mistakes, len(pictures) > 1):
                    blurry = to_tensor(read_image(path))
                if mistakes[-1]:
                    continue
                moments = [to_8bit(frame) for frame in predict(predictor, blurry)]
                write_moments(
                    folder, to_8bit(blurry), {place: moments[place] for place in places}, config
                )
                if folder in shown:
                    extras = {
                        f"frame {place + 1}": moments[place] for place in places if place != CENTRE
                    }
                    words = "beside the divider: the centre, frame 4"
                    examples.append(
                        Example(
                            str(path), to_8bit(blurry), moments[CENTRE], extras=extras, words=words
                        )
                    )
            mistakes = list(filter(None, distributed.all_gather(mistakes)))
        if not distributed.is_main():
            return
        write_text(output_dir / "config.yaml", to_yaml(config))
        if config.report:
            metadata = {
                "input": str(config.data_path or "the embedded sample"),
                "weights": str(predictor.weights),
            }
            write_report(
                output_dir / "report.html", "Blur to video: moments of a photo", examples, metadata
            )
    print(f"results: {output_dir} (look at strip.png and moments.gif)")
    raise_left_out(mistakes, len(pictures))


def load(config: InferenceConfig | TestConfig) -> Predictor:
    """The network that the weights describe, on its device; for Purohit also the single-image
    network for its centre frame.
    """
    if config.tile < 0 or config.memory < 0 or 0 < config.tile <= 2 * OVERLAP:
        raise UserError(f"--tile must be 0 or more than {2 * OVERLAP} px, --memory not below 0")
    device = choose_device(config.device)
    weights = find(config.weights or SHIPPED_WEIGHTS)
    network = load_network(weights, SequenceNetwork)
    if isinstance(network, HyperCUT):
        raise UserError(
            f"{weights} holds a HyperCUT network, which orders frames and makes none: give the "
            "weights of Jin or Purohit"
        )
    holds = type(network).__name__
    if config.backbone and network_of(config.backbone) != holds.lower():
        raise UserError(
            f"{weights} holds {holds}, not {config.backbone}: leave --backbone out, the weights "
            "say what they are"
        )
    deblurrer = None
    if isinstance(network, Purohit) and getattr(config, "centre", "deblurred") == "deblurred":
        deblurrer = load_network(config.deblurrer or SHIPPED_DEBLURRER, ImageNetwork).to(device)
        if isinstance(deblurrer, NAFNet):
            deblurrer.use_local_statistics()
    return Predictor(
        network.to(device),
        deblurrer,
        device,
        choose_precision(config.precision, device),
        weights,
        config.tile,
        config.memory * 2**30 or None,
    )


@torch.inference_mode()
def predict(
    predictor: Predictor,
    image: Tensor,
    progress: Callable[[], object] | None = None,
    centre: Tensor | None = None,
) -> Tensor:
    """The seven moments [7,3,H,W] in [0,1], not clamped, on the CPU, of a blurry image [3,H,W] of
    any size.

    centre [3,H,W]: Purohit's sharp centre frame; none: the deblurrer makes it. Large images are
    worked out in tiles where memory asks for it; progress is called per tile.
    """
    network, axis = predictor.network, None
    images = image[None]
    if isinstance(network, Purohit):
        if centre is None:
            if predictor.deblurrer is None:
                raise ValueError("Purohit needs the centre frame or a deblurrer")
            centre = _tiled(
                predictor, predictor.deblurrer, predictor.deblurrer, image[None], progress
            )[0]
        images = torch.cat((image, centre))[None]  # [1,6,H,W]
        axis = motion_axis(image[None], centre[None]).to(
            predictor.device
        )  # of the whole image, so that tiles agree on time's direction

    def unfold(part: Tensor) -> Tensor:
        height, width = part.shape[-2:]
        seen = [network.seen(half) for half in pad_to_multiple(part, network.multiple).split(3, 1)]
        frames = network(*seen, axis=axis) if isinstance(network, Purohit) else network(*seen)
        return network.shown(frames.float())[..., :height, :width].flatten(1, 2)  # [1,21,H,W]

    def backward(part: Tensor) -> Tensor:
        return part.unflatten(1, (-1, 3)).flip(1).flatten(1, 2)

    return _tiled(predictor, unfold, network, images, progress, backward)[0].unflatten(0, (-1, 3))


def _tiled(
    predictor: Predictor,
    function: Callable[[Tensor], Tensor],
    network: ImageNetwork | SequenceNetwork,
    images: Tensor,
    progress: Callable | None,
    other: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """function(images) of [1,C,H,W], in tiles where the network's needs ask for it (other: see
    utils/tiling.py).
    """
    size, memory = images.shape[-2:], predictor.memory or available_memory(predictor.device)

    def restore(part: Tensor) -> Tensor:
        with autocast(predictor.device, predictor.dtype):
            return function(part).float()

    tile = predictor.tile or tile_for(
        size, network.bytes_per_pixel, memory, OVERLAP, network.multiple
    )
    return restore_tiled(
        restore, images, tile, OVERLAP, network.multiple, predictor.device, progress, other
    ).cpu()


def find_photos(data_path: Path | None, output_dir: Path) -> dict[Path, Path]:
    """{folder of its results: photo} of --data_path; results of one photo go into OUTPUT_DIR
    itself.
    """
    if data_path is None:
        data_path = sequences_or_sample(None).of("test")[0].blurry
        print(f"no --data_path: a picture of the embedded sample, {data_path}")
    if data_path.is_dir():
        if data_path.resolve() == output_dir.resolve():
            raise UserError(
                f"results would lie among the photos in {output_dir}: choose another --output_dir"
            )
        named = pictures_by_name(data_path, leave_out=output_dir)
        if reserved := next(
            (path for name, path in named.items() if name in ("config.yaml", "report.html")), None
        ):
            raise UserError(
                f"{reserved}: its results would lie where {reserved.stem} goes, rename it"
            )
        return {output_dir / name: path for name, path in named.items()}
    if not data_path.is_file() or not is_image(data_path):
        raise UserError(
            f"{data_path} is no photo: give a picture file (or a folder of them) as --data_path"
        )
    if data_path.resolve().parent == output_dir.resolve():
        raise UserError(f"results would lie beside {data_path}: choose another --output_dir")
    return {output_dir: data_path}


def write_moments(
    folder: Path, blurry: np.ndarray, moments: dict[int, np.ndarray], config: InferenceConfig
) -> None:
    """Pictures, MP4, GIF and strip of moments (place 0 ... 6 -> [H,W,3] uint8)."""
    for place, moment in moments.items():
        write_image(folder / f"deblur_{place}.png", moment)
    cycle = played(list(moments.values()), config.loop)
    rate = Fraction(config.fps).limit_denominator(1001)
    filmed = [resize_to(frame, LONGEST_SIDE) for frame in cycle]
    with VideoWriter(folder / "moments.mp4", NewVideo(filmed[0].shape[:2], rate)) as writer:
        for time, frame in enumerate(
            itertools.chain(*[filmed] * math.ceil(MIN_VIDEO_S * config.fps / len(cycle)))
        ):
            writer.write(frame, time)
    write_gif(folder / "moments.gif", [resize_to(frame, GIF_SIDE) for frame in cycle], config.fps)
    numbered = {f"frame {place + 1}": moment for place, moment in moments.items()}
    contact_sheet_of_rows(folder / "strip.png", {"": {"blurry": blurry, **numbered}}, STRIP_WIDTH)


def played(moments: list[np.ndarray], loop: str) -> list[np.ndarray]:
    """One cycle: forward, or forward and back without showing the ends twice."""
    return moments + moments[-2:0:-1] if loop == "ping-pong" else moments
