"""Options of the hypercut doors. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option
from utils.options import DATASET_NAME, DEVICE, METADATA, PRECISION, SEQUENCES, Precision, SequenceTraining

_WEIGHTS = "weights file of a HyperCUT network, ours or the authors', or the name of one in pretrain_models/"


@dataclass(frozen=True)
class TrainConfig(SequenceTraining):
    """Train the ordering network into experiment/SAVE. Without --config: the published recipe."""


@dataclass(frozen=True)
class _ScoreConfig:
    """What test and generate share."""

    data_path: Path | None = option(None, SEQUENCES)
    dataset_name: str | None = option(None, DATASET_NAME)
    metadata: Path | None = option(None, METADATA)
    weights: Path | None = option(None, _WEIGHTS)
    workers: int = option(4, "loader processes")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)


@dataclass(frozen=True)
class TestConfig(_ScoreConfig):
    """Hit, Con@2 and Con@3 of an ordering network. Without options: the shipped one on the embedded sample."""

    partition: Literal["test", "val", "train", "all"] = option("test", "which sequences")
    output_dir: Path | None = option(None, "scores.json and scores.csv go here; default experiment/hypercut_test")
    table: str | None = option(None, "print the published figures and what repeating them needs", bare="all")


@dataclass(frozen=True)
class GenerateConfig(_ScoreConfig):
    """Write the metadata anew: `order: reverse` where all three pairs of a sequence, as stored, lie on the negative side."""

    save_path: Path | None = option(None, "the metadata file to write; default metadata_ordered.json beside the given one")
