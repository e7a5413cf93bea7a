"""What a training of irp does, for --explain and docs/recipes.md."""

import dataclasses
import math

import torch

from methods.common.recipe import (
    OURS,
    PAPER,
    PROGRAM,
    Line,
    Plan,
    Recipe,
    length_text,
    machine_lines,
    optimizer_line,
    rate_line,
    seconds_per_sample,
    validation_text,
)
from methods.irp.config import TrainConfig
from methods.irp.train import PotentialTask, rate
from models import build
from utils.config import parse
from utils.evaluation.tables import count_parameters

SHOTS = 350 * 11  # of the published training scenes
SOURCES = {
    PAPER: "Zhang et al., CVPR 2022, arXiv 2203.11754",
    PROGRAM: "the authors' program (train.py)",
    OURS: "this repository",
}


def recipe(config: TrainConfig) -> Recipe:
    """The lines of a configuration; the steps of an epoch are those of the published set."""
    with torch.device("meta"):
        network = build("irp", backbone=config.backbone, **(config.network or {}))
    parameters = count_parameters(network)
    per_epoch = math.ceil(SHOTS / config.batch_size)
    steps = config.epochs * per_epoch
    size = f"patches of {config.patch_size} px" if config.patch_size else "whole shots"
    start = "ImageNet weights (torchvision IMAGENET1K_V1) in both backbones, else Kaiming normal"
    if config.backbone == "light":
        start = "random"
    drops = ", ".join(map(str, config.milestones))
    lines = [
        Line("network", f"IRP, backbone {config.backbone}, {parameters:,} parameters, all trained",
             PAPER, ("backbone", "network")),
        Line("initialisation", str(config.weights or start), PROGRAM, ("weights", "imagenet")),
        Line("data", f"exposure stacks: 350 scenes x 11 ratios = {SHOTS:,} shots of the published "
             "set; label: 10 times the file's number", PROGRAM, ("bracket", "fresh_path")),
        Line("augmentation", f"{size}; then {', '.join(config.augment)} (p 0.5)", PROGRAM,
             ("augment", "patch_size")),
        Line("loss", "mean squared error" + (f" + {config.auxiliary_weight:g} auxiliary" if
             config.auxiliary_weight else ""), PAPER, ("auxiliary_weight", "within")),
        optimizer_line(config, "adam", (0.9, 0.999), 1e-8),
        rate_line(f"{config.lr:g}, times {config.lr_gamma:g} after epochs {drops}, each time with "
                  "a fresh optimiser", lambda step: rate(config, step, per_epoch), steps,
                  "lr_gamma", "milestones"),
        Line("batch", f"{config.batch_size} shots over all processes, which share batch norm; an "
             "epoch's last, smaller one is kept", PROGRAM, ("batch_size", "accumulate")),
        Line("length", f"{config.epochs} epochs: "
             + length_text(SHOTS, config.batch_size, per_epoch, steps), PROGRAM, ("epochs",)),
        *machine_lines(config, "validation SRCC over all shots",
                       validation_text(config.val_every or config.epochs)),
    ]  # fmt: skip
    return Recipe(f"irp --backbone {config.backbone}", lines, SOURCES, parameters)


def published(config: TrainConfig) -> TrainConfig:
    """The published recipe."""
    return parse(TrainConfig, "irp", "train", ["--config", "paper"])


def plan(config: TrainConfig) -> Plan:
    """What the training means for its data; one sample is timed."""
    offline = dataclasses.replace(config, imagenet="none")
    task = PotentialTask(offline)
    small = dataclasses.replace(offline, batch_size=1, workers=0)
    sample = seconds_per_sample(PotentialTask(small))
    work = float(task.steps * config.batch_size)
    return Plan(len(task.training_set), task.epoch, task.steps, work, sample)
