"""What a training recipe does, in lines that --explain prints and docs/recipes.md holds."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from utils.sampling import random_generator, select_samples
from utils.training import SAVE_EVERY_S, Task

COPIES = 8  # of the weights: two checkpoints with two moments each, two files for sharing
PAPER = "paper"
PROGRAM = "program"
OURS = "ours"
UNNAMED = "none is named for this network"  # a paper, a program or how it is initialised


@dataclass(frozen=True)
class Line:
    """One property of a recipe.

    source: where its figures come from, PAPER, PROGRAM (of the authors) or OURS. options: those it
    depends on; where they differ from the published recipe's, the source is the user.
    """

    topic: str
    text: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """title; lines; sources: {PAPER, PROGRAM: what they are}; parameters: of the network."""

    title: str
    lines: Sequence[Line]
    sources: dict[str, str]
    parameters: int


@dataclass(frozen=True)
class Plan:
    """What a recipe means for data that are there.

    work: patches of the first size that all steps together see; sample: seconds for one such patch,
    forward and backward, None if it was not measured.
    """

    samples: int
    steps_per_epoch: int
    steps: int
    work: float
    sample: float | None = None


def optimizer_line(config: Any, kind: str, betas: Sequence[float], epsilon: float) -> Line:
    """The optimiser and the clipping of its gradients."""
    decay = getattr(config, "weight_decay", 0.0)
    text = f"{kind}, betas {betas[0]:g} and {betas[1]:g}, epsilon {epsilon:g}"
    text += f", weight decay {decay:g}" if decay else ", no weight decay"
    norm = config.gradient_norm
    text += f"; gradient norm clipped to {norm:g}" if norm else "; gradients not clipped"
    options = ("optimizer", "betas", "epsilon", "weight_decay", "gradient_norm")
    return Line("optimiser", text, PROGRAM, options)


def rate_line(words: str, rate: Callable[[int], float], steps: int, *options: str) -> Line:
    """The learning rate in words, and at the start, the quarters and the end of `steps`."""
    points = [round(part * steps / 4) for part in range(4)] + [max(steps - 1, 0)]
    shown = ", ".join(f"{rate(point):.3g} at {point:,}" for point in points)
    return Line("learning rate", f"{words}: {shown}", PROGRAM, ("lr", *options))


def machine_lines(config: Any, best: str, every: str) -> list[Line]:
    """Arithmetic, averages, and what is written when."""
    average = config.average
    kept = f"EMA of the weights, decay {average:g}" if average else "no average of the weights"
    return [
        Line("precision", f"{config.precision}; {kept}", PROGRAM, ("precision", "average")),
        Line(
            "saved",
            f"last.pt every {SAVE_EVERY_S // 60} minutes and at the end; {every}; best.pt with the "
            f"highest {best}; weights as last.safetensors and best.safetensors",
            OURS,
        ),
    ]


def validation_text(epochs: int) -> str:
    """How often a training validates that counts epochs."""
    return f"validation every {epochs} epochs" if epochs > 1 else "validation every epoch"


def length_text(samples: int | None, batch: int, per_epoch: int | None, steps: int) -> str:
    """How long a training is: steps of a batch, epochs of steps."""
    text = f"{steps:,} steps of {batch}"
    if per_epoch:
        text += f", {per_epoch:,} steps per epoch of {samples:,} samples"
    return text


def disk_text(parameters: int) -> str:
    """The size of what a run keeps."""
    return f"{COPIES * 4 * parameters / 2**20:,.0f} MB of checkpoints and weights"


def seconds_per_sample(task: Task) -> float:
    """For one sample of a task with batches of one, forward and backward, after a first one."""
    network = task.network.train().to(task.device)
    phase = task.schedule(0)
    batch = next(iter(task.loader(phase, 0)))
    samples = select_samples(batch, range(1), task.device)
    seconds = 0.0
    for _ in range(2):  # the first one prepares
        started = time.monotonic()
        losses = task.step(samples, [random_generator(0)], 0)
        sum(losses.values()).backward()
        if task.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.monotonic() - started
        network.zero_grad(set_to_none=True)
    return seconds


def with_batches_of_one(config: Any) -> Any:
    """The configuration whose task seconds_per_sample wants."""
    return dataclasses.replace(config, batch_size=1, workers=0, val_path=None)
