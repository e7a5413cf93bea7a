"""What a training of hypercut does, for --explain and docs/recipes.md."""

import torch

from methods.common.recipe import PAPER, PROGRAM, Line, Plan, Recipe
from methods.common.sequence_recipe import SOURCES, sequence_lines, sequence_plan
from methods.hypercut.config import TrainConfig
from methods.hypercut.train import OrderingTask
from models import build
from utils.config import parse
from utils.evaluation.tables import count_parameters


def recipe(config: TrainConfig) -> Recipe:
    """The lines of a configuration."""
    with torch.device("meta"):
        parameters = count_parameters(build("hypercut", **(config.network or {})))
    loss = (
        "1/2 mean softplus(h h_reversed) over three pairs + 1/2 mean softplus(-h h') over couples"
    )
    lines = [
        Line("network", f"HyperCUT, {parameters:,} parameters", PAPER, ("network",)),
        Line("initialisation", f"{config.weights or 'PyTorch default'}; hyperplane U(-1, 1), not "
             "trained", PROGRAM, ("weights",)),
        Line("loss", loss, PAPER),
        *sequence_lines(config, "fraction of sequences that are right in all of it"),
    ]  # fmt: skip
    return Recipe("hypercut", lines, SOURCES, parameters)


def published(config: TrainConfig) -> TrainConfig:
    """The published recipe."""
    return parse(TrainConfig, "hypercut", "train", ["--config", "paper"])


def plan(config: TrainConfig) -> Plan:
    """What the training means for its data."""
    return sequence_plan(config, OrderingTask)
