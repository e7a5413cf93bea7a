"""The one training loop: fetch, forward, loss, backward, step, log, validate, save.

A method hands over a Task; the loop counts optimiser steps and owns resume, mixed precision,
accumulation, clipping, averaged weights, the time budget, a checkpoint every five minutes,
TensorBoard, curves as PNG, the NaN guard and, under `torchrun`, DistributedDataParallel. The run's
folder holds what utils/log.py writes, last.pt and best.pt (checkpoints), last.safetensors and
best.safetensors (weights for sharing). utils/sampling.py gives samples and random numbers, which
neither workers, nor processes, nor stopping and resuming change (dropout differs between numbers
of processes).
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from utils import distributed
from utils.batch_norm import batch_norms
from utils.checkpoint import load_checkpoint, load_strict, save_checkpoint
from utils.device import prepare_memory
from utils.errors import UserError, out_of_memory
from utils.gradients import Gradients
from utils.log import RunLog
from utils.profiling import STEPS, profiled
from utils.readings import Readings
from utils.report import amount
from utils.sampling import StepSampler
from utils.stopping import Abandoned, Statistics, Stop, let_signals_in

SAVE_EVERY_S = 300
FIRST_SAVE_S = 30  # so that a run that is killed early can be resumed, too
FEW_STEPS = 100
_WISH = "wishes to stop"  # among the losses that are read


@dataclass(frozen=True)
class Phase:
    """What holds at one optimiser step; for another batch or patch the loop asks for a new loader.

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
    """What a validation found.

    metrics: higher is better, and the first decides which checkpoint is best. examples: {name:
    {label: 8-bit picture [H,W,3]}}.
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
        """Losses, each a mean over the samples, to be summed and minimised.

        There is one generator per sample.
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
    profile: bool = False

    @classmethod
    def of(cls, config: Any, steps: int, device: torch.device, dtype: torch.dtype) -> "Limits":
        """The limits that a method's options of these names (and max_minutes) set."""
        same = ("seed", "gradient_norm", "accumulate", "average", "profile")
        options = {name: getattr(config, name) for name in same}
        return cls(steps, config.max_minutes, device, dtype, **options)


def train(
    task: Task, folder: Path, limits: Limits, resume: bool, config: str = ""
) -> dict[str, float]:
    """Train until `limits.steps`; returns the last metrics.

    Where the time budget or a signal (SIGINT, SIGTERM, SIGHUP) ends it earlier, it saves first; a
    step or validation that goes on for longer than seconds after a signal is given up.
    config: the resolved configuration as YAML, written into the folder with versions, commit and
    device. Raises UserError for a folder with a finished or running run, for nothing to resume, and
    for a loss that is not finite.
    """
    prepare_memory(limits.device)
    torch.backends.cudnn.benchmark = True  # patches of one size, as the authors set it
    alone = distributed.only_run(folder, "training into", "--save")
    with distributed.session(limits.device), alone:
        try:
            return _Run(task, folder, limits, resume, config).run()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise UserError(
                "the memory does not suffice for a training step: --accumulate "
                f"{2 * limits.accumulate} works through each batch in smaller parts, and smaller "
                "batches or patches need less, too"
            ) from error


class _Run:
    """The state of one training run."""

    def __init__(self, task: Task, folder: Path, limits: Limits, resume: bool, config: str):
        self.task = task
        self.folder = folder
        self.limits = limits
        self.step = 0
        self.best = -math.inf
        self.metrics: dict[str, float] = {}
        self.stop = Stop()
        self.validation_due = False  # of the last step, that a signal ended
        task.network.train().to(limits.device)
        is_half = limits.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(limits.device.type, enabled=is_half)
        self.average = None
        if limits.average:
            update = get_ema_multi_avg_fn(limits.average)
            self.average = AveragedModel(task.network, multi_avg_fn=update, use_buffers=True)
        if resume:
            self._restore()
        elif (folder / "last.pt").exists():
            raise UserError(
                f"{folder} already holds a run: add --resume to go on, or choose another --save"
            )
        distributed.barrier()  # nobody looks for last.pt any more
        self.gradients = Gradients(task, limits, self.scaler)
        self.statistics = Statistics(task.network)
        let_signals_in(task.network, limits.device)
        self.readings = Readings(limits.device)
        self.last_step = limits.steps
        on_cpu = limits.device.type == "cpu"
        shown = folder if distributed.is_main() else None
        self.log = RunLog(shown, limits.steps, limits.minutes, on_cpu)
        if distributed.is_main():
            self.log.write_config(config, limits.device)

    def run(self) -> dict[str, float]:
        """Train to the end and save; returns the last metrics."""
        self._say_start()
        self.started = time.monotonic()
        self.saved = self.started - SAVE_EVERY_S + FIRST_SAVE_S
        trace = self.folder / "profile.json" if self._is_profiled() else None
        with self.stop, profiled(trace, self.limits.device, self._say_profile) as step_done:
            with contextlib.suppress(Abandoned):
                self._train(step_done)
            self._read(everything=True)
            spent = not self.stop.asked and self.step < self.limits.steps
        self._save("last.pt")
        self._export("last.safetensors")
        if spent:
            self.log.say(
                f"time budget of {amount(self.limits.minutes, 'minute')} spent at step "
                f"{self.step}; --resume goes on"
            )
        self.log.close(self.step, self.stop.asked)
        distributed.barrier()
        if self.stop.asked:
            raise KeyboardInterrupt
        return self.metrics

    def _train(self, step_done: Callable[[], None]) -> None:
        """Step after step, to the end or until someone wishes to stop."""
        if self.validation_due:
            self._validate()
        for phase, sampler, batch in self._batches():
            self._optimise(phase, sampler, batch)
            self.step += 1
            step_done()
            validates = self.step % self.task.steps_per_epoch == 0
            validates = validates or self.step == self.limits.steps
            saves = time.monotonic() - self.saved > SAVE_EVERY_S
            self._read(everything=validates or saves)
            if validates:
                self._validate()
            if saves:
                self._save("last.pt")
            if self.step >= self.last_step:
                break

    def _is_profiled(self) -> bool:
        return self.limits.profile and distributed.is_main()

    def _say_profile(self, path: Path) -> None:
        self.log.say(f"profile of {STEPS} steps in {path}: open it at ui.perfetto.dev")

    def _say_start(self) -> None:
        limits = self.limits
        epoch = amount(self.task.steps_per_epoch, "step")
        line = f"step {self.step} of {limits.steps}, {epoch} per epoch"
        line += f", {limits.device}, {limits.dtype}"
        if distributed.world() > 1:
            line += f", {distributed.world()} processes"
        self.log.say(line)
        if limits.accumulate > 1 and batch_norms(self.task.network):
            self.log.say(
                "note: batch norm sees the parts of --accumulate one by one, so the run is another "
                "than without it"
            )
        if limits.steps < FEW_STEPS:
            self.log.say(
                f"note: {amount(limits.steps, 'step')} in all will hardly change a network: "
                "there are few samples, give more --epochs"
            )

    def _batches(self) -> Iterator[tuple[Phase, StepSampler, dict]]:
        """One batch per step; a new loader where the phase asks for other samples."""
        while self.step < self.limits.steps:
            first = self.task.schedule(self.step)
            loader = self.task.loader(first, self.step)
            for batch in self._fetched(loader):
                phase = self.task.schedule(self.step)
                if (phase.batch_size, phase.patch_size) != (first.batch_size, first.patch_size):
                    break
                yield phase, loader.batch_sampler, batch
                if self.step >= self.limits.steps:
                    return

    def _fetched(self, loader: DataLoader) -> Iterator[dict]:
        """The loader's endless batches."""
        batches = iter(loader)
        while True:
            with self.stop.interruptible():
                batch = next(batches)
            yield batch

    def _optimise(self, phase: Phase, sampler: StepSampler, batch: dict) -> None:
        """One optimiser step; its losses over all processes, and whether any wants to stop, are
        queued to be read.
        """
        optimizer = self.task.optimizer
        limits = self.limits
        if phase.reset_optimizer:
            optimizer.state.clear()
        for group, rate in zip(optimizer.param_groups, phase.rates, strict=True):
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        self.statistics.keep()
        try:
            with self.stop.interruptible():
                own = self.gradients.compute(sampler, batch, self.step)
        except Abandoned:
            self.statistics.put_back()
            raise
        spent = limits.minutes and time.monotonic() - self.started > 60 * limits.minutes
        wish = float(bool(self.stop.asked or spent))
        values = torch.stack([*own.values(), next(iter(own.values())).new_full((), wish)])
        names = [*own, _WISH]
        self.readings.add(self.step + 1, phase.rates[0], names, distributed.all_reduce(values))
        self.scaler.unscale_(optimizer)
        if limits.gradient_norm:
            nn.utils.clip_grad_norm_(self.task.network.parameters(), limits.gradient_norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        if self.average:
            self.average.update_parameters(self.task.network)

    def _read(self, everything: bool) -> None:
        """Log the losses that are ready; raises UserError for one that is not finite."""
        for step, rate, values in self.readings.ready(everything):
            if values.pop(_WISH) > 0:  # every process ends at this step, whenever it reads this
                self.last_step = min(self.last_step, step + self.readings.delay)
            if not math.isfinite(sum(values.values())):
                raise UserError(
                    f"the loss is {sum(values.values())} at step {step}: lower --lr or use "
                    "--precision fp32; last.pt holds the last good state"
                )
            self.log.losses(step, values, rate)

    def _validate(self) -> None:
        self.validation_due = True
        with self._averaged():
            self.task.network.eval()
            with torch.inference_mode(), self.stop.interruptible():
                validation = self.task.evaluate()
            self.task.network.train()
        self.validation_due = False
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
                "validation_due": self.validation_due,
                "network": self.task.network.state_dict(),
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
        options = [dict(group) for group in self.task.optimizer.param_groups]
        self.task.optimizer.load_state_dict(content["optimizer"])
        for group, given in zip(self.task.optimizer.param_groups, options):
            del given["params"]
            group.update(given)  # today's configuration holds, not the one that was saved
        if self.scaler.is_enabled() and content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        if self.average:
            if "average" not in content:
                raise UserError(f"{path} holds no averaged weights: resume without --average")
            self.average.load_state_dict(content["average"])
        self.step = content["step"]
        self.best = content["best"]
        self.validation_due = content.get("validation_due", False)

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
