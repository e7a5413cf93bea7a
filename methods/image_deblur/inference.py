"""Restore photos with a single-image network: `load` it, `predict` one image, `main` reads, writes
and reports.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.photo_catalog import Picture, find_pairs
from data.sample import sample_folder
from methods.image_deblur.config import MODELS, InferenceConfig, TestConfig, chosen_model
from models import SHIPPED, build, find, load_network
from models import load as load_any
from models.blocks import ImageNetwork
from models.guided_nafnet import GuidedNAFNet
from models.nafnet import NAFNet
from models.srn import SRN
from utils import distributed
from utils.config import ROOT, to_yaml
from utils.device import (
    arithmetic,
    autocast,
    available_memory,
    choose_device,
    choose_precision,
    prepare_memory,
)
from utils.errors import UserError, noting, raise_left_out
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.scoring import Scores, Triple, read_truth, score_files
from utils.evaluation.tables import paper_row
from utils.files import write_text
from utils.image import image_size, in_8bit, is_image, read_8bit, to_8bit, to_tensor
from utils.photo import read_photo, write_photo
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, amount, contact_sheet, spread, write_report
from utils.tensorflow_checkpoint import find_prefix, is_checkpoint
from utils.tiling import count_tiles, restore_tiled, tile_for
from utils.video import VideoFile, VideoWriter, is_video

TABLES = Path(__file__).with_name("tables.yaml")
SHIPPED_WEIGHTS = "image_deblur.safetensors"
Config = InferenceConfig | TestConfig


@dataclass(frozen=True)
class Predictor:
    """A network on its device, the file it came from, and how it is applied to an image.

    tile: side of the tiles, 0 = whole images where `memory` bytes (None = what is free) allow.
    """

    network: ImageNetwork
    device: torch.device
    dtype: torch.dtype
    weights: Path
    ensemble: bool = False
    gamma: float = 1.0  # the network sees the image to this power
    tile: int = 0
    overlap: int = 64
    memory: float | None = None


@dataclass
class Restored:
    """What restoring gave: the results by the names of the pictures, pictures to show, how fast it
    was, and what is wrong with others.
    """

    files: dict[str, Path] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    speed: str = ""
    mistakes: list[str] = field(default_factory=list)


def main(config: InferenceConfig) -> Scores | None:
    """Restore a video into OUTPUT_DIR/NAME.mp4, or pictures into OUTPUT_DIR/NAME.png; with ground
    truth also score them.
    """
    config = replace(config, output_dir=config.output_dir or _usual_folder(config.weights))
    if config.data_path is not None and is_video(config.data_path):
        return restore_video(config)
    return run_pictures(config)


def run_pictures(config: Config, deep: bool = False) -> Scores | None:
    """Restore, score where there is ground truth, and report; returns the scores, under torchrun in
    the first process. deep: see restore_pictures.
    """
    pictures, remark = plan(config)
    predictor = load(config)
    with distributed.only_run(config.output_dir):
        restored = restore_pictures(
            predictor, pictures, config.output_dir, config.skip_existing, deep
        )
        if not distributed.is_main():
            return None
        write_text(config.output_dir / "config.yaml", to_yaml(config))
        scores = (
            score_pictures(config, pictures, restored, predictor, chosen_protocol(config), remark)
            if pictures[0].sharp
            else None
        )
        finish(config, restored, scores, predictor, remark)
    raise_left_out(restored.mistakes, len(pictures))
    return scores


def load(config: Config) -> Predictor:
    """The network that the weights describe, on its device."""
    if config.gamma_factor <= 0 or config.memory < 0 or config.tile < 0 or config.tile_overlap < 0:
        raise UserError(
            "--gamma_factor must be above 0; --memory, --tile and --tile_overlap not below"
        )
    device = choose_device(config.device)
    prepare_memory(device)
    weights = find_weights(config.weights)
    if is_checkpoint(weights):
        weights = find_prefix(weights, config.step)
    elif config.step is not None:
        raise UserError(
            f"--step {config.step} chooses among TensorFlow checkpoints, {weights} is none"
        )
    network = load_network(weights, ImageNetwork)
    if config.model or config.variant:
        _check_model(config, network, weights)
    if config.condition and not isinstance(network, GuidedNAFNet):
        raise UserError(
            f"{weights} holds a {type(network).__name__} without --condition irp: train one with "
            "that option"
        )
    if isinstance(network, NAFNet):
        network.use_local_statistics(config.local_statistics)
    multiple = network.multiple
    if config.tile and config.tile // multiple <= 2 * -(-config.tile_overlap // multiple):
        raise UserError(
            f"--tile {config.tile} must be larger than two overlaps of {config.tile_overlap} px "
            "(--tile_overlap), "
            f"all in multiples of the network's {multiple} px"
        )
    network = network.to(device, memory_format=torch.channels_last)
    if config.compile:
        network.compile(
            options={"freezing": True}
        )  # weights as constants, laid out for the convolutions
    memory = config.memory * 2**30 or None
    dtype = choose_precision(config.precision, device)
    return Predictor(
        network,
        device,
        dtype,
        weights,
        config.ensemble,
        config.gamma_factor,
        config.tile,
        config.tile_overlap,
        memory,
    )


def find_weights(weights: Path | None) -> Path:
    """The shipped weights, a path, a name in pretrain_models/, or a run in experiment/
    (DeepDeblur's --save_dir).
    """
    run = ROOT / "experiment" / (weights or "")
    try:
        return find(weights or SHIPPED_WEIGHTS)
    except UserError:
        if weights and not weights.exists() and run.is_dir():
            return find(run)
        raise


def _usual_folder(weights: Path | None) -> Path:
    """Where results go without --output_dir: into the run that --weights names, as DeepDeblur's
    program has it, or one folder for all.
    """
    run = ROOT / "experiment" / (weights or "")
    if weights and not weights.exists() and find_weights(weights).is_relative_to(run):
        return run / "result"
    return ROOT / "experiment" / "image_deblur_inference"


def weights_at_hand() -> list[Path]:
    """The files and folders in pretrain_models/ that hold networks for single images, the shipped
    one first.

    All of them are loaded, since the weights decide; what no network can be made of is said and
    left out.
    """
    found = []
    for path in sorted(SHIPPED.iterdir()):
        if path.suffix == ".md" or path.name.startswith("."):
            continue
        try:
            network = load_any(find_prefix(path, None) if is_checkpoint(path) else path)
        except UserError as error:
            print(f"note: left out, {error}")
            continue
        if isinstance(network, ImageNetwork):
            found.append(path)
    return sorted(found, key=lambda path: path.name != SHIPPED_WEIGHTS)


@torch.inference_mode()
def predict(
    predictor: Predictor, image: Tensor, progress: Callable[[], object] | None = None
) -> Tensor:
    """The restored image [3,H,W] float32, not clamped, on the CPU, of an image [3,H,W] in [0,1] of
    any size.

    Large images are worked out in tiles (see Predictor); progress is called per tile. Raises
    UserError where even a tile does not fit.
    """
    network, multiple = predictor.network, predictor.network.multiple

    def restore(part: Tensor) -> Tensor:
        part = part.contiguous(memory_format=torch.channels_last)
        with autocast(predictor.device, predictor.dtype):
            if not predictor.ensemble:
                return network(part)
            return sum(turned_back(network(turned(part, way)).float(), way) for way in range(8)) / 8

    tile = tile_of(predictor, image.shape[-2:])
    image = image**predictor.gamma if predictor.gamma != 1 else image
    restored = (
        restore_tiled(
            restore, image[None], tile, predictor.overlap, multiple, predictor.device, progress
        )[0]
        .float()
        .cpu()
    )
    return restored.clamp(min=0) ** (1 / predictor.gamma) if predictor.gamma != 1 else restored


def tile_of(predictor: Predictor, size: tuple[int, int]) -> int:
    """The side of the tiles for an image of a size (height, width); the longer side means the whole
    image.
    """
    multiple = predictor.network.multiple
    if predictor.tile:
        return predictor.tile
    available = predictor.memory or available_memory(predictor.device)
    return tile_for(size, predictor.network.bytes_per_pixel, available, predictor.overlap, multiple)


def turned(image: Tensor, way: int) -> Tensor:
    """One of the eight flips and turns of [...,H,W]; way 0 is the image itself."""
    image = image.transpose(-1, -2) if way & 4 else image
    axes = [axis for axis, bit in ((-1, 1), (-2, 2)) if way & bit]
    return image.flip(axes).contiguous(memory_format=torch.channels_last)


def turned_back(image: Tensor, way: int) -> Tensor:
    """The inverse of `turned`."""
    image = image.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if way & bit])
    return image.transpose(-1, -2) if way & 4 else image


def plan(config: Config) -> tuple[tuple[Picture, ...], str]:
    """The pictures that a configuration means and a remark about them; raises UserError before
    anything is computed.
    """
    path = config.data_path
    if path is None:
        path = sample_folder()
        print(f"no --data_path: the embedded sample {path}")
    elif not path.exists():
        raise UserError(
            f"there is no {path}: give a photo, a folder of photos or of pairs, or a video file"
        )
    if (
        path.resolve() == config.output_dir.resolve()
        or path.is_file()
        and path.parent.resolve() == config.output_dir.resolve()
    ):
        raise UserError(
            f"results would lie among the pictures in {config.output_dir}: choose another "
            "--output_dir"
        )
    found = find_pairs(
        path, config.blur_folder, isinstance(config, TestConfig), leave_out=config.output_dir
    )
    for picture in found.pictures:
        if picture.name == "contact_sheet":
            raise UserError(
                f"{picture.blurry}: its result would have the name of the contact sheet, rename it"
            )
        if picture.sharp and is_image(picture.sharp) and picture.sharp.is_file():
            check_same_size(picture.blurry, picture.sharp)
    truth, remark = (
        ", with ground truth" if found.pictures[0].sharp else "",
        f" ({found.remark})" if found.remark else "",
    )
    print(f"{amount(len(found.pictures), 'picture')}{truth}{remark}")
    return found.pictures, found.remark


def check_same_size(blurry: Path, sharp: Path) -> None:
    """Raises UserError that names both files of a pair whose sizes differ."""
    sizes = [image_size(file) for file in (blurry, sharp)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{blurry} is {sizes[0][1]}x{sizes[0][0]}, but {sharp} {sizes[1][1]}x{sizes[1][0]}"
        )


def chosen_protocol(config: Config) -> str:
    """The protocol asked for; auto: that of the published row which this run repeats, else the one
    of the data set that the path names.
    """
    if getattr(config, "protocol", "auto") != "auto":
        return config.protocol
    if row := paper_row(
        TABLES,
        config.weights and find_weights(config.weights),
        config.data_path,
        options=_options(config),
    ):
        return row.protocol
    path = str(config.data_path or getattr(config, "sharp_dir", None) or "").lower()
    return (
        "realblur"
        if "realblur" in path
        else "kohler"
        if "kohler" in path or "koehler" in path
        else "image"
    )


def _options(config: Config) -> dict:
    """The options by which a row of tables.yaml is recognised."""
    return {**asdict(config), "blur_folder": config.blur_folder or "blur"}


def result_path(output_dir: Path, picture: Picture) -> Path:
    """Where a picture's result goes."""
    return output_dir / f"{picture.name}.png"


def restore_pictures(
    predictor: Predictor,
    pictures: tuple[Picture, ...],
    output_dir: Path,
    skip_existing: bool,
    deep: bool = False,
) -> Restored:
    """Write OUTPUT_DIR/NAME.png of every picture, one after the other; what is finished stays
    whatever happens later.

    Of many pictures without ground truth, damaged ones are left out and told in `mistakes`;
    elsewhere they raise UserError. Under torchrun every process restores its share; pictures to
    show are of the own share. deep: with 16 bits whatever the input has, for protocols that compare
    unrounded values.
    """
    result, seconds, done = (
        Restored({picture.name: result_path(output_dir, picture) for picture in pictures}),
        0.0,
        0,
    )
    share = distributed.shard(list(pictures))
    shown = {picture.name for picture in spread(share, MAX_PANELS)}
    overlap, multiple, mistakes = predictor.overlap, predictor.network.multiple, []
    with distributed.synchronized(), Progress(total=len(share), unit="picture") as bar:
        for picture in share:
            target = result.files[picture.name]
            with noting(mistakes, not picture.sharp and len(pictures) > 1):
                photo = None if skip_existing and target.is_file() else read_photo(picture.blurry)
            if mistakes[-1]:
                bar.update()
                continue
            if photo:
                started, size = time.monotonic(), photo.pixels.shape[:2]
                tiles = count_tiles(size, tile_of(predictor, size), overlap, multiple)
                with Progress(
                    total=tiles, unit="tile", leave=False, disable=tiles <= 1
                ) as tile_bar:
                    restored = predict(predictor, to_tensor(photo.pixels), tile_bar.update)
                write_photo(
                    target,
                    restored,
                    photo._replace(pixels=photo.pixels.astype(np.uint16)) if deep else photo,
                )
                seconds, done = seconds + time.monotonic() - started, done + 1
            if picture.name in shown:
                result.examples.append(_example(picture, target))
            bar.update()
        result.mistakes = list(filter(None, distributed.all_gather(mistakes)))
    if done:
        result.speed = (
            f"{amount(done, 'picture')} in {seconds:.1f} s, {seconds / done:.2f} s "
            f"each with writing ({predictor.device})"
        )
        print(f"restored {result.speed}")
    return result


def restore_video(config: InferenceConfig) -> None:
    """Restore a video file frame by frame, each as a photo of its own, with its sound."""
    source = VideoFile(config.data_path)
    target = config.output_dir / f"{config.data_path.stem}{'.mkv' if config.lossless else '.mp4'}"
    if target.resolve() == config.data_path.resolve():
        raise UserError(
            f"the result would overwrite {config.data_path}: choose another --output_dir"
        )
    if config.skip_existing and target.is_file():
        print(f"{target} exists, skipped")
        return
    predictor = load(config)
    with distributed.only_run(config.output_dir):
        result = _restore_frames(config, predictor, source, target)
        write_text(config.output_dir / "config.yaml", to_yaml(config))
        finish(config, result, None, predictor, "")


def _restore_frames(
    config: InferenceConfig, predictor: Predictor, source: VideoFile, target: Path
) -> Restored:
    result, started, done = Restored({config.data_path.stem: target}), time.monotonic(), 0
    wanted = set(spread(range(source.count or MAX_PANELS * 30), MAX_PANELS))
    with (
        VideoWriter(target, source, config.lossless) as writer,
        Progress(total=source.count, unit="frame") as bar,
    ):
        for moment, pixels in source.timed():
            restored = to_8bit(predict(predictor, to_tensor(pixels)))
            writer.write(restored, moment)
            if done in wanted:
                result.examples.append(
                    Example(f"{config.data_path.stem}, frame {done}", pixels, restored)
                )
            done += 1
            bar.update()
    seconds = time.monotonic() - started
    result.speed = (
        f"{amount(done, 'frame')} in {seconds:.1f} s, {done / seconds:.2f} frames/s "
        f"with reading and writing ({predictor.device})"
    )
    print(
        f"restored {result.speed}; frame by frame: for video `inference.py cdvd_tsp` also uses "
        "the neighbouring frames"
    )
    return result


def score_pictures(
    config: Config,
    pictures: tuple[Picture, ...],
    restored: Restored,
    predictor: Predictor,
    protocol: str,
    remark: str,
) -> Scores:
    """Score the written files by a named protocol and write scores.json and scores.csv beside
    them.
    """
    triples = [
        Triple(picture.name, restored.files[picture.name], picture.sharp, picture.blurry)
        for picture in pictures
    ]
    paper = paper_row(TABLES, predictor.weights, config.data_path, protocol, _options(config))
    about = {
        "weights": predictor.weights,
        "data_path": config.data_path,
        "remark": remark,
        "paper": paper,
    }
    scores = score_files(
        triples, protocol, arithmetic=arithmetic(predictor.device, predictor.dtype), **about
    )
    scores.write(config.output_dir)
    return scores


def finish(
    config: Config, restored: Restored, scores: Scores | None, predictor: Predictor, remark: str
) -> None:
    """Print the scores, draw contact_sheet.png and report.html, say where everything is."""
    table = scores.table() if scores else ""
    if table:
        print(table)
    if restored.examples:
        contact_sheet(config.output_dir / "contact_sheet.png", restored.examples)
        if config.report:
            metadata = {
                "input": str(config.data_path or "the embedded sample"),
                "weights": str(predictor.weights),
            }
            metadata |= {"speed": restored.speed, "data": remark}
            write_report(
                config.output_dir / "report.html",
                "Restored pictures",
                restored.examples,
                metadata,
                table,
            )
    print(
        f"results: {config.output_dir}"
        + (" (open report.html there)" if restored.examples and config.report else "")
    )


def _example(picture: Picture, result: Path) -> Example:
    blurry, restored = (read_8bit(path) for path in (picture.blurry, result))
    if picture.sharp is None or not picture.sharp.is_file() or picture.sharp.suffix == ".mat":
        return Example(picture.name, blurry, restored)
    sharp = in_8bit(read_truth(picture.sharp)[0])
    if sharp.shape != restored.shape:
        return Example(picture.name, blurry, restored)
    before, after = (PROTOCOLS["image"].psnr(image, sharp) for image in (blurry, restored))
    return Example(
        picture.name,
        blurry,
        restored,
        sharp,
        words=f"PSNR {before:.2f} dB before, {after:.2f} dB after (protocol image)",
    )


def _check_model(config: Config, network: ImageNetwork, weights: Path) -> None:
    """Raises UserError naming both where --model or --variant is not what the weights hold."""
    wanted = chosen_model(config.model or "SRN", config.variant)
    if not _is(network, *wanted):
        known = [
            name for name, (other, settings, _) in MODELS.items() if _is(network, other, settings)
        ]
        holds = known[0] if known else f"another {type(network).__name__}"
        variant = f" ({network.variant})" if isinstance(network, SRN) else ""
        asked = " ".join(filter(None, (config.model or "SRN", config.variant)))
        raise UserError(
            f"{weights} holds {holds}{variant}, not {asked}: leave --model out, the weights say "
            "what they are"
        )


def _is(network: ImageNetwork, name: str, arguments: dict) -> bool:
    """Whether a network is what a name and arguments stand for; a stated width means the published
    shape altogether.
    """
    with torch.device("meta"):
        other = build(name, **arguments)
    if type(network) is not type(other) or any(
        getattr(network, key) != value for key, value in arguments.items()
    ):
        return False
    shapes = [
        {key: value.shape for key, value in one.state_dict().items()} for one in (network, other)
    ]
    return "width" not in arguments or shapes[0] == shapes[1]
