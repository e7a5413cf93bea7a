"""Options of the hypercut doors. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option

Augmentation = Literal["affine", "jitter", "noise", "turn", "flicker"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

_DATA_PATH = "folder of sequences with its metadata.json, or such a file; none: the embedded sample"
_DATASET_NAME = "the same as --data_path dataset/NAME"
_METADATA = "another metadata file for these pictures; without --data_path its pictures lie beside it or in dataset/, below its `name`"
_PARTITION = "which sequences: train, val, test, or all"
_WEIGHTS = "weights file of a HyperCUT network, ours or the authors', or the name of one in pretrain_models/"
_DEVICE = "auto (the GPU where there is one), cpu, cuda or cuda:N"
_PRECISION = "arithmetic of the network; auto: bf16 on a GPU that has it, else fp32"


@dataclass(frozen=True)
class TrainConfig:
    """Train the ordering network into experiment/SAVE. Without --config: the published recipe."""

    data_path: Path | None = option(Path("dataset/REDS_HyperCUT"), _DATA_PATH)
    dataset_name: str | None = option(None, _DATASET_NAME)
    metadata: Path | None = option(None, _METADATA)
    network: dict | None = option(None, "arguments of the network, {NAME: VALUE, ...}; see models/hypercut.py; none: the published one")
    weights: Path | None = option(None, "start from the weights of a network of the same shape")
    save: str = option("hypercut", "name of the run")
    resume: bool = option(False, "go on from the run's last checkpoint")
    load_epoch: int = option(0, "as HyperCUT's command has it; above 0 it is the same as --resume: the last checkpoint counts")
    epochs: int = option(100, "epochs")
    val_every: int = option(5, "epochs between validations; 0 = only at the end")
    val_sequences: int = option(0, "sequences validated, evenly spread over the partition val; 0 = all")
    batch_size: int = option(8, "sequences per optimiser step")
    image_size: int = option(256, "side of the training patch, px")
    augment: list[Augmentation] = option(
        ["affine", "jitter", "noise"],
        "what is changed at random, in all eight pictures alike; turn: flips and turns; flicker: each moment's light",
    )
    lr: float = option(5e-4, "learning rate at the start (Adamax)")
    lr_gamma: float = option(0.9, "its factor")
    lr_decay: int = option(3, "epochs after which it applies, again and again")
    gradient_norm: float = option(0.0, "clip the norm of the gradient to this; 0 = no clipping")
    accumulate: int = option(1, "parts a batch is worked through in, to save memory")
    average: float = option(0.0, "decay of the moving average of the weights that is validated and exported; 0 = none")
    max_minutes: float = option(0.0, "save and stop after this many minutes; 0 = no limit")
    workers: int = option(6, "loader processes")
    seed: int = option(1, "seed of all randomness")
    device: str = option("auto", _DEVICE)
    precision: Precision = option("auto", _PRECISION)


@dataclass(frozen=True)
class _ScoreConfig:
    """What test and generate share."""

    data_path: Path | None = option(None, _DATA_PATH)
    dataset_name: str | None = option(None, _DATASET_NAME)
    metadata: Path | None = option(None, _METADATA)
    weights: Path | None = option(None, _WEIGHTS)
    workers: int = option(4, "loader processes")
    device: str = option("auto", _DEVICE)
    precision: Precision = option("auto", _PRECISION)


@dataclass(frozen=True)
class TestConfig(_ScoreConfig):
    """Hit, Con@2 and Con@3 of an ordering network. Without options: the shipped one on the embedded sample."""

    partition: Literal["test", "val", "train", "all"] = option("test", _PARTITION)
    output_dir: Path | None = option(None, "scores.json and scores.csv go here; default experiment/hypercut_test")
    table: str | None = option(None, "print the published figures and what repeating them needs", bare="all")


@dataclass(frozen=True)
class GenerateConfig(_ScoreConfig):
    """Write the metadata anew: `order: reverse` where all three pairs of a sequence, as stored, lie on the negative side."""

    save_path: Path | None = option(None, "the metadata file to write; default metadata_ordered.json beside the given one")
