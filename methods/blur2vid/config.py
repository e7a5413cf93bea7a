"""Options of the blur2vid commands; frames are numbered 1 ... 7, the centre is 4."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.model_choice import recipe_of as recipe_in
from methods.common.sequence_options import SequenceTraining
from utils.config import option
from utils.errors import UserError
from utils.options import (
    BLURRY_DIR,
    DATASET_NAME,
    DEVICE,
    METADATA,
    PRECISION,
    REPORT,
    RESTORED_DIR,
    RESULTS,
    SAVE,
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
    "Purohit's centre frame: ground_truth (as published, for sequences that have it), or "
    "deblurred by --deblurrer"
)
_DEBLURRER = "weights of the single-image network that makes the centre frame"
_TARGET = "which of the seven frames {}; symmetric about the centre 4"
_WEIGHTS = f"{WEIGHTS}; none: the shipped one"


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
    """Train a network that unfolds a blurry picture into experiment/SAVE.

    Without --config: the published recipe of --backbone.
    """

    backbone: str = option("Jin", _BACKBONE, configs=recipe_of)
    loss_type: Loss = option(
        "hypercut",
        "naive: every frame in its stored order; order_inv: symmetric pairs in either order; "
        "hypercut: that and one side of the plane",
    )
    hypercut_path: Path | None = option(
        None, "loss hypercut: weights of the ordering network; none: the shipped one"
    )
    alpha: float = option(0.2, "loss hypercut: weight of the side")
    flow_weight: float = option(
        0.02, "Purohit: weight of the auxiliary loss, the mean length of flows"
    )
    centre_loss: bool = option(
        False,
        "order_inv and hypercut: also the centre frame's error, which the published losses leave "
        "out",
    )
    centre: Centre = option("ground_truth", _CENTRE)
    deblurrer: Path | None = option(None, f"{_DEBLURRER}; none: the shipped one")
    target_frames: list[int] = option([1, 2, 3, 4, 5, 6, 7], _TARGET.format("the loss sees"))
    save: str = option("blur2vid", SAVE)
    image_size: int = option(
        240,
        "side of the training patch, px; the published 256 is no multiple of Jin's 20",
        minimum=1,
    )


@dataclass(frozen=True)
class _UnfoldConfig:
    """What inference and test share."""

    data_path: Path | None = option(None, SEQUENCES)
    backbone: str | None = option(
        None, f"the network that the weights must hold ({', '.join(BACKBONES)}); not needed"
    )
    weights: Path | None = option(None, _WEIGHTS)
    deblurrer: Path | None = option(
        None,
        f"{_DEBLURRER} where there is no ground truth or --centre asks for it; none: the shipped "
        "one",
    )
    output_dir: Path | None = option(
        None, f"{RESULTS}; default infer_results/blur2vid, of test.py experiment/blur2vid_test"
    )
    target_frames: list[int] = option([1, 2, 3, 4, 5, 6, 7], _TARGET.format("count"))
    tile: int = option(0, "work in tiles of this side, px; 0 = only where memory asks for it")
    memory: float = option(0.0, "GB that may be used; 0 = what is free")
    report: bool = option(True, REPORT)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class InferenceConfig(_UnfoldConfig):
    """Unfold a blurry photo (or a folder of them) into seven pictures, an MP4, a GIF and a strip.

    Without options: the shipped network on a picture of the embedded sample.
    """

    data_path: Path | None = option(
        None, "a blurry photo or a folder of them; none: one of the embedded sample"
    )
    target_frames: list[int] = option(
        [1, 2, 3, 4, 5, 6, 7], "which of the seven frames are written"
    )
    fps: float = option(14.0, "frames per second of the MP4 and the GIF")
    loop: Literal["forward", "ping-pong"] = option(
        "ping-pong",
        "the MP4 and the GIF run forward, or forward and back again; the GIF repeats endlessly",
    )


@dataclass(frozen=True)
class TestConfig(_UnfoldConfig):
    """Score sharp frames by pPSNR, pSSIM and pLPIPS, or score files that exist (-r -s).

    --table runs the published table.
    """

    dataset_name: str | None = option(None, DATASET_NAME)
    metadata: Path | None = option(None, METADATA)
    partition: Literal["test", "val", "train", "all"] = option(
        "test", "which sequences; the published script scored val"
    )
    centre: Centre = option("ground_truth", _CENTRE)
    hypercut_path: Path | None = option(
        None,
        "also Hit, Con@2 and Con@3 of the predictions by this ordering network",
        bare=Path("hypercut"),
    )
    loss_type: Loss | None = option(
        None, "as the published command has it; scoring needs no loss, so it changes nothing"
    )
    batch_size: int = option(
        1,
        "as the published command has it; sequences are scored one by one, so it changes nothing",
        minimum=1,
    )
    pictures: bool = option(
        True, "write the predicted frames, OUTPUT_DIR/ID/deblur_0.png ... deblur_6.png"
    )
    table: str | None = option(None, TABLE, bare="all")
    blurry_dir: Path | None = option(
        None, f"{BLURRY_DIR}, ID.png or ID/blur/, for the figures of repeating them"
    )
    restored_dir: Path | None = option(None, f"{RESTORED_DIR}, ID/deblur_0.png ... deblur_6.png")
    sharp_dir: Path | None = option(None, f"{SHARP_DIR}, ID/ or ID/sharp/ with seven frames")
