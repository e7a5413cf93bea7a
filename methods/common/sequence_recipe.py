"""What HyperCUT's two trainings do, for --explain and docs/recipes.md."""

import dataclasses
import math
from collections.abc import Callable

from methods.common.recipe import (
    OURS,
    PAPER,
    PROGRAM,
    Line,
    Plan,
    length_text,
    machine_lines,
    optimizer_line,
    rate_line,
    seconds_per_sample,
    validation_text,
)
from methods.common.sequence_options import SequenceTraining
from methods.common.sequence_training import SequenceTask, rate

STREET = 9000  # training sequences of RB2V Street; REDS' number is not published
SOURCES = {
    PAPER: "Pham et al., CVPR 2023, arXiv 2304.01686",
    PROGRAM: "github.com/VinAIResearch/HyperCUT",
    OURS: "this repository",
}
_CHANGES = {
    "affine": "shift 5 %, rotation 5 and shear 7 degrees at most (p 0.6), black outside",
    "turn": "flips and transposition",
    "jitter": "brightness 0.4, contrast 0.3, saturation 0.2, hue 0.2 in random order (p 0.6)",
    "noise": "Gaussian noise of variance 10..50 of 255 levels (p 0.4), the same on all",
    "flicker": "a brightness of its own for each sharp frame",
}


def sequence_lines(config: SequenceTraining, best: str) -> list[Line]:
    """Data, augmentation, optimiser, rate, batch, length and files of both trainings."""
    per_epoch = math.ceil(STREET / config.batch_size)
    steps = config.epochs * per_epoch
    changes = [words for name, words in _CHANGES.items() if name in config.augment]
    changes.insert("affine" in config.augment, f"random patch of {config.image_size} px")
    every = config.val_every or config.epochs
    return [
        Line("data", "partition train of metadata.json: a blurry picture and seven sharp frames; "
             "channels BGR with ImageNet's figures", PROGRAM),
        Line("augmentation", f"{'; '.join(changes)}; one draw for all eight pictures", PROGRAM,
             ("augment", "image_size")),
        optimizer_line(config, "adamax", (0.9, 0.999), 1e-8),
        rate_line(f"{config.lr:g}, times {config.lr_gamma:g} every {config.lr_decay} epochs",
                  lambda step: rate(config, step, per_epoch), steps, "lr_gamma", "lr_decay"),
        Line("batch", f"{config.batch_size} sequences over all processes; an epoch's last, smaller "
             "one is kept", PROGRAM, ("batch_size", "accumulate")),
        Line("length", f"{config.epochs} epochs; with RB2V Street "
             + length_text(STREET, config.batch_size, per_epoch, steps), PROGRAM, ("epochs",)),
        *machine_lines(config, best, validation_text(every)),
    ]  # fmt: skip


def sequence_plan(config: SequenceTraining, make: Callable[..., SequenceTask]) -> Plan:
    """What a training means for its data; one sample is timed."""
    task = make(config)
    sample = seconds_per_sample(make(dataclasses.replace(config, batch_size=1, workers=0)))
    work = float(task.steps * config.batch_size)
    return Plan(len(task.training_set), task.epoch_steps, task.steps, work, sample)
