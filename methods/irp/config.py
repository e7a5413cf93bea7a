"""Options of the irp commands. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option
from utils.options import (
    ACCUMULATE,
    AVERAGE,
    DEVICE,
    EPOCHS,
    GRADIENT_NORM,
    MAX_MINUTES,
    PRECISION,
    PRINT_TABLE,
    REPORT,
    RESULTS,
    RESUME,
    SAVE,
    SEED,
    START,
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

_STACKS = "exposure stacks with labels (SCENE/{ratio}.png, IRP_label/); none: the embedded sample"
_WEIGHTS = f"{WEIGHTS}; an IRP network; none: the shipped one"


@dataclass(frozen=True)
class TrainConfig:
    """Train the predictor into experiment/SAVE. Without --config: the published recipe."""

    data_path: Path | None = option(Path("dataset/IRPDataset"), _STACKS)
    backbone: str = option(
        "resnet50",
        "trunk: light, a ResNet of torchvision, or pretrainedmodels:NAME where that package is "
        "installed",
    )
    network: dict | None = option(
        None, "further arguments of the network, {channels: 512, widths: [...]}; see models/irp.py"
    )
    imagenet: str = option(
        "auto",
        "the ResNet's weights: auto (torchvision's IMAGENET1K_V1 where reachable), none, or a "
        "file of them",
    )
    weights: Path | None = option(None, START)
    save: str = option("irp", SAVE)
    resume: bool = option(False, RESUME)
    epochs: int = option(30, EPOCHS)
    val_every: int = option(1, "epochs between validations; 0 = only at the end")
    batch_size: int = option(16, "shots per optimiser step, or brackets of them", minimum=1)
    patch_size: int = option(
        0,
        "side of the part of a shot that is seen, px; 0 = whole shots, all of one size, as "
        "published",
    )
    augment: list[Literal["mirror", "turn", "colours"]] = option(
        ["mirror"],
        "mirror: left-right; turn: the other flips and turns of parts (--patch_size); colours: "
        "channels in another order",
    )
    bracket: int = option(
        1,
        "shots of one scene at different exposures that an item of a batch holds, as published one",
        minimum=1,
    )
    within: float = option(
        0.0,
        "weight of the error that is left when a scene's mean error is taken off (--bracket "
        "above 1)",
    )
    auxiliary_weight: float = option(
        0.0,
        "weight of an auxiliary loss on what generate.py irp knows of a shot (light, blur, "
        "detail); its head is left out of the exported weights",
    )
    fresh_path: Path | None = option(
        None,
        "sharp pictures that are exposed anew while training, with pseudo-labels; none: only "
        "DATA_PATH",
    )
    fresh_fraction: float = option(
        0.75, "fraction of such shots; pictures of scenes that validate or test are left out"
    )
    mask_path: Path | None = option(
        None, "masks of these pictures' objects, as for generate.py irp"
    )
    mask_kind: MaskKind = option("auto", "their kind, as in sbdd")
    lr: float = option(1e-4, "learning rate at the start (Adam)")
    lr_gamma: float = option(0.1, "its factor")
    milestones: list[int] = option(
        [10, 20], "epochs after which it applies, and Adam starts afresh"
    )
    gradient_norm: float = option(0.0, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(19920318, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class TestConfig:
    """SRCC and PLCC, per scene and overall, of a predictor.

    Without options: the shipped one on the embedded sample.
    """

    data_path: Path | None = option(None, _STACKS)
    weights: Path | None = option(None, _WEIGHTS)
    partition: Literal["test", "val", "train", "all"] = option("test", "which scenes")
    baselines: bool = option(True, "also the simple measures of sharpness that need no training")
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: scores.json, scores.csv, scatter.png, config.yaml, report.html; default "
        "experiment/irp_test",
    )
    report: bool = option(True, REPORT)
    table: str | None = option(None, PRINT_TABLE, bare="all")
    workers: int = option(4, WORKERS)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class InferenceConfig:
    """Judge shots before restoring them: score them, select the best, or find the best exposure.

    Values: about 0..1, higher is better.
    """

    data_path: Path | None = option(
        None,
        "an image, a folder of them, or a video file; expose: a folder of {ratio}.png; none: the "
        "sample",
    )
    task: Literal["score", "select", "expose"] = option(
        "score", "score all; select the best (--keep); expose: which exposure ratio is best"
    )
    weights: Path | None = option(None, _WEIGHTS)
    ratio: float | None = option(
        None,
        "how many times too dark the shots are stored; none: 1, or what a stack's file names say",
    )
    keep: str = option("20%", "select: how many, N, or which fraction of them, N%")
    restore: bool = option(
        False, "select: also restore the selected ones, into OUTPUT_DIR/restored"
    )
    restorer: Path | None = option(
        None, "select: single-image network that restores; none: the shipped one"
    )
    local_statistics: bool = option(
        True,
        "select: average the restoring NAFNet's channel attention over windows as large as in "
        "training, as image_deblur does",
    )
    error: float = option(
        0.05,
        "expose: error of a prediction (standard deviation), from which the confidence follows",
    )
    output_dir: Path | None = option(None, f"{RESULTS}; default infer_results/irp/TASK")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class GenerateConfig:
    """Make labelled exposure stacks from sharp pictures and videos.

    Every shot is restored; its label is how good it became. Under torchrun every process makes its
    part of them; what is there already is kept, so a stopped run goes on where it was.
    """

    data_path: Path | None = option(
        Path("dataset/sharp"),
        "sharp pictures and video files; folders of frames with --source videos; null: the "
        "embedded sample",
    )
    output_dir: Path = option(Path("dataset/IRPDataset"), RESULTS)
    source: Literal["auto", "pictures", "videos"] = option(
        "auto", "auto: pictures and video files; videos: also folders of frames"
    )
    n_images: int = option(1, "scenes per picture or video", minimum=1)
    ratios: list[float] | None = option(
        None, "exposure ratios; none: the published eleven, 1 to 75"
    )
    height: int = option(256, "height of the shots, px", minimum=1)
    width: int = option(256, "width of the shots, px", minimum=1)
    blur: list[float] = option(
        [2.0, 40.0],
        "pictures: extent of the motion at ratio 1, px: MIN MAX, short ones as often as long",
    )
    still: float = option(0.1, "pictures: fraction of scenes without motion")
    exposure: list[float] = option(
        [2.0, 6.0], "videos: exposure time of ratio 1 in frame intervals: MIN MAX"
    )
    photons: list[float] = option(
        [500.0, 20000.0], "electrons at full scale for ratio 1: MIN MAX, few as often as many"
    )
    read_noise: float = option(2.0, "read noise of the sensor, electrons")
    kernel_size: int = option(65, "side of the blur kernels, px", minimum=1)
    mask_path: Path | None = option(
        None,
        "pictures: segmentation of their objects, see --mask_kind; none: the camera alone moves",
    )
    mask_kind: MaskKind = option("auto", "its kind, as in sbdd")
    max_objects: int = option(
        2, "objects: maximum per picture, each of which costs a deconvolution"
    )
    restorers: list[Literal["denoise", "deblur", "deconvolve"]] = option(
        ["denoise", "deblur", "deconvolve"],
        "what the labels are made with; deconvolve knows the blur kernels",
    )
    weights: list[str] = option(
        ["image_deblur"], "deblur: networks, by file or by name in pretrain_models/"
    )
    seed: int = option(1, f"{SEED}; a scene depends on it and on its source alone")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)
