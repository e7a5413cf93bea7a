"""Options of HyperCUT's two trainings. Imports nothing heavy, so that --help is instant."""

from dataclasses import dataclass
from pathlib import Path

from utils.config import option
from utils.options import (
    ACCUMULATE,
    AUTO_PRECISION,
    AVERAGE,
    DATASET_NAME,
    DEVICE,
    EPOCHS,
    GRADIENT_NORM,
    MAX_MINUTES,
    METADATA,
    PROFILE,
    RESUME,
    SAVE,
    SEED,
    SEQUENCES,
    START,
    WORKERS,
    Precision,
    SequenceAugmentation,
)


@dataclass(frozen=True)
class SequenceTraining:
    """The options of HyperCUT's two trainings, of the ordering network and of blur to video.

    The defaults are its recipe.
    """

    data_path: Path | None = option(
        Path("dataset/REDS_HyperCUT"), f"{SEQUENCES}; the value null: the embedded sample"
    )
    dataset_name: str | None = option(None, DATASET_NAME)
    metadata: Path | None = option(None, METADATA)
    network: dict | None = option(
        None,
        "arguments of the network, {NAME: VALUE, ...}; see its file in models/; default: the "
        "published ones",
        belongs_to="backbone",
    )
    weights: Path | None = option(None, START)
    save: str = option("hypercut", SAVE)
    resume: bool = option(False, RESUME)
    load_epoch: int = option(
        0,
        "option of HyperCUT's program; any value above 0 is the same as --resume, which continues "
        "from the last checkpoint",
    )
    epochs: int = option(100, EPOCHS)
    val_every: int = option(5, "validate every so many epochs; 0 = only at the end")
    val_sequences: int = option(
        0, "number of sequences to validate on, evenly spread over the partition val; 0 = all"
    )
    batch_size: int = option(8, "sequences per optimiser step", minimum=1)
    image_size: int = option(256, "side of the training patch, px", minimum=1)
    augment: list[SequenceAugmentation] = option(
        ["affine", "jitter", "noise"],
        "random changes, the same for all eight pictures of a sequence; affine: shift, rotation "
        "and shear; jitter: brightness, contrast, saturation and hue; noise: Gaussian; turn: flips "
        "and rotations by 90 degrees; flicker: a random brightness for each sharp frame",
    )
    lr: float = option(5e-4, "learning rate at the start (Adamax)")
    lr_gamma: float = option(0.9, "factor by which the learning rate drops")
    lr_decay: int = option(3, "epochs between two drops of the learning rate", minimum=1)
    gradient_norm: float = option(0.0, GRADIENT_NORM)
    accumulate: int = option(1, ACCUMULATE, minimum=1)
    average: float = option(0.0, AVERAGE)
    profile: bool = option(False, PROFILE)
    max_minutes: float = option(0.0, MAX_MINUTES)
    workers: int = option(6, WORKERS)
    seed: int = option(1, SEED)
    device: str = option("auto", DEVICE)
    precision: Precision = option("fp32", AUTO_PRECISION)
