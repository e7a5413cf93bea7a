"""Options that several methods share, declared once (see utils/config.py)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option

Precision = Literal["auto", "fp32", "bf16", "fp16"]
MaskKind = Literal["auto", "npz", "folders", "labels", "coco", "panoptic", "detector"]
SequenceAugmentation = Literal["affine", "jitter", "noise", "turn", "flicker"]

# Help of options that mean the same at every command; what a command adds stands behind it.
START = "start from the weights of a network of the same shape"
SAVE = "name of the run"
RESUME = "go on from the run's last checkpoint"
EPOCHS = "epochs"
MAX_MINUTES = "save and stop after this many minutes; 0 = no limit"
WORKERS = "loader processes"
SEED = "seed of all randomness"
GRADIENT_NORM = "clip the norm of the gradient to this; 0 = no clipping"
ACCUMULATE = "parts a batch is worked through in, to save memory"
AVERAGE = "decay of the moving average of the weights that is validated and exported; 0 = none"
REPORT = "write report.html"
TABLE = (
    "run the rows of tables.yaml whose data and weights are in place (all, or those of one "
    "data set or network)"
)
PRINT_TABLE = "print the published figures and what repeating them needs"
WEIGHTS = "weights file, ours or the authors', or the name of one in pretrain_models/"
SKIP_EXISTING = "leave alone what has its results already"
RESULTS = "results go here"
BLURRY_DIR = "score files: folder of blurry pictures"
SHARP_DIR = "score files: folder of sharp pictures"
RESTORED_DIR = "score files: folder of restored pictures"
DEVICE = "auto (the GPU where there is one), cpu, cuda or cuda:N"
PRECISION = "arithmetic of the network; auto: bf16 on a GPU that has it, else fp32"
SEQUENCES = "folder of sequences with its metadata.json, or such a file; none: the embedded sample"
DATASET_NAME = "the same as --data_path dataset/NAME"
METADATA = (
    "another metadata file for these pictures; without --data_path its pictures lie "
    "beside it or in dataset/, below its `name`"
)


@dataclass(frozen=True)
class SequenceTraining:
    """The options of HyperCUT's two trainings, of the ordering network and of blur to video; the
    defaults are its recipe.
    """

    data_path: Path | None = option(Path("dataset/REDS_HyperCUT"), SEQUENCES)
    dataset_name: str | None = option(None, DATASET_NAME)
    metadata: Path | None = option(None, METADATA)
    network: dict | None = option(
        None,
        "arguments of the network, {NAME: VALUE, ...}; see its file in models/; none: the "
        "published one",
    )
    weights: Path | None = option(None, START)
    save: str = option("hypercut", SAVE)
    resume: bool = option(False, RESUME)
    load_epoch: int = option(
        0,
        "as HyperCUT's command has it; above 0 it is the same as --resume: the last checkpoint "
        "counts",
    )
    epochs: int = option(100, EPOCHS)
    val_every: int = option(5, "epochs between validations; 0 = only at the end")
    val_sequences: int = option(
        0, "sequences validated, evenly spread over the partition val; 0 = all"
    )
    batch_size: int = option(8, "sequences per optimiser step", minimum=1)
    image_size: int = option(256, "side of the training patch, px", minimum=1)
    augment: list[SequenceAugmentation] = option(
        ["affine", "jitter", "noise"],
        "what is changed at random, in all eight pictures alike; turn: flips and turns; flicker: "
        "each moment's light",
    )
    lr: float = option(5e-4, "learning rate at the start (Adamax)")
    lr_gamma: float = option(0.9, "its factor")
    lr_decay: int = option(3, "epochs after which it applies, again and again", minimum=1)
    gradient_norm: float = option(0.0, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(1, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)
