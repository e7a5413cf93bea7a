"""Options of the video_deblur commands: one dataclass per command, units in the help texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.model_choice import recipe_of as recipe_in
from utils.config import option
from utils.options import (
    ACCUMULATE,
    AVERAGE,
    BLURRY_DIR,
    CACHED,
    DEVICE,
    EPOCHS,
    GRADIENT_NORM,
    MAX_MINUTES,
    PRECISION,
    REPORT,
    RESTORED_DIR,
    RESULTS,
    RESUME,
    SAVE,
    SEED,
    SHARP_DIR,
    SKIP_EXISTING,
    START,
    TABLE,
    WEIGHTS,
    WORKERS,
    Cached,
    Precision,
)

# Published spellings: command -> {theirs: ours}; see docs/commands.md.
ALIASES = {
    "train": {
        "--picture_share": "--picture_fraction",
        "--encoded_share": "--srgb_fraction",
        "--dir_data": "--data_path",
        "--dir_data_test": "--val_path",
        "--gamma": "--lr_gamma",
        "--n_threads": "--workers",
        "--pre_train": "--weights",
        "--gopro_blur": "--blur_folder",
    },
    "test": {
        "--gopro_blur": "--blur_folder",
        "--model_path": "--weights",
        "--result_path": "--output_dir",
        "-b": "--blurry_dir",
        "-s": "--sharp_dir",
        "-r": "--restored_dir",
        "-o": "--output_dir",
    },
    "inference": {
        "--gopro_blur": "--blur_folder",
        "--model_path": "--weights",
        "--result_path": "--output_dir",
        "--input_path": "--data_path",
        "--output_path": "--output_dir",
        "-o": "--output_dir",
    },
}

Layout = Literal["auto", "clips", "gopro", "dvd", "reds", "frames"]
BlurFolder = Literal["blur", "blur_gamma"]
MODELS = ("CDVD-TSP",)  # the published sizes, see PUBLISHED_SIZES of the networks in models/
# CDVD-TSP's arguments that were options of their own
_ENTRIES = {
    "stages": int, "width": int, "blocks": int, "kernel_size": int, "downscale": int,
    "global_skip": bool, "gate": bool, "flow": str, "body": str, "prior": bool, "recurrent": bool,
}  # fmt: skip

_LAYOUT = (
    "folder layout: clips (blur/ and gt/), gopro, dvd, reds, frames (nothing sharp); auto "
    "looks at the folders"
)
_BLUR_FOLDER = "GoPro's blurry folder: linear average (blur) or through gamma 2.2 (blur_gamma)"
_TRAINING_DATA = "training data, see --source; null: the embedded sample"
_WEIGHTS = f"{WEIGHTS}; it decides the network; none: the shipped one"
_DEFAULT_DATA = (
    "DVD or GOPRO, the published setting: dataset/NAME/test, the authors' weights "
    "for it, infer_results/NAME"
)


def recipe_of(model: str) -> str | None:
    """The file in configs/ with the published recipe of a model."""
    return recipe_in(Path(__file__).with_name("configs"), model)


@dataclass(frozen=True)
class TrainConfig:
    """Train a video network into experiment/SAVE. Without --config: the published recipe of
    --model.
    """

    data_path: Path | None = option(Path("dataset/DVD/train"), _TRAINING_DATA)
    val_path: Path | None = option(
        Path("dataset/DVD/test"), "validation data: blurry and sharp clips on disk; null: none"
    )
    val_frames: int = option(0, "frames validated of each video, from its start; 0 = all")
    best_by: Literal["psnr", "mean_gain", "worst_gain"] = option(
        "psnr",
        "the best checkpoint has the highest: mean PSNR, as published; mean gain of the blurred "
        "videos; gain of the worst of them",
    )

    source: Literal["clips", "videos", "pictures"] = option(
        "clips",
        "clips: blurry and sharp frames on disk; videos, pictures: sharp ones, blurred while "
        "training",
    )
    picture_path: Path | None = option(
        None, "with --source videos: sharp pictures to move, for a fraction of the samples"
    )
    picture_fraction: float = option(0.2, "that fraction, 0 .. 1")
    srgb_fraction: float = option(
        0.0,
        "with --source videos: fraction averaged in sRGB space instead of linear light, as GoPro "
        "is",
    )
    cached: Cached = option("none", f"--source clips: {CACHED}")
    cache_path: Path = option(
        Path("dataset/cache"),
        "where --cached keeps pixels, and --source videos its videos at a high frame rate",
    )
    layout: Layout = option("auto", _LAYOUT)
    blur_folder: BlurFolder = option("blur", _BLUR_FOLDER)
    max_frames: int = option(100, "frames used of each training video; 0 = all")
    model: str = option("CDVD-TSP", f"network: {', '.join(MODELS)}", configs=recipe_of)
    network: dict | None = option(
        None,
        "arguments of the network, {NAME: VALUE, ...}, see its file in models/; none: the "
        "published "
        "ones",
        belongs_to="model",
        entries=_ENTRIES,
    )
    save: str = option("cdvd_tsp", SAVE)
    resume: bool = option(False, RESUME)
    weights: Path | None = option(
        None, f"{START}; CDVD-TSP with body naf: also of a NAFNet for photos"
    )
    start_blocks: list[int] | None = option(
        None,
        "where --weights has more blocks at the coarsest scale: the ones to take, from 0 "
        "(default: the first)",
    )
    flow_weights: Path | None = option(
        Path("pretrain_models/network-default.pytorch"),
        "published PWC-Net weights to start the flow from",
    )
    epochs: int = option(
        500,
        f"{EPOCHS}; the set is repeated whole within one as long as that stays under 1000 batches",
    )
    warm_start: int = option(
        0,
        "first optimiser steps spent on single frames that are their own neighbours, without flow",
    )
    warm_batch_size: int = option(32, "single frames per step of these", minimum=1)
    max_batches: int = option(0, "batches of an epoch at most; 0 = as the data give")
    batch_size: int = option(8, "clips per optimiser step", minimum=1)
    patch_size: int = option(256, "side of the training patch, px", minimum=1)
    lr: float = option(1e-4, "learning rate (Adam)")
    flow_lr: float = option(1e-6, "learning rate of a learned flow network inside")
    schedule: Literal["step", "cosine"] = option(
        "step", "step: drops as published; cosine: from the full rates to 0 over all epochs"
    )
    lr_decay: int = option(200, "epochs between two drops of both rates", minimum=1)
    lr_gamma: float = option(0.5, "factor of a drop")
    loss: str = option(
        "1*L1+2*HEM",
        "weighted sum of L1, MSE, Charbonnier, PSNR (its negative), FFT, HEM (hard examples)",
    )
    gradient_norm: float = option(0.0, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    clip_frames: int = option(
        0, "frames of a training clip; 0 = as the network needs; CDVD-TSP takes more if recurrent"
    )
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(1, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class InferenceConfig:
    """Restore videos: files or folders of frames.

    Without options: the shipped network on the embedded sample.
    """

    data_path: Path | None = option(
        None,
        "a video file, a folder of frames or of videos, or one with ground truth (see --layout); "
        "none: the embedded sample",
    )
    default_data: Literal["DVD", "GOPRO"] | None = option(None, _DEFAULT_DATA)
    weights: Path | None = option(None, _WEIGHTS)
    model: str | None = option(
        None, f"the network that the weights must hold: {', '.join(MODELS)}; not needed"
    )
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: OUTPUT_DIR/VIDEO/FRAME.png or VIDEO.mp4; default infer_results/video_deblur",
    )
    layout: Layout = option("auto", _LAYOUT)
    blur_folder: BlurFolder = option("blur", _BLUR_FOLDER)
    border: bool | None = option(
        None,
        "also restore the first and last two frames; default: only where there is no ground truth",
    )
    skip_existing: bool = option(False, f"{SKIP_EXISTING}, video by video")
    lossless: bool = option(
        False, "video files: lossless RGB H.264 in .mkv instead of high-quality .mp4"
    )
    report: bool = option(True, REPORT)
    compile: bool = option(False, "compile the network (first frames slower, later ones faster)")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class TestConfig:
    """Restore videos and score the written files, or score files that exist (-b -s -r).

    --table runs the published table.
    """

    data_path: Path | None = option(
        None, "videos with ground truth (see --layout); none: the embedded sample"
    )
    default_data: Literal["DVD", "GOPRO"] | None = option(None, _DEFAULT_DATA)
    weights: Path | None = option(None, _WEIGHTS)
    model: str | None = option(
        None, f"the network that the weights must hold: {', '.join(MODELS)}; not needed"
    )
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: frames, scores.json, scores.csv, config.yaml, report.html; default "
        "experiment/video_deblur_test",
    )
    layout: Layout = option("auto", _LAYOUT)
    blur_folder: BlurFolder = option("blur", _BLUR_FOLDER)
    border: bool = option(False, "also restore and score the first and last two frames")
    protocol: Literal["cdvd", "cdvd_train", "image", "image_float"] = option(
        "cdvd", "how pictures are compared, see utils/evaluation/protocols.py"
    )
    table: str | None = option(None, TABLE, bare="all")
    blurry_dir: Path | None = option(None, f"{BLURRY_DIR}, for the input's figures")
    sharp_dir: Path | None = option(None, SHARP_DIR)
    restored_dir: Path | None = option(None, f"{RESTORED_DIR}, paired by relative name")
    skip_existing: bool = option(False, f"{SKIP_EXISTING}, video by video")
    report: bool = option(True, REPORT)
    compile: bool = option(False, "compile the network (first frames slower, later ones faster)")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)
