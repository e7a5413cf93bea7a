"""Options of the blur2vid commands; frames are numbered 1 ... 7, the centre is 4."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.comparison_options import ComparisonOptions
from methods.common.model_choice import recipe_of as recipe_in
from methods.common.sequence_options import SequenceTraining
from utils.config import option
from utils.download.table import FOLDERS
from utils.errors import UserError
from utils.options import (
    AUTO_PRECISION,
    BLURRY_DIR,
    DATASET_NAME,
    DEVICE,
    EXACT_PRECISION,
    METADATA,
    REPORT,
    RESTORED_DIR,
    RESULTS,
    SAVE,
    SCALE,
    SCALES,
    SCORED_DEFAULT,
    SEQUENCES,
    SHARP_DIR,
    TABLE,
    WEIGHTS,
    Precision,
)

# Published spellings: command -> {theirs: ours}; see docs/commands.md.
ALIASES = {
    "train": {
        "--metadata_root": "--metadata",
        "--num_epochs": "--epochs",
        "--gamma": "--lr_gamma",
        "--exp_name": "--save",
    },
    "test": {
        "--metadata_root": "--metadata",
        "--pretrained_path": "--weights",
        "-b": "--blurry_dir",
        "-s": "--sharp_dir",
        "-r": "--restored_dir",
        "-o": "--output_dir",
    },
    "inference": {
        "--blur_path": "--data_path",
        "--input_path": "--data_path",
        "--pretrained_path": "--weights",
        "--output_path": "--output_dir",
        "-o": "--output_dir",
    },
}

FRAMES = 7
BACKBONES = ("Jin", "Purohit")  # the published sizes, see the networks in models/
Centre = Literal["ground_truth", "deblurred"]
Loss = Literal["naive", "order_inv", "hypercut"]

_BACKBONE = f"network: {', '.join(BACKBONES)}"
_CENTRE = (
    "Purohit: the sharp centre frame that the network gets; ground_truth: the true one, as "
    "published; deblurred: the blurry picture restored by --deblurrer"
)
LPIPS_BACKBONE = FOLDERS["weights"] / "alexnet-owt-7be5be79.pth"  # torchvision's AlexNet
_DEBLURRER = (
    "weights of the single-image network that makes the centre frame; default: the shipped weights"
)
_TARGET = "which of the seven frames {}, 1 ... 7; symmetric about the centre 4"
_WEIGHTS = f"{WEIGHTS}; default: the shipped weights"


def recipe_of(backbone: str) -> str | None:
    """The file in configs/ with the published recipe of a backbone."""
    return recipe_in(Path(__file__).with_name("configs"), backbone)


def frame_indices(target_frames: list[int], symmetric: bool = True) -> list[int]:
    """Indices 0 ... 6 of --target_frames in ascending order.

    Raises UserError unless they are frames (and symmetric about the centre).
    """
    frames = sorted(set(target_frames))
    given = f"--target_frames {' '.join(map(str, target_frames))}"
    if not frames or frames[0] < 1 or frames[-1] > FRAMES:
        raise UserError(f"{given}: frames are numbered 1 ... {FRAMES}")
    mirrored = [8 - frame for frame in reversed(frames)]
    if symmetric and (4 not in frames or frames != mirrored):
        raise UserError(
            f"{given}: they must hold the centre 4 and be symmetric about it, like 1 4 7"
        )
    return [frame - 1 for frame in frames]


@dataclass(frozen=True)
class TrainConfig(SequenceTraining):
    """Train a network that turns a blurry picture into seven sharp frames; the run goes to
    experiment/SAVE.

    Without --config: the published recipe of --backbone.
    """

    backbone: str = option("Jin", _BACKBONE, configs=recipe_of)
    loss_type: Loss = option(
        "hypercut",
        "naive: every frame in its stored order; order_inv: symmetric pairs in either order; "
        "hypercut: order_inv, and all pairs on one side of the ordering network's hyperplane",
    )
    hypercut_path: Path | None = option(
        None, "loss hypercut: weights of the ordering network; default: the shipped weights"
    )
    alpha: float = option(0.2, "loss hypercut: weight of the hyperplane term")
    flow_weight: float = option(
        0.02, "Purohit: weight of the auxiliary loss, the mean length of the flow vectors"
    )
    centre_loss: bool = option(
        False,
        "losses order_inv and hypercut: add the error of the centre frame, which the published "
        "losses leave out",
    )
    centre: Centre = option("ground_truth", _CENTRE)
    deblurrer: Path | None = option(None, f"--centre deblurred: {_DEBLURRER}")
    target_frames: list[int] = option(
        [1, 2, 3, 4, 5, 6, 7], _TARGET.format("the loss is computed on")
    )
    save: str = option("blur2vid", SAVE)
    image_size: int = option(
        240,
        "side of the training patch, px; Jin needs a multiple of 20, which the published 256 is "
        "not",
        minimum=1,
    )


@dataclass(frozen=True)
class _UnfoldConfig:
    """What inference and test share; the first field is the data, as callers give it first."""

    data_path: Path | None = option(
        None, "a blurry photo or a folder of them; default: a picture of the embedded sample"
    )
    backbone: str | None = option(
        None, f"optional check: the network that the weights must hold: {', '.join(BACKBONES)}"
    )
    weights: Path | None = option(None, _WEIGHTS)
    deblurrer: Path | None = option(None, _DEBLURRER)
    tile: int = option(
        0, "work in tiles of this side, px; 0 = only if the whole image does not fit into memory"
    )
    memory: float = option(0.0, "GB that may be used; 0 = all that is free")
    report: bool = option(True, REPORT)
    device: str = option("auto", DEVICE)


@dataclass(frozen=True)
class InferenceConfig(_UnfoldConfig):
    """Turn a blurry photo, or each one in a folder, into seven sharp frames: PNG, MP4, GIF, strip.

    Without options: the shipped network on a picture of the embedded sample.
    """

    output_dir: Path | None = option(
        None,
        f"{RESULTS}; for a folder of photos one folder each in it; default: infer_results/blur2vid",
    )
    precision: Precision = option("auto", f"{AUTO_PRECISION}; the centre frame: as image_deblur")
    target_frames: list[int] = option(
        [1, 2, 3, 4, 5, 6, 7], "which of the seven frames are written, 1 ... 7"
    )
    scale: str = option("auto", f"centre frame: {SCALE}, place by place", value=SCALES)
    fps: float = option(14.0, "frames per second of the MP4 and the GIF")
    loop: Literal["forward", "ping-pong"] = option(
        "ping-pong",
        "MP4 and GIF run forward, or forward and back again; the GIF repeats endlessly",
    )


@dataclass(frozen=True)
class TestConfig(_UnfoldConfig, ComparisonOptions):
    """Score predicted sharp frames by pPSNR, pSSIM and pLPIPS, or existing files (-r -s).

    --compare compares folders of results, --table computes the published figures.
    """

    data_path: Path | None = option(None, f"{SEQUENCES}; default: the embedded sample")
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: pictures, scores.json, scores.csv, config.yaml, report.html; "
        f"{SCORED_DEFAULT.format('blur2vid')}",
    )
    precision: Precision = option("auto", EXACT_PRECISION)
    target_frames: list[int] = option([1, 2, 3, 4, 5, 6, 7], _TARGET.format("are scored"))
    dataset_name: str | None = option(None, DATASET_NAME)
    metadata: Path | None = option(None, METADATA)
    partition: Literal["test", "val", "train", "all"] = option(
        "test", "partition of the sequences to score; the published program scores val"
    )
    centre: Centre = option("ground_truth", _CENTRE)
    deblurrer: Path | None = option(None, f"--centre deblurred: {_DEBLURRER}")
    hypercut_path: Path | None = option(
        None,
        "score the predicted frames by Hit, Con@2 and Con@3 as well, with these weights of the "
        "ordering network; without a value: the shipped weights",
        bare=Path("hypercut"),
    )
    loss_type: Loss | None = option(
        None, "option of the published program; changes nothing, because scoring needs no loss"
    )
    batch_size: int = option(
        1,
        "option of the published program; changes nothing, because sequences are scored one by one",
        minimum=1,
    )
    pictures: bool = option(
        True, "write the predicted frames, OUTPUT_DIR/ID/deblur_0.png ... deblur_6.png"
    )
    table: str | None = option(None, TABLE, bare="all")
    blurry_dir: Path | None = option(
        None, f"{BLURRY_DIR}, ID.png or ID/blur/, to score the blurry picture repeated seven times"
    )
    restored_dir: Path | None = option(None, f"{RESTORED_DIR}, ID/deblur_0.png ... deblur_6.png")
    sharp_dir: Path | None = option(None, f"{SHARP_DIR}, ID/ or ID/sharp/ with seven frames")


def published_files(config: object) -> list[Path]:
    """What --download gets beside the paths of the options: the backbone of LPIPS, to score."""
    return [LPIPS_BACKBONE] if isinstance(config, TestConfig) else []
