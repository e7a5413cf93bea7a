"""The one training loop: fetch, forward, loss, backward, step, log, validate, save.

A method hands over a Task; the loop counts optimiser steps and owns resume, mixed precision,
accumulation, clipping, averaged weights, the time budget, a checkpoint every five minutes,
TensorBoard, curves as PNG, the NaN guard and, under `torchrun`, DistributedDataParallel. The run's
folder holds config.yaml, log.txt, loss.csv, metrics.csv, curve.png, validation.png, events for
TensorBoard, last.pt and best.pt (checkpoints), last.safetensors and best.safetensors (weights for
sharing).

All randomness of a sample comes from (seed, epoch, index), that of a loss from (seed, step, place
in the batch): so neither workers, nor processes, nor stopping and resuming change a run (dropout
differs between numbers of processes).
"""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Sampler

from utils import distributed
from utils.checkpoint import load_checkpoint, load_strict, save_checkpoint
from utils.device import autocast, prepare_memory, run_description, worker_processes
from utils.errors import UserError, out_of_memory
from utils.files import write_text
from utils.log import RunLog
from utils.report import amount

SAVE_EVERY_S = 300
FEW_STEPS = 100


@dataclass(frozen=True)
class Phase:
    """What holds at one optimiser step; a change of `batch_size` or `patch_size` makes the loop ask
    for a new loader.

    rates: learning rate per parameter group. batch_size: samples of a step over all processes.
    since: first step with this batch and patch. reset_optimizer: at this step the optimiser forgets
    its moments (IRP).
    """

    rates: tuple[float, ...]
    batch_size: int
    patch_size: int
    since: int = 0
    reset_optimizer: bool = False


@dataclass(frozen=True)
class Validation:
    """metrics: higher is better, and the first decides which checkpoint is best. examples: name ->
    label -> 8-bit [H,W,3].
    """

    metrics: dict[str, float] = field(default_factory=dict)
    examples: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


class Task(Protocol):
    """What a method gives the loop."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    steps_per_epoch: int
    unused_parameters: bool  # whether a step may leave parameters without a gradient

    def schedule(self, step: int) -> Phase:
        """What holds at a step."""

    def loader(self, phase: Phase, start: int) -> DataLoader:
        """This process's endless batches from step `start` on (see endless_loader)."""

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        """Losses, each a mean over the samples, to be summed and minimised; one generator per
        sample.
        """

    def evaluate(self) -> Validation:
        """Validate; called on every process at once (see distributed.shard)."""

    def export(self, path: Path) -> None:
        """Write the network's weights for sharing."""


@dataclass(frozen=True)
class Limits:
    """How long and in which arithmetic a run trains.

    minutes 0 = no limit. gradient_norm 0 = no clipping. accumulate: parts that a batch is worked
    through in, one after the other, to save memory. average: decay of the exponential moving
    average of the weights that is validated and exported (0 = none).
    """

    steps: int
    minutes: float
    device: torch.device
    dtype: torch.dtype
    seed: int
    gradient_norm: float = 0.0
    accumulate: int = 1
    average: float = 0.0

    @classmethod
    def of(cls, config: Any, steps: int, device: torch.device, dtype: torch.dtype) -> "Limits":
        """The limits that a method's options max_minutes, seed, gradient_norm, accumulate and
        average set.
        """
        own = {
            name: getattr(config, name)
            for name in ("seed", "gradient_norm", "accumulate", "average")
        }
        return cls(steps, config.max_minutes, device, dtype, **own)


def train(
    task: Task, folder: Path, limits: Limits, resume: bool, config: str = ""
) -> dict[str, float]:
    """Train until `limits.steps` (or the time budget, SIGINT, SIGTERM: then it saves first);
    returns the last metrics.

    config: the resolved configuration as YAML, written into the folder with versions, commit and
    device. Raises UserError for a folder that holds a finished or running run, for nothing to
    resume, and for a loss that is not finite.
    """
    prepare_memory(limits.device)
    with (
        distributed.session(limits.device),
        distributed.only_run(folder, "training into", "--save"),
    ):
        try:
            return _Run(task, folder, limits, resume, config).run()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise UserError(
                "the memory does not suffice for a training step: --accumulate "
                f"{2 * limits.accumulate} works through each batch in "
                "smaller parts, and smaller batches or patches need less, too"
            ) from error


class _Run:
    """The state of one training run."""

    def __init__(self, task: Task, folder: Path, limits: Limits, resume: bool, config: str):
        self.task, self.folder, self.limits = task, folder, limits
        self.step, self.best, self.metrics = 0, -math.inf, {}
        task.network.train().to(limits.device)
        self.scaler = torch.amp.GradScaler(
            limits.device.type, enabled=limits.dtype == torch.float16
        )
        average = get_ema_multi_avg_fn(limits.average)
        self.average = (
            AveragedModel(task.network, multi_avg_fn=average, use_buffers=True)
            if limits.average
            else None
        )
        if resume:
            self._restore()
        elif (folder / "last.pt").exists():
            raise UserError(
                f"{folder} already holds a run: add --resume to go on, or choose another --save"
            )
        distributed.barrier()  # nobody looks for last.pt any more
        self.forward = _Step(task)
        if distributed.world() > 1:
            devices = [limits.device] if limits.device.type == "cuda" else None
            self.forward = DistributedDataParallel(
                self.forward, devices, find_unused_parameters=task.unused_parameters
            )
        self.log = RunLog(folder if distributed.is_main() else None)
        if distributed.is_main():
            _write_config(folder, config, limits.device, self.log)

    def run(self) -> dict[str, float]:
        task, limits, log = self.task, self.limits, self.log
        log.say(
            f"step {self.step} of {limits.steps}, {amount(task.steps_per_epoch, 'step')} per "
            f"epoch, {limits.device}, {limits.dtype}"
            + (f", {distributed.world()} processes" if distributed.world() > 1 else "")
        )
        if limits.steps < FEW_STEPS:
            log.say(
                f"note: {amount(limits.steps, 'step')} in all will hardly change a network: "
                "there are few samples, give more --epochs"
            )
        self.started = self.saved = time.monotonic()
        with _Stop() as stop:
            for phase, sampler, batch in self._batches():
                losses, reason = self._optimise(phase, sampler, batch, stop)
                self.step += 1
                log.losses(self.step, losses, phase.rates[0])
                if self.step % task.steps_per_epoch == 0 or self.step == limits.steps:
                    self._validate()
                if time.monotonic() - self.saved > SAVE_EVERY_S:
                    self._save("last.pt")
                if reason:
                    break
            spent = not stop.asked and self.step < limits.steps
        self._save("last.pt")
        self._export("last.safetensors")
        if spent:
            log.say(
                f"time budget of {amount(limits.minutes, 'minute')} spent at step {self.step}; "
                "--resume goes on"
            )
        log.close(self.step, stop.asked)
        distributed.barrier()
        if stop.asked:
            raise KeyboardInterrupt
        return self.metrics

    def _batches(self) -> Iterator[tuple[Phase, "StepSampler", dict]]:
        """One batch per step until the last; a new loader where the phase asks for other
        samples.
        """
        while self.step < self.limits.steps:
            first = self.task.schedule(self.step)
            loader = self.task.loader(first, self.step)
            for batch in loader:
                phase = self.task.schedule(self.step)
                if (phase.batch_size, phase.patch_size) != (first.batch_size, first.patch_size):
                    break
                yield phase, loader.batch_sampler, batch
                if self.step >= self.limits.steps:
                    return

    def _optimise(
        self, phase: Phase, sampler: "StepSampler", batch: dict, stop: "_Stop"
    ) -> tuple[dict[str, float], bool]:
        """One optimiser step; returns the losses over all processes and whether any of them wants
        to stop.
        """
        task, limits = self.task, self.limits
        if phase.reset_optimizer:
            task.optimizer.state.clear()
        for group, rate in zip(task.optimizer.param_groups, phase.rates, strict=True):
            group["lr"] = rate
        places, size = sampler.places(self.step)
        generators = [_generator(limits.seed, self.step, place) for place in places or [0]]
        torch.manual_seed(_number(limits.seed, self.step, distributed.rank(), 1))  # dropout
        task.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, float] = {}
        parts = np.array_split(np.arange(len(generators)), min(limits.accumulate, len(generators)))
        for number, part in enumerate(parts):
            weight = len(part) / size if places else 0.0
            losses = self._backward(
                _part(batch, part, limits.device),
                [generators[i] for i in part],
                weight,
                number == len(parts) - 1,
            )
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + weight * loss
        spent = limits.minutes and time.monotonic() - self.started > 60 * limits.minutes
        *values, wishes = distributed.all_reduce(
            [*totals.values(), float(bool(stop.asked or spent))], limits.device
        )
        if not math.isfinite(sum(values)):
            raise UserError(
                f"the loss is {sum(values)} at step {self.step + 1}: lower --lr or use "
                "--precision fp32; last.pt holds the last good state"
            )
        self.scaler.unscale_(task.optimizer)
        if limits.gradient_norm:
            nn.utils.clip_grad_norm_(task.network.parameters(), limits.gradient_norm)
        self.scaler.step(task.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update_parameters(task.network)
        return dict(zip(totals, values)), wishes > 0

    def _backward(
        self, batch: dict, generators: list[torch.Generator], weight: float, last: bool
    ) -> dict[str, float]:
        """Gradients of a part of the batch; they are exchanged between the processes after its last
        part.
        """
        exchange = (
            contextlib.nullcontext() if last or distributed.world() == 1 else self.forward.no_sync()
        )
        with exchange:
            with autocast(self.limits.device, self.limits.dtype):
                losses = self.forward(batch, generators, self.step)
            total = sum(losses.values())
            # DistributedDataParallel takes the mean over the processes, the loss is a sum over all
            # samples' shares
            self.scaler.scale(total * (weight * distributed.world())).backward()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _validate(self) -> None:
        with self._averaged():
            self.task.network.eval()
            with torch.inference_mode():
                validation = self.task.evaluate()
            self.task.network.train()
        self.metrics = validation.metrics
        self.log.validation(self.step, validation.metrics, validation.examples)
        value = next(iter(validation.metrics.values()), -math.inf)
        if value > self.best:
            self.best = value
            self._save("best.pt")
            self._export("best.safetensors")

    def _save(self, name: str) -> None:
        if distributed.is_main():
            content = {
                "step": self.step,
                "best": self.best,
                "network": self.task.network.state_dict(),
            }
            content |= {
                "optimizer": self.task.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
            }
            if self.average:
                content["average"] = self.average.state_dict()
            save_checkpoint(self.folder / name, content)
        self.saved = time.monotonic()

    def _export(self, name: str) -> None:
        if distributed.is_main():
            with self._averaged():
                self.task.export(self.folder / name)

    def _restore(self) -> None:
        path = self.folder / "last.pt"
        if not path.is_file():
            raise UserError(f"nothing to resume: {path} does not exist")
        content = load_checkpoint(path)
        load_strict(self.task.network, content["network"], path)
        options = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.task.optimizer.param_groups
        ]
        self.task.optimizer.load_state_dict(content["optimizer"])
        for group, given in zip(self.task.optimizer.param_groups, options):
            group.update(given)  # today's configuration holds, not the one that was saved
        if self.scaler.is_enabled() and content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        if self.average:
            if "average" not in content:
                raise UserError(f"{path} holds no averaged weights: resume without --average")
            self.average.load_state_dict(content["average"])
        self.step, self.best = content["step"], content["best"]

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The network with its averaged weights while the block runs."""
        if not self.average:
            yield
            return
        own = {key: value.clone() for key, value in self.task.network.state_dict().items()}
        self.task.network.load_state_dict(self.average.module.state_dict())
        try:
            yield
        finally:
            self.task.network.load_state_dict(own)


class _Step(nn.Module):
    """The task's step as a module, so that DistributedDataParallel sees its forward and owns its
    network.
    """

    def __init__(self, task: Task):
        super().__init__()
        self.network, self._step = task.network, task.step

    def forward(
        self, batch: dict, generators: list[torch.Generator], step: int
    ) -> dict[str, Tensor]:
        return self._step(batch, generators, step)


class _Stop:
    """Turns SIGINT and SIGTERM into a flag while the loop runs, so that a step is finished and
    saved first.
    """

    def __enter__(self) -> "_Stop":
        self.asked = False
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class StepSampler(Sampler):
    """Endless batches of (epoch, index) from an optimiser step on, for one process of `world`.

    An epoch is the set repeated `repeats` times in an order drawn from (seed, epoch); its last
    batch may be smaller. Process `rank` gets every world-th place of a batch; where there is none
    left for it, the first place again, which `places` tells not to count.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        repeats: int = 1,
        start: int = 0,
        rank: int | None = None,
        world: int | None = None,
    ):
        self.length, self.batch_size, self.seed, self.repeats, self.start = (
            length,
            batch_size,
            seed,
            repeats,
            start,
        )
        self.rank = distributed.rank() if rank is None else rank
        self.world = distributed.world() if world is None else world
        self.steps_per_epoch = -(-length * repeats // batch_size)

    def places(self, step: int) -> tuple[list[int], int]:
        """This process's places in the batch of a step, and the batch's size over all processes."""
        size = min(
            self.batch_size,
            self.length * self.repeats - step % self.steps_per_epoch * self.batch_size,
        )
        return list(range(self.rank, size, self.world)), size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, batch = divmod(self.start, self.steps_per_epoch)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(
                self.length * self.repeats
            )
            for first in range(batch * self.batch_size, len(order), self.batch_size):
                chosen = order[first : first + self.batch_size]
                mine = chosen[self.rank :: self.world]
                # a repetition of the same item within an epoch is drawn anew
                yield [
                    (epoch * self.repeats + int(place // self.length), int(place % self.length))
                    for place in (mine if len(mine) else chosen[:1])
                ]
            epoch, batch = epoch + 1, 0


def endless_loader(dataset: Dataset, sampler: StepSampler, workers: int) -> DataLoader:
    """Batches of a data set whose items are asked for by (epoch, index)."""
    options = {
        "num_workers": worker_processes(workers),
        "pin_memory": torch.cuda.is_available(),
        "worker_init_fn": _prepare_worker,
    }
    return DataLoader(dataset, batch_sampler=sampler, **options)


def _prepare_worker(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # sent to the whole group; the parent finishes its step first
        signal.signal(number, signal.SIG_IGN)


def _write_config(folder: Path, config: str, device: torch.device, log: RunLog) -> None:
    """config.yaml, after saying which options are not those the run was started with."""
    path = folder / "config.yaml"
    if path.exists():
        before = path.read_text(encoding="utf-8").splitlines()
        changed = [
            line
            for line in config.splitlines()
            if line not in before and not line.startswith(("resume:", "max_minutes:"))
        ]
        if changed:
            log.say(f"note: other options than before: {'; '.join(changed)}")
    write_text(path, config + run_description(device))


def _part(batch: dict, indices: np.ndarray, device: torch.device) -> dict:
    """Some samples of a batch, tensors on the device."""
    chosen = slice(int(indices[0]), int(indices[-1]) + 1)
    return {
        key: value[chosen].to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(_number(*numbers))


def _number(*numbers: int) -> int:
    """One seed of several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
