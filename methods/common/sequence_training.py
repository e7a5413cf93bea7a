"""What HyperCUT's two trainings share of a Task (utils/training.py)."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from data.blur2vid import SequencePatches
from data.sample import sequences_or_sample
from methods.common.sequence_options import SequenceTraining
from utils.errors import UserError
from utils.report import spread
from utils.sampling import StepSampler, endless_loader
from utils.training import Phase


class SequenceTask:
    """Sequences, epochs, Adamax and its learning rate; a method adds its network and its losses."""

    def __init__(self, config: SequenceTraining, network: nn.Module):
        _check(config)
        self.config = config
        self.network = network
        found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
        self.training_set = SequencePatches(
            found.of("train"), config.image_size, config.seed, config.augment
        )
        chosen = found.of("val")
        self.validation_set = spread(chosen, config.val_sequences or len(chosen))
        sampler = StepSampler(len(self.training_set), config.batch_size, config.seed)
        self.epoch_steps = sampler.steps_per_epoch
        self.steps = config.epochs * self.epoch_steps
        self.steps_per_epoch = (config.val_every or config.epochs) * self.epoch_steps
        self.optimizer = torch.optim.Adamax(network.parameters(), config.lr, (0.9, 0.999))

    def schedule(self, step: int) -> Phase:
        config = self.config
        rates = (rate(config, step, self.epoch_steps),)
        return Phase(rates, config.batch_size, config.image_size)

    def loader(self, phase: Phase, start: int) -> DataLoader:
        sampler = StepSampler(len(self.training_set), phase.batch_size, self.config.seed, 1, start)
        return endless_loader(self.training_set, sampler, self.config.workers)


def rate(config: SequenceTraining, step: int, epoch: int) -> float:
    """The learning rate at a step; `epoch` steps are an epoch."""
    return config.lr * config.lr_gamma ** (step // epoch // config.lr_decay)


def _check(config: SequenceTraining) -> None:
    positive = (config.epochs, config.batch_size, config.image_size, config.lr_decay)
    not_negative = (config.val_every, config.workers)
    if min(positive) < 1 or min(not_negative) < 0:
        raise UserError(
            "--epochs, --batch_size, --image_size and --lr_decay must be at least 1, "
            "--val_every and --workers not below 0"
        )
