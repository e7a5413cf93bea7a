"""The one training loop: fetch, forward, loss, backward, step, log, validate, save.

A method hands over a Task; the loop counts optimiser steps and owns resume, mixed precision, clipping, the time budget, a checkpoint every
five minutes, TensorBoard, a curve as PNG and the NaN guard. The run's folder holds config.yaml, log.txt, curve.png, events for
TensorBoard, last.pt and best.pt (checkpoints) and what the task writes itself.
"""

import math
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.checkpoint import load_checkpoint, load_strict, save_checkpoint
from utils.device import autocast
from utils.errors import UserError
from utils.log import RunLog

SAVE_EVERY_S = 300


class Task(Protocol):
    """What a method gives the loop."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    steps_per_epoch: int

    def batches(self, start: int) -> Iterable[dict]:
        """The endless batches from optimiser step `start` on."""

    def step(self, batch: dict, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses to be summed and minimised; `generator` depends on (seed, step) alone."""

    def rates(self, step: int) -> list[float]:
        """The learning rate of each parameter group at a step."""

    def evaluate(self) -> dict[str, float]:
        """Validation metrics; the first is the one that decides which checkpoint is best (higher is better)."""

    def export(self, path: Path) -> None:
        """Write the network's weights for sharing."""


@dataclass(frozen=True)
class Limits:
    """How long and in which arithmetic a run trains; minutes 0 = no limit, gradient norm 0 = no clipping."""

    steps: int
    minutes: float
    device: torch.device
    dtype: torch.dtype
    seed: int
    gradient_norm: float = 0.0


def train(task: Task, folder: Path, limits: Limits, resume: bool) -> dict[str, float]:
    """Train until `limits.steps` (or the time budget, SIGINT, SIGTERM: then it saves first); returns the last metrics."""
    last = folder / "last.pt"
    step, best, metrics = 0, -math.inf, {}
    if resume:
        step, best = _restore(task, last)
    elif last.exists():
        raise UserError(f"{folder} already holds a run: add --resume to go on, or choose another --save")
    log = RunLog(folder)
    log.say(f"step {step} of {limits.steps}, {task.steps_per_epoch} steps per epoch, {limits.device}, {limits.dtype}")
    task.network.train().to(limits.device)
    started = saved = time.monotonic()
    with _Stop() as stop:
        for batch in task.batches(step):
            if step >= limits.steps or stop.asked:
                break
            if limits.minutes and time.monotonic() - started > 60 * limits.minutes:
                log.say(f"time budget of {limits.minutes:g} minutes spent at step {step}; --resume goes on")
                break
            for group, rate in zip(task.optimizer.param_groups, task.rates(step)):
                group["lr"] = rate
            losses = _optimise(task, batch, step, limits)
            step += 1
            log.losses(step, losses, task.rates(step - 1)[0])
            if step % task.steps_per_epoch == 0 or step == limits.steps:
                metrics = _evaluate(task)
                log.metrics(step, metrics)
                value = next(iter(metrics.values()), -math.inf)
                if value > best:
                    best = value
                    _save(task, folder / "best.pt", step, best)
                    task.export(folder / "best.safetensors")
            if time.monotonic() - saved > SAVE_EVERY_S:
                _save(task, last, step, best)
                saved = time.monotonic()
    _save(task, last, step, best)
    task.export(folder / "last.safetensors")
    log.close(step, stop.asked)
    if stop.asked:
        raise KeyboardInterrupt
    return metrics


def _optimise(task: Task, batch: dict, step: int, limits: Limits) -> dict[str, float]:
    batch = {key: value.to(limits.device, non_blocking=True) if isinstance(value, Tensor) else value for key, value in batch.items()}
    generator = torch.Generator().manual_seed(hash((limits.seed, step)) % 2**63)
    with autocast(limits.device, limits.dtype):
        losses = task.step(batch, generator)
    total = sum(losses.values())
    if not torch.isfinite(total):
        raise UserError(
            f"the loss is {total.item()} at step {step + 1}: lower --lr or use --precision fp32; last.pt holds the last good state"
        )
    task.optimizer.zero_grad(set_to_none=True)
    total.backward()
    if limits.gradient_norm:
        nn.utils.clip_grad_norm_(task.network.parameters(), limits.gradient_norm)
    task.optimizer.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def _evaluate(task: Task) -> dict[str, float]:
    task.network.eval()
    with torch.inference_mode():
        metrics = task.evaluate()
    task.network.train()
    return metrics


def _save(task: Task, path: Path, step: int, best: float) -> None:
    content = {"step": step, "best": best, "network": task.network.state_dict(), "optimizer": task.optimizer.state_dict()}
    save_checkpoint(path, content)


def _restore(task: Task, path: Path) -> tuple[int, float]:
    if not path.is_file():
        raise UserError(f"nothing to resume: {path} does not exist")
    content = load_checkpoint(path)
    load_strict(task.network, content["network"], path)
    task.optimizer.load_state_dict(content["optimizer"])
    return content["step"], content["best"]


class _Stop:
    """Turns SIGINT and SIGTERM into a flag while the loop runs, so that a step is finished and saved first."""

    def __enter__(self) -> "_Stop":
        self.asked = False
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class StepSampler(Sampler):
    """Endless batches of (epoch, index) from an optimiser step on.

    An epoch is the set repeated `repeats` times in an order drawn from (seed, epoch); its last batch may be smaller.
    """

    def __init__(self, length: int, batch_size: int, seed: int, repeats: int = 1, start: int = 0):
        self.length, self.batch_size, self.seed, self.repeats, self.start = length, batch_size, seed, repeats, start
        self.steps_per_epoch = -(-length * repeats // batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, batch = divmod(self.start, self.steps_per_epoch)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length * self.repeats)
            for first in range(batch * self.batch_size, len(order), self.batch_size):
                chosen = order[first : first + self.batch_size]
                # a repetition of the same item within an epoch is drawn anew
                yield [(epoch * self.repeats + int(place // self.length), int(place % self.length)) for place in chosen]
            epoch, batch = epoch + 1, 0


def endless_loader(dataset: Dataset, sampler: StepSampler, workers: int) -> DataLoader:
    """Batches of a data set whose items are asked for by (epoch, index)."""
    return DataLoader(
        dataset, batch_sampler=sampler, num_workers=workers, pin_memory=torch.cuda.is_available(), worker_init_fn=_prepare_worker
    )


def _prepare_worker(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group; the parent finishes its step first
        signal.signal(number, signal.SIG_IGN)
