"""Options of the image_deblur commands, and the networks that --model names. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.model_choice import recipe_of as recipe_in
from utils.config import option
from utils.errors import UserError
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

# The published sizes; each network's file in models/ says what they are (PUBLISHED_SIZES).
MODELS = (
    "SRN", "DeepDeblur", "NoBlur", "LightDehaze", "Restormer", "MIMO-UNet", "MIMO-UNet+",
    "NAFNet-32", "NAFNet-64",
)  # fmt: skip
SRN_VARIANTS = ("color", "lstm", "gray")
DEFAULT_MODEL = "NAFNet-32"

BlurFolder = Literal["blur", "blur_gamma", "blur_jpeg", "blurry", "input"]
Augmentation = Literal["mirror", "turn", "colour", "noise"]

_NAMES = ", ".join(MODELS)
_MODEL = f"network: {_NAMES}"
_VARIANT = "SRN: color, or lstm and gray, which see one colour at a time"
_BLUR_FOLDER = (
    "which blurry folder, where the data have several: GoPro's blur (linear average) "
    "or blur_gamma; none: blur"
)
_CONDITION = (
    "irp: a NAFNet that also sees the restoration potential of every part of the "
    "picture (models/guided_nafnet.py)"
)
_WEIGHTS = f"{WEIGHTS} (SRN: a TensorFlow checkpoint or its folder); none: the shipped one"
_LOCAL = (
    "NAFNet: average its channel attention over windows as large as in training (TLC), as "
    "its published test does"
)
_GAMMA = (
    "the network sees the picture to this power, its result is taken to the inverse (SRN of SBDD)"
)


def recipe_of(model: str) -> str | None:
    """The file in configs/ with the published recipe of a model."""
    if model in SRN_VARIANTS:
        model = "SRN"
    return recipe_in(Path(__file__).with_name("configs"), model)


def chosen_model(model: str, variant: str | None = None) -> tuple[str, dict]:
    """(network, arguments) that --model and --variant mean.

    SRN's published --model lstm, color and gray are understood.
    """
    from models import choose  # torch is not needed for --help
    from models.contracts import ImageNetwork

    if model in SRN_VARIANTS:
        if variant not in (None, model):
            raise UserError(f"--model {model} and --variant {variant} are two variants of SRN")
        variant = model
        model = "SRN"
    if model.lower() == "nafnet":
        model = DEFAULT_MODEL
    network, arguments = choose(model, ImageNetwork)
    if variant and network != "srn":
        raise UserError(f"--variant {variant} belongs to SRN, not to {model}")
    return network, arguments | ({"variant": variant} if variant else {})


@dataclass(frozen=True)
class TrainConfig:
    """Train a network into experiment/SAVE. Without --config: the published recipe of --model."""

    data_path: Path | None = option(
        Path("dataset/GOPRO/train"), "training data, see --source; null: the embedded sample"
    )
    val_path: Path | None = option(
        Path("dataset/GOPRO/test"),
        "validation data: pairs on disk; null: none, and the last weights are the best",
    )
    val_pictures: int = option(0, "pairs validated, evenly spread over them; 0 = all")
    source: Literal["auto", "pairs", "shards", "pictures", "no_blur"] = option(
        "auto",
        "pairs: blurry and sharp pictures on disk; shards: tar files of them; pictures: sharp "
        "ones, blurred while training; "
        "no_blur: sharp ones through six Gaussians, the rule of the No-Blur U-Net; auto looks at "
        "the folder",
    )
    blur_folder: BlurFolder | None = option(None, _BLUR_FOLDER)
    model: str = option(DEFAULT_MODEL, _MODEL, configs=recipe_of)
    variant: Literal["color", "lstm", "gray"] | None = option(None, _VARIANT)
    network: dict | None = option(
        None,
        "further arguments of the network, {NAME: VALUE, ...}; see its file in models/",
        belongs_to="model",
    )
    condition: Literal["irp"] | None = option(None, _CONDITION)
    irp_weights: Path | None = option(
        None, "--condition irp: the IRP network, which stays as it is; none: the shipped one"
    )
    weights: Path | None = option(None, START)
    save: str = option("nafnet32", SAVE)
    resume: bool = option(False, RESUME)
    epochs: int = option(0, f"{EPOCHS}; 0 = see --steps")
    steps: int = option(200_000, "optimiser steps, where --epochs is 0")
    val_every: int = option(0, "steps between validations; 0 = an epoch")
    batch_size: int = option(32, "pairs per optimiser step", minimum=1, unused_with="phases")
    patch_size: int = option(256, "side of the training patch, px", minimum=1, unused_with="phases")
    phases: list[str] | None = option(
        None, "growing patches: PATCHxBATCH:STEPS ..., e.g. 128x64:92000 160x40:64000"
    )
    tile_size: int = option(
        512, "cut the pictures into tiles of this side first, px; 0 = whole pictures"
    )
    tile_step: int = option(256, "distance between two of these tiles, px", minimum=1)
    augment: list[Augmentation] = option(
        ["turn"],
        "mirror: left-right; turn: the eight flips and turns; colour, noise: as in DeepDeblur",
    )
    optimizer: Literal["adam", "adamw"] = option("adamw", "optimiser")
    betas: list[float] = option([0.9, 0.9], "its decay rates")
    weight_decay: float = option(1e-3, "its weight decay")
    lr: float = option(1e-3, "learning rate at the start")
    lr_min: float = option(1e-7, "cosine: learning rate at the end")
    schedule: Literal["constant", "cosine", "step", "power"] = option(
        "cosine", "cosine to --lr_min, step at --milestones, power (1 - progress)^lr_power"
    )
    lr_hold: int = option(0, "cosine: steps at the full rate first")
    lr_power: float = option(0.3, "power: its exponent")
    milestones: list[int] | None = option(None, "step: epochs at which the rate drops")
    lr_gamma: float = option(0.5, "step: factor of a drop")
    loss: str = option(
        "1*PSNR",
        "weighted sum of L1, MSE, PSNR (its negative), FFT, ADV (adversarial), over every scale "
        "of the network",
    )
    psnr_floor: float = option(1e-8, "added to the squared error inside PSNR")
    gradient_norm: float = option(0.01, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    mask_path: Path | None = option(
        None,
        "--source pictures: masks of the objects, as for generate.py sbdd; none: one blur a "
        "picture",
    )
    mask_kind: MaskKind = option("auto", "its kind")
    kernel_path: Path | None = option(None, "--source pictures: blur kernels; none: generated ones")
    kernel_size: int = option(65, "--source pictures: side of the kernels, px", minimum=1)
    strong: float = option(1.0, "--source pictures: fraction with the kernels as they come")
    mild: float = option(
        0.0, "--source pictures: fraction with kernels of at most 4 px; what is left has no blur"
    )
    zoom: list[float] = option(
        [1.0, 1.0], "--source pictures: they are enlarged by a random factor of this range first"
    )
    gamma: float = option(2.2, "--source pictures: camera response, linear = picture^gamma")
    augment_illumination: bool = option(
        False, "--source pictures: up to three times more light, which saturates"
    )
    video_path: Path | None = option(
        None,
        "sharp videos: exposures over them take a fraction of the samples, whatever the --source",
    )
    video_fraction: float = option(0.5, "that fraction, 0 .. 1")
    cached: Cached = option("none", f"--source pairs: {CACHED}")
    cache_path: Path = option(
        Path("dataset/cache"),
        "where --cached keeps pixels, and --video_path its videos at a high frame rate",
    )
    max_frames: int = option(300, "--video_path: frames used of each video; 0 = all")
    srgb_fraction: float = option(
        0.0,
        "--source pictures, --video_path: fraction averaged in sRGB space instead of linear light, "
        "as GoPro's blur is",
    )
    gamma_factor: float = option(1.0, _GAMMA)
    noise_fraction: float = option(
        0.0,
        "--source pictures: fraction of noisy blurry patches, Gaussian of deviation U(0, 0.015)",
    )
    jpeg_fraction: float = option(
        0.0, "--source pictures: fraction of blurry patches compressed as JPEG of quality 70 .. 95"
    )
    compile: bool = option(False, "compile the network for training (slower start, faster steps)")
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(1, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class _RestoreConfig:
    """What inference and test share."""

    data_path: Path | None = option(
        None, "a photo, a folder of photos or of pairs, or a video file; none: the embedded sample"
    )
    weights: Path | None = option(None, _WEIGHTS)
    model: str | None = option(
        None, f"the network that the weights must hold: {_NAMES}; not needed"
    )
    variant: Literal["color", "lstm", "gray"] | None = option(None, _VARIANT)
    condition: Literal["irp"] | None = option(
        None, "irp: the weights must hold a NAFNet guided by IRP; not needed"
    )
    step: int | None = option(
        None, "SRN: which of a folder's TensorFlow checkpoints; none: the latest"
    )
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: OUTPUT_DIR/NAME.png or VIDEO.mp4, and scores; default "
        "infer_results/image_deblur, of test.py experiment/image_deblur_test",
    )
    blur_folder: BlurFolder | None = option(None, _BLUR_FOLDER)
    gamma_factor: float = option(1.0, _GAMMA)
    ensemble: bool = option(
        False,
        "average over the eight flips and turns of the image: eight times slower, a little better",
    )
    local_statistics: bool = option(True, _LOCAL)
    tile: int = option(0, "work in tiles of this side, px; 0 = only where memory asks for it")
    tile_overlap: int = option(64, "px that neighbouring tiles share, blended smoothly")
    memory: float = option(0.0, "GB that may be used; 0 = what is free")
    skip_existing: bool = option(False, f"{SKIP_EXISTING}, picture by picture")
    report: bool = option(True, REPORT)
    compile: bool = option(
        False, "compile the network (slower start, faster images; best for many of one size)"
    )
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class InferenceConfig(_RestoreConfig):
    """Restore photos: a file, a folder, or a video frame by frame. Without options: the shipped
    network on the embedded sample.
    """

    height: int | None = option(
        None, "as SRN's command has it; any size works, so it changes nothing"
    )
    width: int | None = option(
        None, "as SRN's command has it; any size works, so it changes nothing"
    )
    demo: bool = option(
        True, "as DeepDeblur's command has it; this command is the demo, so it changes nothing"
    )
    lossless: bool = option(
        False, "video files: lossless RGB H.264 in .mkv instead of high-quality .mp4"
    )


@dataclass(frozen=True)
class TestConfig(_RestoreConfig):
    """Restore pictures and score the written files, score files that exist (-b -s -r), or run the
    published table (--table).
    """

    protocol: Literal["auto", "image", "image_float", "realblur", "kohler"] = option(
        "auto",
        "how pictures are compared, see utils/evaluation/protocols.py; auto: realblur or kohler "
        "for data of "
        "such a name, else image",
    )
    table: str | None = option(None, TABLE, bare="all")
    blurry_dir: Path | None = option(None, f"{BLURRY_DIR}, for the input's figures")
    sharp_dir: Path | None = option(None, SHARP_DIR)
    restored_dir: Path | None = option(None, f"{RESTORED_DIR}, paired by name")
