"""Train the ordering network.

A sequence and its reverse shall fall on different sides of the hyperplane, nested pairs on the
same.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from data.blur2vid import whole_sequence
from data.sequences import FrameSequence
from losses.order import ordering
from methods.common.sequence_training import SequenceTask
from methods.hypercut.config import TrainConfig
from models import build, load_network
from models.hypercut import HyperCUT
from utils import distributed
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import autocast, choose_device, choose_precision
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.sequence_scores import score_order
from utils.training import Limits, Validation, train


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/SAVE."""
    task = OrderingTask(config)
    limits = Limits.of(config, task.steps, task.device, task.dtype)
    folder = ROOT / "experiment" / config.save
    resume = config.resume or config.load_epoch > 0
    return train(task, folder, limits, resume, to_yaml(config))


class OrderingTask(SequenceTask):
    """What the loop asks of HyperCUT (see utils/training.py: Task)."""

    unused_parameters = False

    def __init__(self, config: TrainConfig):
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        network: HyperCUT = build("hypercut", **(config.network or {}))
        if config.weights:
            weights = load_network(config.weights, HyperCUT).state_dict()
            load_strict(network, weights, config.weights)
        super().__init__(config, network)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        scores = self.network(self.network.seen(batch["frames"])).float()  # [B,6]
        apart, together = ordering(scores)
        return {"apart": 0.5 * apart, "together": 0.5 * together}

    def evaluate(self) -> Validation:
        """Fractions of the validation sequences by protocol `hypercut`.

        The first one, of sequences that are right in all of it, decides which weights are best.
        """
        shard = distributed.shard(self.validation_set)
        rows = distributed.all_gather([self._evaluate(sequence) for sequence in shard])
        metrics = {}
        if rows:
            for name in ("all", *PROTOCOLS["hypercut"].metrics):
                metrics[name] = math.fsum(row[name] for row in rows) / len(rows)
        return Validation(metrics)

    def _evaluate(self, sequence: FrameSequence) -> dict[str, float]:
        _, frames = whole_sequence(sequence, stored=True)
        frames = frames[None].to(self.device)  # [1,7,3,H,W]
        with autocast(self.device, self.dtype):
            scores = self.network(self.network.seen(frames))[0].float().cpu()  # [6]
        row = score_order(scores)
        return row | {"all": math.prod(row.values())}

    def export(self, path: Path) -> None:
        save_weights(path, self.network, "hypercut", self.config.network or {}, "hypercut")
