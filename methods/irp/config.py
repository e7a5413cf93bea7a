"""Options of the irp commands. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option
from utils.download.table import FOLDERS
from utils.options import (
    ACCUMULATE,
    AUTO_PRECISION,
    AVERAGE,
    DEVICE,
    EPOCHS,
    EXACT_PRECISION,
    GRADIENT_NORM,
    GUARD,
    LOCAL_STATISTICS,
    MAX_MINUTES,
    ONLY_BLURRY,
    PROFILE,
    REPORT,
    RESULTS,
    RESUME,
    SAVE,
    SCALE,
    SCALES,
    SEED,
    START,
    STRENGTH,
    TABLE,
    WEIGHTS,
    WORKERS,
    MaskKind,
    Precision,
)

# Published spellings: command -> {theirs: ours}; see docs/commands.md.
ALIASES = {
    "train": {"--facts": "--auxiliary_weight", "--fresh_share": "--fresh_fraction"},
    "test": {"--weights_path": "--weights", "-o": "--output_dir"},
    "inference": {
        "--weights_path": "--weights",
        "--input_path": "--data_path",
        "--output_path": "--output_dir",
        "-o": "--output_dir",
    },
    "generate": {"-o": "--output_dir"},
}

IMAGENET = FOLDERS["weights"] / "resnet50-0676ba61.pth"  # torchvision's IMAGENET1K_V1
_STACKS = (
    "exposure stacks (each scene at several exposures) with labels: SCENE/{ratio}.png, IRP_label/"
)
_WEIGHTS = f"{WEIGHTS}; an IRP network; default: the shipped weights"


@dataclass(frozen=True)
class TrainConfig:
    """Train the predictor of restoration potential; the run goes to experiment/SAVE.

    A shot is one photo or one frame of a video. Without --config: the published recipe.
    """

    data_path: Path | None = option(
        Path("dataset/IRPDataset"), f"{_STACKS}; the value null: the embedded sample"
    )
    backbone: str = option(
        "resnet50",
        "feature extractor: light, the name of a ResNet in torchvision, or pretrainedmodels:NAME "
        "if that package is installed",
    )
    network: dict | None = option(
        None, "further arguments of the network, {NAME: VALUE, ...}; see models/irp.py"
    )
    imagenet: str = option(
        "auto",
        "initial weights of the ResNet: auto (torchvision's IMAGENET1K_V1, from pretrain_models/ "
        "or downloaded), none (random), or a file",
        value="{auto,none,PATH}",
    )
    weights: Path | None = option(None, START)
    save: str = option("irp", SAVE)
    resume: bool = option(False, RESUME)
    epochs: int = option(30, EPOCHS)
    val_every: int = option(1, "validate every so many epochs; 0 = only at the end")
    batch_size: int = option(
        16,
        "shots per optimiser step; with --bracket K, scenes per step, each with K shots",
        minimum=1,
    )
    patch_size: int = option(
        0,
        "side of the training patch, px; 0 = whole shots, all of one size, as published",
    )
    augment: list[Literal["mirror", "turn", "colours"]] = option(
        ["mirror"],
        "mirror: left-right flip; turn: all flips and rotations by 90 degrees, of patches only "
        "(--patch_size); colours: random order of the colour channels",
    )
    bracket: int = option(
        1,
        "number of shots of the same scene, at different exposures, in each item of a batch; "
        "published: 1",
        minimum=1,
    )
    within: float = option(
        0.0,
        "weight of a further loss: the mean squared error after the mean error of each scene is "
        "subtracted (needs --bracket above 1)",
    )
    auxiliary_weight: float = option(
        0.0,
        "weight of an auxiliary loss: the error of the light, blur and detail of a shot, which "
        "generate.py irp records and a head predicts that is not exported",
    )
    fresh_path: Path | None = option(
        None,
        "sharp pictures, of which new shots with pseudo-labels are simulated at every step; "
        "default: only DATA_PATH",
    )
    fresh_fraction: float = option(
        0.75,
        "fraction of the samples that come from --fresh_path; pictures of validation and test "
        "scenes are left out",
    )
    mask_path: Path | None = option(
        None, "masks of the objects in --fresh_path, as for generate.py irp"
    )
    mask_kind: MaskKind = option("auto", "kind of --mask_path, see generate.py sbdd --help")
    lr: float = option(1e-4, "learning rate at the start (Adam)")
    lr_gamma: float = option(0.1, "factor by which the learning rate drops")
    milestones: list[int] = option(
        [10, 20], "epochs after which the learning rate drops and the state of Adam is reset"
    )
    gradient_norm: float = option(0.0, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    profile: bool = option(False, PROFILE)
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(19920318, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("fp32", AUTO_PRECISION)


@dataclass(frozen=True)
class TestConfig:
    """Score a predictor of restoration potential: SRCC and PLCC, per scene and overall.

    Without options: the shipped network on the embedded sample.
    """

    data_path: Path | None = option(None, f"{_STACKS}; default: the embedded sample")
    weights: Path | None = option(None, _WEIGHTS)
    partition: Literal["test", "val", "train", "all"] = option(
        "test", "partition of the scenes to score"
    )
    baselines: bool = option(True, "also score simple sharpness measures, which need no training")
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: scores.json, scores.csv, scatter.png, config.yaml, report.html; default: "
        "experiment/irp_test",
    )
    report: bool = option(True, REPORT)
    table: str | None = option(None, TABLE, bare="all")
    workers: int = option(4, WORKERS)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", EXACT_PRECISION)


@dataclass(frozen=True)
class InferenceConfig:
    """Predict how good shots will be after restoration: score them, select the best, or find the
    best exposure.

    A shot is one photo or one frame of a video. Scores: about 0..1, higher is better.
    """

    data_path: Path | None = option(
        None,
        "an image, a folder of images, or a video file; expose: an exposure stack, "
        "that is a folder of {ratio}.png, or a folder of stacks; default: the embedded sample",
    )
    task: Literal["score", "select", "expose"] = option(
        "score",
        "score: score and rank all shots; select: copy the best (--keep); expose: recommend an "
        "exposure for every stack",
    )
    weights: Path | None = option(None, _WEIGHTS)
    judge: Literal["mixed", "network"] = option(
        "mixed",
        "score, select: what shots are ranked by; mixed: the network's potential and plain "
        "sharpness, which ranks clean shots of a burst or clip better; network: the potential "
        "alone, as published",
    )
    ratio: float | None = option(
        None,
        "exposure ratio: the factor by which the stored shots are too dark (in linear light); "
        "default: the ratios in the file names of a stack, else 1",
    )
    keep: str = option("20%", "select: number of shots, or percentage of them", value="{N,N%}")
    spread: float | None = option(
        None,
        "select: minimum distance of two selected shots: seconds in a video, positions in the "
        "order of names among pictures; default: in a video a quarter of the distance of evenly "
        "spaced shots, among pictures 0",
    )
    write_ratings: bool = option(
        False,
        "score, select: write a rating as PICTURE.EXT.xmp beside every picture: 5 stars for the "
        "selected ones, the others 1 to 4 by their score; existing files stay as they are",
    )
    restore: bool = option(
        False, "select: also restore the selected shots; results in OUTPUT_DIR/restored"
    )
    restorer: Path | None = option(
        None,
        "select --restore: weights of the single-image network; default: the shipped weights",
    )
    scale: str = option("auto", f"select --restore: {SCALE}, place by place", value=SCALES)
    strength: float = option(1.0, f"select --restore: {STRENGTH}")
    only_blurry: bool = option(False, f"select --restore: {ONLY_BLURRY}, place by place")
    guard: bool = option(True, f"select --restore: {GUARD}")
    local_statistics: bool = option(True, f"select --restore: {LOCAL_STATISTICS}")
    error: float = option(
        0.05,
        "expose: standard deviation that is assumed for the prediction error; the reported "
        "confidence follows from it",
    )
    output_dir: Path | None = option(None, f"{RESULTS}; default: infer_results/irp/TASK")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", f"{AUTO_PRECISION}; --restore: as image_deblur")


@dataclass(frozen=True)
class GenerateConfig:
    """Make labelled exposure stacks from sharp pictures and videos.

    Every shot is restored; its label is the quality of the result. Under torchrun the work is split
    between the processes. Existing results are kept, so the same command continues a stopped run.
    """

    data_path: Path | None = option(
        Path("dataset/sharp"),
        "sharp pictures and video files; folders of frames with --source videos; the value null: "
        "the embedded sample",
    )
    output_dir: Path = option(Path("dataset/IRPDataset"), RESULTS)
    source: Literal["auto", "pictures", "videos"] = option(
        "auto",
        "what to take; auto: pictures and video files; pictures: these alone; videos: video files "
        "and folders of frames",
    )
    n_images: int = option(1, "scenes per picture or video", minimum=1)
    ratios: list[float] | None = option(
        None, "exposure ratios; default: the eleven published ones, 1 to 75"
    )
    height: int = option(256, "height of the shots, px", minimum=1)
    width: int = option(256, "width of the shots, px", minimum=1)
    blur: list[float] = option(
        [2.0, 40.0],
        "pictures: range of the extent of the motion at ratio 1, px; drawn evenly on a logarithmic "
        "scale",
        value="MIN MAX",
    )
    still: float = option(0.1, "pictures: fraction of scenes without motion")
    exposure: list[float] = option(
        [2.0, 6.0],
        "videos: range of the exposure time at ratio 1, frame intervals",
        value="MIN MAX",
    )
    photons: list[float] = option(
        [500.0, 20000.0],
        "range of the number of electrons at full scale at ratio 1; drawn evenly on a logarithmic "
        "scale",
        value="MIN MAX",
    )
    read_noise: float = option(2.0, "read noise of the sensor, electrons")
    kernel_size: int = option(65, "side of the blur kernels, px", minimum=1)
    mask_path: Path | None = option(
        None,
        "pictures: segmentation of their objects, see --mask_kind; default: only the camera moves",
    )
    mask_kind: MaskKind = option("auto", "kind of --mask_path, see generate.py sbdd --help")
    max_objects: int = option(
        2, "masks: maximum number of objects per picture; each costs one deconvolution"
    )
    restorers: list[Literal["denoise", "deblur", "deconvolve"]] = option(
        ["denoise", "deblur", "deconvolve"],
        "restorers whose results define the label; deconvolve uses the true blur kernels",
    )
    weights: list[str] = option(
        ["image_deblur"],
        "restorer deblur: weights of the networks, files or names in pretrain_models/",
    )
    seed: int = option(1, f"{SEED}; a scene depends only on the seed and on its source")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", EXACT_PRECISION)


def published_files(config: object) -> list[Path]:
    """What --download gets beside the paths of the options: the start of a ResNet-50."""
    starts = isinstance(config, TrainConfig) and not config.weights and config.imagenet == "auto"
    return [IMAGENET] if starts and config.backbone.endswith("resnet50") else []
