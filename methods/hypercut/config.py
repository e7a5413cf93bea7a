"""Options of the hypercut commands. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.sequence_options import SequenceTraining
from utils.config import option
from utils.options import (
    DATASET_NAME,
    DEVICE,
    EXACT_PRECISION,
    METADATA,
    REPORT,
    RESULTS,
    SEQUENCES,
    TABLE,
    WEIGHTS,
    WORKERS,
    Precision,
)

_WEIGHTS = f"{WEIGHTS}; a HyperCUT network; default: the shipped weights"

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
        "-o": "--output_dir",
    },
    "generate": {"--metadata_root": "--metadata", "--pretrained_path": "--weights"},
}


@dataclass(frozen=True)
class TrainConfig(SequenceTraining):
    """Train the ordering network; the run goes to experiment/SAVE. Without --config: the published
    recipe.
    """


@dataclass(frozen=True)
class _ScoreConfig:
    """What test and generate share."""

    data_path: Path | None = option(None, f"{SEQUENCES}; default: the embedded sample")
    dataset_name: str | None = option(None, DATASET_NAME)
    metadata: Path | None = option(None, METADATA)
    weights: Path | None = option(None, _WEIGHTS)
    workers: int = option(4, WORKERS)
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", EXACT_PRECISION)


@dataclass(frozen=True)
class TestConfig(_ScoreConfig):
    """Score an ordering network: Hit, Con@2 and Con@3.

    Without options: the shipped network on the embedded sample.
    """

    partition: Literal["test", "val", "train", "all"] = option(
        "test", "partition of the sequences to score"
    )
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: scores.json, scores.csv, config.yaml, report.html; default: "
        "experiment/hypercut_test",
    )
    report: bool = option(True, REPORT)
    table: str | None = option(None, TABLE, bare="all")


@dataclass(frozen=True)
class GenerateConfig(_ScoreConfig):
    """Write a new metadata file with the order that the network gives to each sequence.

    A sequence gets `order: reverse` if all three pairs of its frames, as stored, lie on the
    negative side of the hyperplane.
    """

    save_path: Path | None = option(
        None,
        "the metadata file to write; default: metadata_ordered.json beside the one that was read",
    )
