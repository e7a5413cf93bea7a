"""Options of the video_deblur commands: one dataclass per command, units in the help texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.comparison_options import ComparisonOptions
from methods.common.export_options import ExportConfig as _ExportConfig
from methods.common.file_options import PictureFileOptions, VideoFileOptions
from methods.common.model_choice import recipe_of as recipe_in
from utils.config import option
from utils.download.table import FOLDERS
from utils.options import (
    ACCUMULATE,
    AUTO_PRECISION,
    AUTO_PRECISION_SHIPPED,
    AUTO_UNLESS_PUBLISHED,
    AVERAGE,
    BLURRY_DIR,
    CACHED,
    DEVICE,
    EPOCHS,
    EXACT_PRECISION,
    GRADIENT_NORM,
    GUARD,
    MAX_MINUTES,
    NO_VALIDATION,
    ON_UNLESS_PUBLISHED,
    ONLY_BLURRY,
    PART,
    PROFILE,
    REPORT,
    RESTORED_DIR,
    RESULTS,
    RESUME,
    SAVE,
    SCALE,
    SCALES,
    SCORED_DEFAULT,
    SEED,
    SHARP_DIR,
    SKIP_EXISTING,
    START,
    STRENGTH,
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
# --default_data -> the authors' weights
PUBLISHED_WEIGHTS = {"DVD": "CDVD_TSP_DVD_Convergent.pt", "GOPRO": "CDVD_TSP_GOPRO.pt"}
# The published sizes, see PUBLISHED_SIZES of the networks in models/; "Shift-Net" is Shift-Net+.
MODELS = ("CDVD-TSP", "Shift-Net+", "Shift-Net-s")
# CDVD-TSP's arguments that were options of their own
_ENTRIES = {
    "stages": (int, 1), "width": (int, 1), "blocks": (int, 0), "kernel_size": (int, 1),
    "downscale": (int, 1), "global_skip": (bool, 0), "gate": (bool, 0), "flow": (str, 0),
    "body": (str, 0), "prior": (bool, 0), "recurrent": (bool, 0),
}  # fmt: skip

_LAYOUT = (
    "folder layout: clips (blur/ and gt/), gopro, dvd, reds, frames (no sharp ground truth); auto: "
    "recognised by the names of the folders"
)
_BLUR_FOLDER = (
    "GoPro's blurry folder: blur (frames averaged in pixel values) or blur_gamma (averaged in "
    "linear light, gamma 2.2)"
)
_TRAINING_DATA = "training data of the kind --source; the value null: the embedded sample"
_WEIGHTS = f"{WEIGHTS}; the file says which network it holds; default: the shipped weights"
_DEFAULT_DATA = (
    "the published setting for DVD or GOPRO: data from dataset/NAME/test, the authors' weights for "
    "this data set, results in infer_results/NAME"
)


def recipe_of(model: str) -> str | None:
    """The file in configs/ with the published recipe of a model."""
    return recipe_in(Path(__file__).with_name("configs"), model)


@dataclass(frozen=True)
class TrainConfig:
    """Train a video network; the run goes to experiment/SAVE. Without --config: the published
    recipe of --model.
    """

    data_path: Path | None = option(Path("dataset/DVD/train"), _TRAINING_DATA)
    val_path: Path | None = option(
        Path("dataset/DVD/test"),
        f"validation data: blurry and sharp clips on disk; {NO_VALIDATION}",
    )
    val_frames: int = option(0, "number of first frames of each video to validate on; 0 = all")
    best_by: Literal["psnr", "mean_gain", "worst_gain"] = option(
        "psnr",
        "what the best checkpoint maximises on the validation data: psnr: mean PSNR, as published; "
        "mean_gain: mean PSNR gain of the blurred videos; worst_gain: minimum PSNR gain of a "
        "blurred video",
    )

    source: Literal["clips", "videos", "pictures"] = option(
        "clips",
        "kind of the training data; clips: blurry and sharp frames on disk; videos, pictures: "
        "sharp videos or pictures, which are blurred during training",
    )
    picture_path: Path | None = option(
        None,
        "--source videos: sharp pictures, from which clips with simulated camera motion are made",
    )
    picture_fraction: float = option(
        0.2, "fraction of the samples that come from --picture_path, 0 .. 1"
    )
    srgb_fraction: float = option(
        0.0,
        "--source videos: fraction of the samples whose frames are averaged in sRGB space "
        "instead of linear light, as in GoPro's blur",
    )
    realism: dict | None = option(
        None,
        "--source videos: noise and development of cameras, H.264 and JPEG, sharp frames "
        "beside blurry ones, {NAME: VALUE, ...}, see data/synthesis/realism.py; without it: mild "
        "noise and JPEG, all frames of a clip equally exposed",
    )
    cached: Cached = option("none", f"--source clips: {CACHED}")
    cache_path: Path = option(
        Path("dataset/cache"),
        "folder for the pixels of --cached, and for the videos of --source videos after "
        "interpolation to a high frame rate",
    )
    layout: Layout = option("auto", _LAYOUT)
    blur_folder: BlurFolder = option("blur", _BLUR_FOLDER)
    max_frames: int = option(100, "maximum number of frames of each training video; 0 = all")
    model: str = option("CDVD-TSP", f"network: {', '.join(MODELS)}", configs=recipe_of)
    network: dict | None = option(
        None,
        "arguments of the network, {NAME: VALUE, ...}; see its file in models/; default: the "
        "published ones",
        belongs_to="model",
        entries=_ENTRIES,
    )
    save: str = option("cdvd_tsp", SAVE)
    resume: bool = option(False, RESUME)
    weights: Path | None = option(
        None, f"{START}; CDVD-TSP with body naf also takes the weights of a NAFNet for photos"
    )
    start_blocks: list[int] | None = option(
        None,
        "if the network in --weights has more blocks at the coarsest scale than the new one: "
        "indices of the blocks to copy, counted from 0; default: the first ones",
    )
    flow_weights: Path | None = option(
        Path("pretrain_models/network-default.pytorch"),
        "published PWC-Net weights, with which the flow network is initialised",
    )
    epochs: int = option(
        500,
        f"{EPOCHS}; an epoch repeats a small training set as often as fits into 1000 batches",
    )
    warm_start: int = option(
        0,
        "number of optimiser steps at the start that train on single frames without flow; each "
        "frame takes the place of its neighbours",
    )
    warm_batch_size: int = option(32, "frames per optimiser step during --warm_start", minimum=1)
    max_batches: int = option(0, "maximum number of batches per epoch; 0 = no limit")
    batch_size: int = option(8, "clips per optimiser step", minimum=1)
    patch_size: int = option(256, "side of the training patch, px", minimum=1)
    lr: float = option(1e-4, "learning rate (Adam)")
    flow_lr: float = option(1e-6, "learning rate of the flow network, if it is a learned one")
    schedule: Literal["step", "cosine"] = option(
        "step",
        "schedule of both learning rates; step: drops, as published with CDVD-TSP; cosine: decay "
        "to --lr_min over all epochs",
    )
    lr_min: float = option(0.0, "cosine: learning rate at the end")
    beta2: float = option(0.999, "decay of the mean of squared gradients (Adam)")
    lr_decay: int = option(200, "step: epochs between two drops of both learning rates", minimum=1)
    lr_gamma: float = option(0.5, "step: factor by which both learning rates drop")
    loss: str = option(
        "1*L1+2*HEM",
        "weighted sum of L1, MSE, Charbonnier, PSNR (its negative), FFT, HEM (hard examples)",
        value="SUM",
    )
    psnr_floor: float = option(
        1e-3, "loss PSNR: added to the mean squared error before the logarithm"
    )
    gradient_norm: float = option(0.0, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    profile: bool = option(False, PROFILE)
    clip_frames: int = option(
        0,
        "number of frames of a training clip; 0 = as many as the network needs; CDVD-TSP takes "
        "longer clips only if it is recurrent",
    )
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(1, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("fp32", AUTO_PRECISION)


@dataclass(frozen=True)
class InferenceConfig(VideoFileOptions, PictureFileOptions):
    """Restore videos: files or folders of frames.

    Without options: the shipped network on the embedded sample.
    """

    data_path: Path | None = option(
        None,
        "a video file, a folder of frames or of videos, or a folder with ground truth (see "
        "--layout); default: the embedded sample",
    )
    default_data: Literal["DVD", "GOPRO"] | None = option(None, _DEFAULT_DATA)
    weights: Path | None = option(None, _WEIGHTS)
    model: str | None = option(
        None, f"optional check: the network that the weights must hold: {', '.join(MODELS)}"
    )
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: VIDEO/FRAME.png (or .jpg) or VIDEO.mp4, and scores where there is ground "
        "truth; default: infer_results/video_deblur",
    )
    layout: Layout = option("auto", _LAYOUT)
    blur_folder: BlurFolder = option("blur", _BLUR_FOLDER)
    scale: str | None = option(
        None, f"{SCALE}, for each part of a scene; {AUTO_UNLESS_PUBLISHED}", value=SCALES
    )
    strength: float = option(1.0, STRENGTH)
    only_blurry: bool = option(False, f"{ONLY_BLURRY}, frame by frame")
    guard: bool | None = option(None, f"{GUARD}; {ON_UNLESS_PUBLISHED}")
    border: bool | None = option(
        None,
        "also restore the first and last two frames; default: only where there is no ground truth",
    )
    skip_existing: bool = option(False, f"{SKIP_EXISTING}, checked per video")
    part: str = option("", PART, value="K/N")
    report: bool = option(True, REPORT)
    compile: bool = option(
        False, "compile the network with torch.compile (first frames slower, later ones faster)"
    )
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", f"{AUTO_PRECISION_SHIPPED}; --default_data: fp32")


@dataclass(frozen=True)
class TestConfig(ComparisonOptions):
    """Restore videos and score the restored files, or score existing files (-b -s -r).

    --compare compares folders of results, --table computes the published figures.
    """

    data_path: Path | None = option(
        None, "videos with ground truth (see --layout); default: the embedded sample"
    )
    default_data: Literal["DVD", "GOPRO"] | None = option(None, _DEFAULT_DATA)
    weights: Path | None = option(None, _WEIGHTS)
    model: str | None = option(
        None, f"optional check: the network that the weights must hold: {', '.join(MODELS)}"
    )
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: frames, scores.json, scores.csv, config.yaml, report.html; "
        f"{SCORED_DEFAULT.format('video_deblur')}",
    )
    layout: Layout = option("auto", _LAYOUT)
    blur_folder: BlurFolder = option("blur", _BLUR_FOLDER)
    scale: str | None = option(None, f"{SCALE}, for each part of a scene; default: 1", value=SCALES)
    strength: float = option(1.0, STRENGTH)
    only_blurry: bool = option(False, f"{ONLY_BLURRY}, frame by frame")
    guard: bool | None = option(None, f"{GUARD}; default: false")
    border: bool = option(False, "also restore and score the first and last two frames")
    protocol: Literal["cdvd", "cdvd_train", "image", "image_float", "shift_net"] = option(
        "cdvd", "how pictures are compared, see Protocols in docs/conventions.md"
    )
    window: int = option(
        48,
        "--protocol shift_net: number of frames that are scored of each window, which has four "
        "more; published: 48 for Shift-Net+, 96 for Shift-Net-s",
        minimum=1,
    )
    table: str | None = option(None, TABLE, bare="all")
    blurry_dir: Path | None = option(None, f"{BLURRY_DIR}, to score the input as well")
    sharp_dir: Path | None = option(None, SHARP_DIR)
    restored_dir: Path | None = option(
        None, f"{RESTORED_DIR}, paired with the sharp ones by relative path"
    )
    skip_existing: bool = option(False, f"{SKIP_EXISTING}, checked per video")
    report: bool = option(True, REPORT)
    compile: bool = option(
        False, "compile the network with torch.compile (first frames slower, later ones faster)"
    )
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", EXACT_PRECISION)


def published_files(config: object) -> list[Path]:
    """What --download gets beside the paths of the options: that of --default_data."""
    name = getattr(config, "default_data", None)
    if name is None:
        return []
    weights = [] if config.weights else [FOLDERS["weights"] / PUBLISHED_WEIGHTS[name]]
    return [*weights, *([] if config.data_path else [FOLDERS["data"] / name / "test"])]


@dataclass(frozen=True)
class ExportConfig(_ExportConfig):
    """Write a stage of CDVD-TSP, or its optical flow, into one file that other programs run."""

    part: Literal["stage", "flow"] = option(
        "stage",
        "stage: three frames in, the restored centre out, with the flow as input where OpenCV's "
        "DIS gives it (the shipped network); flow: PWC-Net alone",
    )
