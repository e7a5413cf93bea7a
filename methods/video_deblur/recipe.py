"""What a training of video_deblur does, for --explain and docs/recipes.md."""

import dataclasses

import torch

from methods.common.recipe import (
    OURS,
    PAPER,
    PROGRAM,
    UNNAMED,
    Line,
    Plan,
    Recipe,
    machine_lines,
    optimizer_line,
    rate_line,
    seconds_per_sample,
    with_batches_of_one,
)
from methods.video_deblur.config import TrainConfig
from methods.video_deblur.train import VideoTask, rate
from models import build, choose
from models.contracts import VideoNetwork
from utils.config import parse
from utils.evaluation.tables import count_parameters

DVD_STEPS = 683  # per epoch, at most: 61 videos of at most 100 frames, no repetition
SOURCES = {
    "cdvd_tsp": ("Pan et al., CVPR 2020, arXiv 2004.02501", "github.com/csbhr/CDVD-TSP"),
    "shift_net": ("Li et al., CVPR 2023, arXiv 2206.10810", "github.com/dasongli1/Shift-Net"),
}


def recipe(config: TrainConfig) -> Recipe:
    """The lines of a configuration; the steps of an epoch are those of DVD."""
    name, arguments = choose(config.model, VideoNetwork)
    with torch.device("meta"):
        network = build(name, **(arguments | (config.network or {})))
    parameters = count_parameters(network)
    frames = config.clip_frames or network.frames
    per_epoch = min(DVD_STEPS, config.max_batches or DVD_STEPS)
    steps = config.epochs * per_epoch
    known = " (DVD's)" if per_epoch == DVD_STEPS else ""
    start = str(config.weights or "PyTorch's default")
    if name == "cdvd_tsp":
        start += f"; flow network from {config.flow_weights.name}"
    lines = [
        Line("network", f"{config.model}, {parameters:,} parameters", PAPER, ("network",)),
        Line("initialisation", start, PROGRAM, ("weights", "flow_weights")),
        Line("data", _data(config, frames), PROGRAM, ("source", "max_frames", "clip_frames")),
        Line("augmentation", f"random patch of {config.patch_size} px; then left-right flip, "
             "up-down flip, transposition (each p 0.5), the same for all frames", PROGRAM,
             ("patch_size",)),
        Line("loss", _loss(config, name), PAPER, ("loss",)),
        optimizer_line(config, "adam", (0.9, config.beta2), 1e-8),
        rate_line(_rate_words(config, name), lambda step: rate(config, config.lr, step, per_epoch),
                  steps, "flow_lr", "schedule", "lr_decay", "lr_gamma", "lr_min"),
        Line("batch", f"{config.batch_size} clips over all processes; an epoch's last, smaller "
             "one is kept", PROGRAM, ("batch_size", "accumulate")),
        Line("length", f"{config.epochs} epochs, each repeats the set as often as fits into 1000 "
             f"batches: at most {per_epoch} steps{known}, {steps:,} in all", PROGRAM,
             ("epochs", "max_batches")),
        *machine_lines(config, f"{config.best_by} of the final result", "validation every epoch "
                       "(protocol cdvd_train)"),
    ]  # fmt: skip
    paper, program = SOURCES.get(name, (UNNAMED, UNNAMED))
    sources = {PAPER: paper, PROGRAM: program, OURS: "this repository"}
    return Recipe(f"video_deblur --model {config.model}", lines, sources, parameters)


def published(config: TrainConfig) -> TrainConfig:
    """The published recipe of the configuration's network."""
    return parse(TrainConfig, "video_deblur", "train", ["--model", config.model])


def plan(config: TrainConfig) -> Plan:
    """What the training means for its data; one sample is timed."""
    task = VideoTask(dataclasses.replace(config, val_path=None))
    sample = seconds_per_sample(VideoTask(with_batches_of_one(config)))
    steps = config.epochs * task.steps_per_epoch
    work = float(steps * config.batch_size)
    return Plan(len(task.training_set), task.steps_per_epoch, steps, work, sample)


def _data(config: TrainConfig, frames: int) -> str:
    text = f"windows of {frames} frames of {config.data_path or 'the sample'} ({config.source})"
    if config.data_path and config.data_path.parts[-1] == "train":
        text = f"windows of {frames} frames of {config.data_path.parts[-2]} train"
    limit = f", the first {config.max_frames} frames of each video" if config.max_frames else ""
    return f"{text}{limit}; none crosses a video"


def _loss(config: TrainConfig, network: str) -> str:
    text = config.loss
    if network == "cdvd_tsp":
        text += " on the results of all stages side by side as channels"
    if network == "shift_net":
        text += " on all frames of a window but the first and the last"
    if "HEM" in config.loss:
        text += " (HEM: the hardest half and a random tenth of the pixels, one mask per sample)"
    return text


def _rate_words(config: TrainConfig, network: str) -> str:
    words = f"{config.lr:g}"
    if network == "cdvd_tsp":
        words += f", flow network {config.flow_lr:g}"
    if config.schedule == "cosine":
        return f"{words}, cosine to {config.lr_min:g}"
    return f"{words}, times {config.lr_gamma:g} every {config.lr_decay} epochs"
