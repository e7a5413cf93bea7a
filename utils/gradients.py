"""The gradients of one optimiser step, over the parts of a batch and over the processes."""

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from utils import distributed
from utils.batch_norm import batch_norms, synchronize
from utils.device import autocast
from utils.errors import UserError
from utils.sampling import StepSampler, combined_seed, random_generator, select_samples


class Gradients:
    """Computes the gradients of a task's losses; task, limits: see utils/training.py.

    Several processes see the same batch norm as one, see utils/batch_norm.py. Raises UserError for
    batch norm in parts of a batch over several processes, which need not have equally many.
    """

    def __init__(self, task: Any, limits: Any, scaler: torch.amp.GradScaler):
        self.limits = limits
        self.scaler = scaler
        self.forward: nn.Module = _Step(task)
        self.norms: list[nn.BatchNorm2d] = []
        if distributed.world() == 1:
            return
        synchronize(task.network)
        self.norms = batch_norms(task.network)
        if self.norms and limits.accumulate > 1:
            raise UserError(
                f"--accumulate {limits.accumulate}: a network with batch norm can't be trained in "
                "parts of a batch by several processes: leave --accumulate out"
            )
        devices = [limits.device] if limits.device.type == "cuda" else None
        self.forward = DistributedDataParallel(
            self.forward,
            devices,
            broadcast_buffers=False,  # the processes compute the same ones
            find_unused_parameters=task.unused_parameters,
            gradient_as_bucket_view=True,
        )

    def compute(self, sampler: StepSampler, batch: dict, step: int) -> dict[str, Tensor]:
        """Add the gradients of a step's batch, part by part.

        Returns this process's part of the losses, float64 on the device, which is not waited for.
        """
        seed = self.limits.seed
        positions, size = sampler.positions(step)
        for norm in self.norms:
            norm.counted = bool(positions)
        generators = [random_generator(seed, step, position) for position in positions or [0]]
        torch.manual_seed(combined_seed(seed, step, distributed.rank(), 1))  # dropout
        totals: dict[str, Tensor] = {}
        count = min(self.limits.accumulate, len(generators))
        parts = np.array_split(np.arange(len(generators)), count)
        for number, part in enumerate(parts, 1):
            weight = len(part) / size if positions else 0.0
            samples = select_samples(batch, part, self.limits.device)
            chosen = [generators[index] for index in part]
            losses = self._backward(samples, chosen, weight, step, last=number == count)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + weight * loss
        return totals

    def _backward(
        self,
        samples: dict,
        generators: list[torch.Generator],
        weight: float,
        step: int,
        last: bool,
    ) -> dict[str, Tensor]:
        """Add the gradients of a part of the batch; the processes exchange them after the last."""
        exchange = contextlib.nullcontext()
        if distributed.world() > 1 and not last:
            exchange = self.forward.no_sync()
        with exchange:
            with autocast(self.limits.device, self.limits.dtype):
                losses = self.forward(samples, generators, step)
            total = sum(losses.values())
            # DistributedDataParallel takes the mean over the processes, the loss is their sum
            self.scaler.scale(total * (weight * distributed.world())).backward()
        return {name: loss.detach().double() for name, loss in losses.items()}


class _Step(nn.Module):
    """The task's step as a module that DistributedDataParallel can wrap."""

    def __init__(self, task: Any):
        super().__init__()
        self.network = task.network
        self._step = task.step

    def forward(
        self, batch: dict, generators: list[torch.Generator], step: int
    ) -> dict[str, Tensor]:
        return self._step(batch, generators, step)
