"""Options of the image_deblur commands. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.comparison_options import ComparisonOptions
from methods.common.export_options import ExportConfig as _ExportConfig
from methods.common.file_options import PictureFileOptions, VideoFileOptions
from methods.image_deblur.names import DEFAULT_MODEL, MODELS, canonical_model, recipe_of
from utils.config import option
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
    LOCAL_STATISTICS,
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
    MaskKind,
    Precision,
)

# Published spellings: command -> {theirs: ours}; see docs/commands.md.
ALIASES = {
    "test": {
        "-b": "--blurry_dir",
        "-s": "--sharp_dir",
        "-r": "--restored_dir",
        "-o": "--output_dir",
        "--gopro_blur": "--blur_folder",
        "--training_dir": "--weights",
        "--save_dir": "--weights",
    },
    "inference": {
        "--input_path": "--data_path",
        "--output_path": "--output_dir",
        "-o": "--output_dir",
        "--gopro_blur": "--blur_folder",
        "--training_dir": "--weights",
        "--save_dir": "--weights",
        "--demo_input_dir": "--data_path",
        "--demo_output_dir": "--output_dir",
    },
    "train": {
        "--video_share": "--video_fraction",
        "--encoded_share": "--srgb_fraction",
        "--noise_share": "--noise_fraction",
        "--jpeg_share": "--jpeg_fraction",
        "--gopro_blur": "--blur_folder",
        "--save_dir": "--save",
        "--n_threads": "--workers",
    },
}

BlurFolder = Literal["blur", "blur_gamma", "blur_jpeg", "blurry", "input"]
Augmentation = Literal["mirror", "turn", "colour", "noise"]

_NAMES = ", ".join(MODELS)
_MODEL = f"network: {_NAMES}"
_VARIANTS = "lstm and gray restore each colour channel separately"
_BLUR_FOLDER = (
    "which blurry folder to use if the data set has several, as GoPro has blur (frames averaged in "
    "pixel values) and blur_gamma (averaged in linear light, gamma 2.2); default: blur"
)
_CONDITION = (
    "irp: a NAFNet that is guided by the map of restoration potential which a frozen IRP network "
    "predicts (models/guided_nafnet.py)"
)
_ANY_SIZE = "option of SRN's program; changes nothing, because any size works"
_WEIGHTS = f"{WEIGHTS} (SRN: a TensorFlow checkpoint or its folder); default: the shipped weights"
_GAMMA = (
    "raise the picture to this power before the network and its result to the inverse power (SRN "
    "of SBDD)"
)


@dataclass(frozen=True)
class TrainConfig:
    """Train a network for photos; the run goes to experiment/SAVE.

    Without --config: the published recipe of --model; train.py sbdd takes it on pairs that are made
    from sharp pictures as by SBDD.
    """

    data_path: Path | None = option(
        Path("dataset/GOPRO/train"),
        "training data of the kind --source; the value null: the embedded sample",
    )
    val_path: Path | None = option(
        Path("dataset/GOPRO/test"),
        f"validation data: pairs on disk; {NO_VALIDATION}",
    )
    val_pictures: int = option(
        0, "number of pairs to validate on, evenly spread over VAL_PATH; 0 = all"
    )
    source: Literal["auto", "pairs", "shards", "pictures", "realistic", "no_blur"] = option(
        "auto",
        "kind of the training data; pairs: blurry and sharp pictures on disk; shards: tar files of "
        "pairs; pictures: sharp pictures, which are blurred during training; realistic: the same, "
        "with camera motion that varies over the frame, noise and development of a camera, "
        "compression; no_blur: sharp pictures, blurred by six Gaussians as for the No-Blur U-Net; "
        "auto: recognised by what the folder holds",
    )
    realism: dict | None = option(
        None,
        "--source realistic: fractions and ranges that differ from those of "
        "data/synthesis/realism.py, {NAME: VALUE, ...}",
    )
    blur_folder: BlurFolder | None = option(None, _BLUR_FOLDER)
    model: str = option(DEFAULT_MODEL, _MODEL, configs=recipe_of, canonical=canonical_model)
    variant: Literal["color", "lstm", "gray"] | None = option(
        None, f"SRN's variant; {_VARIANTS}; default: color"
    )
    network: dict | None = option(
        None,
        "further arguments of the network, {NAME: VALUE, ...}; see its file in models/",
        belongs_to="model",
    )
    condition: Literal["irp"] | None = option(None, _CONDITION)
    irp_weights: Path | None = option(
        None,
        "--condition irp: weights of the IRP network, which stays frozen; default: the shipped "
        "ones",
    )
    weights: Path | None = option(None, START)
    save: str = option("nafnet32", SAVE)
    resume: bool = option(False, RESUME)
    epochs: int = option(0, f"{EPOCHS}; 0 = --steps decides")
    steps: int = option(200_000, "number of optimiser steps, if --epochs is 0")
    val_every: int = option(0, "validate every so many optimiser steps; 0 = once per epoch")
    batch_size: int = option(32, "pairs per optimiser step", minimum=1, unused_with="phases")
    patch_size: int = option(256, "side of the training patch, px", minimum=1, unused_with="phases")
    phases: list[str] | None = option(
        None,
        "progressive training: patches and batches of these sizes one after another, e.g. "
        "128x64:92000 160x40:64000",
        value="PATCHxBATCH:STEPS ...",
    )
    tile_size: int = option(
        512,
        "side of the tiles into which training pictures are cut before patches are drawn, px; 0 = "
        "whole pictures",
    )
    tile_step: int = option(256, "distance between two of these tiles, px", minimum=1)
    crop_size: int = option(
        0, "--source pairs: side of a random crop from which the patch is drawn, px; 0 = none"
    )
    drop_last: bool = option(False, "leave out an epoch's last batch if it is smaller")
    augment: list[Augmentation] = option(
        ["turn"],
        "mirror: left-right flip; turn: the eight flips and rotations by 90 degrees; colour, "
        "noise: as in DeepDeblur",
    )
    optimizer: Literal["adam", "adamw"] = option("adamw", "optimiser")
    betas: list[float] = option([0.9, 0.9], "beta_1 and beta_2 of the optimiser")
    epsilon: float = option(1e-8, "epsilon of the optimiser")
    weight_decay: float = option(1e-3, "weight decay of the optimiser")
    lr: float = option(1e-3, "learning rate at the start")
    lr_min: float = option(1e-7, "cosine: learning rate at the end")
    schedule: Literal["constant", "cosine", "step", "power"] = option(
        "cosine",
        "schedule of the learning rate; cosine: decay to --lr_min; step: drops at --milestones; "
        "power: lr * (1 - progress)^lr_power",
    )
    lr_hold: int = option(0, "cosine: number of steps at the full learning rate before the decay")
    lr_power: float = option(0.3, "power: the exponent")
    milestones: list[int] | None = option(None, "step: epochs at which the learning rate drops")
    lr_gamma: float = option(0.5, "step: factor by which the learning rate drops")
    loss: str = option(
        "1*PSNR",
        "weighted sum of L1, MSE, Charbonnier, PSNR (its negative), FFT, HEM (hard examples), ADV "
        "(adversarial), over every scale of the network",
        value="SUM",
    )
    psnr_floor: float = option(
        1e-8, "loss PSNR: added to the mean squared error before the logarithm"
    )
    gradient_norm: float = option(0.01, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    profile: bool = option(False, PROFILE)
    mask_path: Path | None = option(
        None,
        "--source pictures: masks of the objects, as for generate.py sbdd; default: one blur for "
        "the whole picture",
    )
    mask_kind: MaskKind = option("auto", "kind of --mask_path, see generate.py sbdd --help")
    kernel_path: Path | None = option(
        None, "--source pictures: blur kernels; default: generated ones"
    )
    kernel_size: int = option(65, "--source pictures: side of the kernels, px", minimum=1)
    strong: float = option(
        1.0, "--source pictures: fraction of the patches blurred by kernels of full length"
    )
    mild: float = option(
        0.0,
        "--source pictures: fraction of the patches blurred by kernels of at most 4 px; the rest "
        "(1 - strong - mild) has no blur",
    )
    zoom: list[float] = option(
        [1.0, 1.0],
        "--source pictures, realistic: range of the random factor by which pictures are enlarged "
        "before they are blurred",
        value="MIN MAX",
    )
    gamma: float = option(2.2, "--source pictures: camera response, linear = picture^gamma")
    augment_illumination: bool = option(
        False, "--source pictures: up to three times more light, so that highlights saturate"
    )
    video_path: Path | None = option(
        None,
        "sharp videos, with any --source: a fraction of the samples are simulated exposures, "
        "averages of their frames",
    )
    video_fraction: float = option(
        0.5, "fraction of the samples that come from --video_path, 0 .. 1"
    )
    cached: Cached = option("none", f"--source pairs: {CACHED}")
    cache_path: Path = option(
        Path("dataset/cache"),
        "folder for the pixels of --cached, and for the videos of --video_path after interpolation "
        "to a high frame rate",
    )
    max_frames: int = option(300, "--video_path: maximum number of frames of each video; 0 = all")
    srgb_fraction: float = option(
        0.0,
        "--source pictures, --video_path: fraction of the samples that are averaged in sRGB space "
        "instead of linear light, as in GoPro's blur",
    )
    gamma_factor: float = option(1.0, _GAMMA)
    noise_fraction: float = option(
        0.0,
        "--source pictures: fraction of the blurry patches with Gaussian noise, its standard "
        "deviation drawn from U(0, 0.015)",
    )
    jpeg_fraction: float = option(
        0.0,
        "--source pictures: fraction of the blurry patches compressed as JPEG of quality 70 .. 95",
    )
    compile: bool = option(
        False, "compile the network with torch.compile (slower start, faster steps)"
    )
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(1, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", AUTO_PRECISION)


@dataclass(frozen=True)
class _RestoreConfig:
    """What inference and test share; the first field is the data, as callers give it first."""

    data_path: Path | None = option(
        None,
        "a photo, a folder of photos or of pairs, or a video file; default: the embedded sample",
    )
    weights: Path | None = option(None, _WEIGHTS)
    model: str | None = option(
        None, f"optional check: the network that the weights must hold: {_NAMES}"
    )
    variant: Literal["color", "lstm", "gray"] | None = option(
        None, f"optional check: the variant of SRN that the weights must hold; {_VARIANTS}"
    )
    condition: Literal["irp"] | None = option(
        None, "optional check; irp: the weights must hold a NAFNet guided by IRP"
    )
    step: int | None = option(
        None, "SRN: step of the TensorFlow checkpoint to take from a folder; default: the latest"
    )
    blur_folder: BlurFolder | None = option(None, _BLUR_FOLDER)
    strength: float = option(1.0, STRENGTH)
    only_blurry: bool = option(False, f"{ONLY_BLURRY}, place by place")
    gamma_factor: float = option(1.0, _GAMMA)
    ensemble: bool = option(
        False,
        "self-ensemble: average over the eight flips and rotations by 90 degrees: eight times "
        "slower, a little better",
    )
    ensemble_views: Literal[4, 8] = option(
        8, "--ensemble: 8, or 4 for the flips alone, as MIMO-UNet++"
    )
    local_statistics: bool = option(True, f"{LOCAL_STATISTICS}, as in its published test")
    tile: int = option(
        0, "work in tiles of this side, px; 0 = only if the whole image does not fit into memory"
    )
    tile_overlap: int = option(64, "overlap of neighbouring tiles, px; they are blended smoothly")
    memory: float = option(
        0.0, "GB that may be used; 0 = all that is free, with --scale auto on a CPU at most 2"
    )
    skip_existing: bool = option(False, f"{SKIP_EXISTING}, checked per picture")
    report: bool = option(True, REPORT)
    compile: bool = option(
        False,
        "compile the network with torch.compile (slower start, faster images; best for many of one "
        "size)",
    )
    device: str = option("auto", DEVICE)


@dataclass(frozen=True)
class InferenceConfig(VideoFileOptions, PictureFileOptions, _RestoreConfig):
    """Restore photos: a file, a folder, or a video frame by frame. Without options: the shipped
    network on the embedded sample.
    """

    output_dir: Path | None = option(
        None,
        f"{RESULTS}: NAME.png (or .jpg) or VIDEO.mp4, and scores where there is ground truth; "
        "default: infer_results/image_deblur, of a run's weights by name experiment/RUN/result",
    )
    scale: str | None = option(
        None, f"{SCALE}, place by place; {AUTO_UNLESS_PUBLISHED}", value=SCALES
    )
    guard: bool | None = option(None, f"{GUARD}; {ON_UNLESS_PUBLISHED}")
    precision: Precision = option("auto", AUTO_PRECISION_SHIPPED)
    height: int | None = option(None, _ANY_SIZE)
    width: int | None = option(None, _ANY_SIZE)
    demo: bool = option(
        True, "option of DeepDeblur's program; changes nothing, because this command is the demo"
    )
    part: str = option("", PART, value="K/N")


@dataclass(frozen=True)
class TestConfig(_RestoreConfig, ComparisonOptions):
    """Restore pictures and score the restored files, score existing files (-b -s -r), compare
    folders of results (--compare), or compute the published figures (--table).
    """

    data_path: Path | None = option(
        None, "pictures with ground truth, a folder of pairs; default: the embedded sample"
    )
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: pictures, scores.json, scores.csv, config.yaml, report.html; "
        f"{SCORED_DEFAULT.format('image_deblur')}",
    )
    scale: str | None = option(None, f"{SCALE}, place by place; default: 1", value=SCALES)
    guard: bool | None = option(None, f"{GUARD}; default: false")
    precision: Precision = option("auto", EXACT_PRECISION)
    protocol: Literal["auto", "image", "image_float", "realblur", "kohler"] = option(
        "auto",
        "how pictures are compared, see Protocols in docs/conventions.md; auto: realblur or "
        "kohler if the data set has such a name, else image",
    )
    file_pattern: str | None = option(
        None,
        "score only pictures whose blurry file has such a name, e.g. '*9.*' for the 300 of REDS "
        "that NAFNet's program scores",
        value="PATTERN",
    )
    table: str | None = option(None, TABLE, bare="all")
    blurry_dir: Path | None = option(None, f"{BLURRY_DIR}, to score the input as well")
    sharp_dir: Path | None = option(None, SHARP_DIR)
    restored_dir: Path | None = option(None, f"{RESTORED_DIR}, paired with the sharp ones by name")


@dataclass(frozen=True)
class ExportConfig(_ExportConfig):
    """Write a network for photos into one file that other programs run."""
