"""Unfold blurry photos into their sharp frames: pictures, MP4, GIF, a strip and a page."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.photo_catalog import pictures_by_name
from data.sample import sequences_or_sample
from methods.blur2vid.config import InferenceConfig, TestConfig, frame_indices
from models import choose
from models.contracts import SequenceNetwork
from restoration.sequence import SequenceRestorer
from utils import distributed
from utils.config import ROOT, to_yaml
from utils.contact_sheet import contact_sheet_of_rows
from utils.errors import UserError, noting, raise_left_out
from utils.files import write_text
from utils.image import is_image, read_image, resize_to, to_8bit, to_tensor, write_image
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, spread, write_report
from utils.video_writer import NewVideo, VideoWriter, write_gif

CENTRE = 3  # index of the middle frame
MIN_VIDEO_S = 2.0  # an MP4 does not repeat by itself, so its cycle is written until it is this long
GIF_SIDE = 640  # px
STRIP_WIDTH = 240  # px
LONGEST_SIDE = 16384  # px of an H.264 video
TITLE = "Blur to video: sharp frames of a photo"


def main(config: InferenceConfig) -> None:
    """Write deblur_0.png ... deblur_6.png, moments.mp4, moments.gif and strip.png.

    Of several photos into a folder each. Of several, damaged ones are left out: UserError names
    them when the others are done.
    """
    indices = frame_indices(config.target_frames, symmetric=False)
    if not 0.01 <= config.fps <= 240:
        raise UserError(f"--fps {config.fps:g} must be at least 0.01 and at most 240")
    output_dir = config.output_dir or ROOT / "infer_results" / "blur2vid"
    photos = find_photos(config.data_path, output_dir)
    restorer = load(config)
    if restorer.deblurrer:
        print(f"centre frame: deblurred ({config.deblurrer or 'the shipped network'})")
    with distributed.only_run(output_dir):
        examples, mistakes = _unfold_all(config, restorer, photos, indices)
        if not distributed.is_main():
            return
        write_text(output_dir / "config.yaml", to_yaml(config))
        if config.report:
            metadata = {
                "input": str(config.data_path or "the embedded sample"),
                "weights": str(restorer.weights),
            }
            write_report(output_dir / "report.html", TITLE, examples, metadata)
    print(f"results: {output_dir} (look at strip.png and moments.gif)")
    raise_left_out(mistakes, len(photos))


def load(config: InferenceConfig | TestConfig) -> SequenceRestorer:
    """The network that the weights describe, with a deblurrer where it needs a centre frame."""
    backbone = config.backbone and choose(config.backbone, SequenceNetwork, "backbone")[0]
    restorer = SequenceRestorer.load(
        config.weights,
        config.device,
        config.precision,
        deblurrer=config.deblurrer,
        deblurs_centre=getattr(config, "centre", "deblurred") == "deblurred",
        scale=getattr(config, "scale", 1),
        tile=config.tile,
        memory_gb=config.memory,
    )
    holds = type(restorer.network).__name__
    if backbone and backbone != holds.lower():
        raise UserError(
            f"{restorer.weights} holds {holds}, not {config.backbone}: leave --backbone out, the "
            "weights say what they are"
        )
    return restorer


def find_photos(data_path: Path | None, output_dir: Path) -> dict[Path, Path]:
    """{folder of its results: photo} of --data_path.

    Results of one photo go into OUTPUT_DIR itself.
    """
    if data_path is None:
        data_path = sequences_or_sample(None).of("test")[0].blurry
        print(f"no --data_path: a picture of the embedded sample, {data_path}")
    if data_path.is_dir():
        return _photos_of_folder(data_path, output_dir)
    if not data_path.is_file() or not is_image(data_path):
        raise UserError(
            f"{data_path} is no photo: give a picture file (or a folder of them) as --data_path"
        )
    if data_path.resolve().parent == output_dir.resolve():
        raise UserError(f"results would lie beside {data_path}: choose another --output_dir")
    return {output_dir: data_path}


def _photos_of_folder(folder: Path, output_dir: Path) -> dict[Path, Path]:
    if folder.resolve() == output_dir.resolve():
        raise UserError(
            f"results would lie among the photos in {output_dir}: choose another --output_dir"
        )
    photos = {}
    for name, path in pictures_by_name(folder, leave_out=output_dir).items():
        if name in ("config.yaml", "report.html"):
            raise UserError(f"{path}: its results would lie where {path.stem} goes, rename it")
        photos[output_dir / name] = path
    return photos


def _unfold_all(
    config: InferenceConfig,
    restorer: SequenceRestorer,
    photos: dict[Path, Path],
    indices: list[int],
) -> tuple[list[Example], list[str]]:
    """(examples to show, what is wrong with the photos that were left out).

    Under torchrun every process unfolds its shard; examples are of the own one.
    """
    shard = distributed.shard(list(photos.items()))
    shown = {folder for folder, _ in spread(shard, MAX_PANELS)}
    examples: list[Example] = []
    mistakes: list[str] = []
    with distributed.synchronized():
        for folder, path in Progress(shard, unit="picture"):
            with noting(mistakes, len(photos) > 1):
                blurry = to_tensor(read_image(path))
            if mistakes[-1]:
                continue
            tiles = restorer.count_tiles(blurry.shape[-2:])
            with Progress(total=tiles, unit="tile", leave=False) as bar:
                restored = restorer.restore(blurry, progress=bar.update)
            frames = [to_8bit(frame) for frame in restored]
            written = {index: frames[index] for index in indices}
            write_frames(folder, to_8bit(blurry), written, config)
            if folder in shown:
                example = Example(str(path), to_8bit(blurry), frames[CENTRE])
                others = [index for index in indices if index != CENTRE]
                example.extras = {f"frame {index + 1}": frames[index] for index in others}
                example.words = "beside the divider: the centre, frame 4"
                examples.append(example)
        return examples, list(filter(None, distributed.all_gather(mistakes)))


def write_frames(
    folder: Path, blurry: np.ndarray, frames: dict[int, np.ndarray], config: InferenceConfig
) -> None:
    """Pictures, MP4, GIF and strip of frames {index 0 ... 6: [H,W,3] uint8}."""
    for index, frame in frames.items():
        write_image(folder / f"deblur_{index}.png", frame)
    cycle = played(list(frames.values()), config.loop)
    filmed = [resize_to(frame, LONGEST_SIDE) for frame in cycle]
    cycles = math.ceil(MIN_VIDEO_S * config.fps / len(cycle))
    rate = Fraction(config.fps).limit_denominator(1001)
    with VideoWriter(folder / "moments.mp4", NewVideo(filmed[0].shape[:2], rate)) as writer:
        for time, frame in enumerate(itertools.chain.from_iterable([filmed] * cycles)):
            writer.write(frame, time)
    write_gif(folder / "moments.gif", [resize_to(frame, GIF_SIDE) for frame in cycle], config.fps)
    numbered = {f"frame {index + 1}": frame for index, frame in frames.items()}
    contact_sheet_of_rows(folder / "strip.png", {"": {"blurry": blurry, **numbered}}, STRIP_WIDTH)


def played(frames: list[np.ndarray], loop: str) -> list[np.ndarray]:
    """One cycle: forward, or forward and back without showing the ends twice."""
    return frames + frames[-2:0:-1] if loop == "ping-pong" else frames
