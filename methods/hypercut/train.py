"""Train the ordering network: a sequence and its reverse shall fall on different sides of the hyperplane, nested pairs on the same."""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.blur2vid import SequencePatches, whole_sequence
from data.sample import sequences_or_sample
from losses.order import ordering
from methods.hypercut.config import TrainConfig
from models import build, load_network
from models.hypercut import HyperCUT
from utils import distributed
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import autocast, choose_device, choose_precision
from utils.protocol import PROTOCOLS
from utils.report import spread
from utils.sequence_scores import score_order
from utils.training import Limits, Phase, StepSampler, Validation, endless_loader, train


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/SAVE."""
    task = OrderingTask(config)
    limits = Limits.of(config, task.steps, task.device, task.dtype)
    return train(task, ROOT / "experiment" / config.save, limits, config.resume or config.load_epoch > 0, to_yaml(config))


class OrderingTask:
    """What the loop asks of HyperCUT (see utils/training.py: Task)."""

    unused_parameters = False

    def __init__(self, config: TrainConfig):
        self.config = config
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.network: HyperCUT = build("hypercut", **(config.network or {}))
        if config.weights:
            load_strict(self.network, load_network(config.weights, HyperCUT).state_dict(), config.weights)
        found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
        self.training_set = SequencePatches(found.of("train"), config.image_size, config.seed, config.augment)
        chosen = found.of("val")
        self.validation_set = spread(chosen, config.val_sequences or len(chosen))
        self.epoch = StepSampler(len(self.training_set), config.batch_size, config.seed).steps_per_epoch
        self.steps = config.epochs * self.epoch
        self.steps_per_epoch = (config.val_every or config.epochs) * self.epoch
        self.optimizer = torch.optim.Adamax(self.network.parameters(), config.lr, (0.9, 0.999))

    def schedule(self, step: int) -> Phase:
        config = self.config
        rate = config.lr * config.lr_gamma ** (step // self.epoch // config.lr_decay)
        return Phase((rate,), config.batch_size, config.image_size)

    def loader(self, phase: Phase, start: int) -> DataLoader:
        sampler = StepSampler(len(self.training_set), phase.batch_size, self.config.seed, 1, start)
        return endless_loader(self.training_set, sampler, self.config.workers)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        apart, together = ordering(self.network(self.network.seen(batch["frames"])).float())
        return {"apart": 0.5 * apart, "together": 0.5 * together}

    def evaluate(self) -> Validation:
        """Shares of the validation sequences by protocol `hypercut`; the first, right in all of it, decides which weights are best."""
        rows = distributed.gathered([self._evaluate(sequence) for sequence in distributed.shared(self.validation_set)])
        names = ("all", *PROTOCOLS["hypercut"].metrics)
        return Validation({name: math.fsum(row[name] for row in rows) / len(rows) for name in names} if rows else {})

    def _evaluate(self, sequence) -> dict[str, float]:
        _, frames = whole_sequence(sequence, stored=True)
        with autocast(self.device, self.dtype):
            scores = self.network(self.network.seen(frames[None].to(self.device)))[0].float().cpu()
        row = score_order(scores)
        return row | {"all": math.prod(row.values())}

    def export(self, path: Path) -> None:
        save_weights(path, self.network, "hypercut", self.config.network or {}, "hypercut")
