"""What a training of blur2vid does, for --explain and docs/recipes.md."""

import torch

from methods.blur2vid.config import TrainConfig
from methods.blur2vid.train import UnfoldTask
from methods.common.recipe import OURS, PAPER, UNNAMED, Line, Plan, Recipe
from methods.common.sequence_recipe import SOURCES, sequence_lines, sequence_plan
from models import build, choose
from models.contracts import SequenceNetwork
from utils.config import parse
from utils.evaluation.tables import count_parameters

_STARTS = {
    "jin": "PyTorch's default",
    "purohit": "Kaiming normal in the flow and motion encoders, else PyTorch's default (the "
    "authors start from a video auto-encoder that is not public)",
}
_LOSSES = {
    "naive": "Charbonnier (epsilon 1e-3) of all frames in the stored order",
    "order_inv": "sum over the pairs of MSE(|x1+x2|, |y1+y2|) + MSE(|x1-x2|, |y1-y2|)",
}


def recipe(config: TrainConfig) -> Recipe:
    """The lines of a configuration."""
    name, arguments = choose(config.backbone, SequenceNetwork, "backbone")
    with torch.device("meta"):
        network = build(name, **(arguments | (config.network or {})))
    parameters = count_parameters(network)
    lines = [
        Line("network", f"{config.backbone}, {parameters:,} parameters", PAPER, ("network",)),
        Line(
            "initialisation", str(config.weights or _STARTS.get(name, UNNAMED)), OURS, ("weights",)
        ),
        Line("loss", _loss(config, name), PAPER, ("loss_type", "alpha", "flow_weight")),
        *sequence_lines(config, "pPSNR of the outer frames"),
    ]
    return Recipe(f"blur2vid --backbone {config.backbone}", lines, SOURCES, parameters)


def published(config: TrainConfig) -> TrainConfig:
    """The published recipe of the configuration's network."""
    return parse(TrainConfig, "blur2vid", "train", ["--backbone", config.backbone])


def plan(config: TrainConfig) -> Plan:
    """What the training means for its data."""
    return sequence_plan(config, UnfoldTask)


def _loss(config: TrainConfig, name: str) -> str:
    text = _LOSSES.get(config.loss_type, _LOSSES["order_inv"])
    scales = ", mean over the frames" if name == "jin" else ", mean over four scales"
    text += scales
    if config.loss_type == "hypercut":
        text += (
            f"; + {config.alpha:g} sum over the pairs of softplus(h), judged by a fixed HyperCUT"
        )
    if name == "purohit":
        text += f"; + {config.flow_weight:g} mean length of the flows"
    return text
