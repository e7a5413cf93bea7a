"""Train the predictor of image restoration potential on labelled exposure stacks."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from data.irp import LabelledShots
from methods.irp.config import TrainConfig
from methods.irp.predict import Predictor
from methods.irp.sample import stacks_or_sample
from models import build, load_network
from models.irp import IRP, LABEL, brighten
from utils import distributed
from utils.checkpoint import load_state, load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.potential_scores import score_potentials
from utils.training import Limits, Phase, StepSampler, Validation, endless_loader, train


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/SAVE."""
    task = PotentialTask(config)
    limits = Limits.of(config, task.steps, task.device, task.dtype)
    return train(task, ROOT / "experiment" / config.save, limits, config.resume, to_yaml(config))


class PotentialTask:
    """What the loop asks of IRP (see utils/training.py: Task)."""

    unused_parameters = False

    def __init__(self, config: TrainConfig):
        if min(config.epochs, config.batch_size) < 1 or min(config.val_every, config.workers, config.patch_size) < 0:
            raise UserError("--epochs and --batch_size must be at least 1, --val_every, --workers and --patch_size not below 0")
        self.config = config
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.arguments = {"backbone": config.backbone, **(config.network or {})}
        self.network: IRP = build("irp", **self.arguments)
        if config.weights:
            load_strict(self.network, load_network(config.weights, IRP).state_dict(), config.weights)
        elif config.backbone != "light" and not config.resume:
            load_imagenet(self.network, config.imagenet)
        found = stacks_or_sample(config.data_path)
        if found.remark and distributed.is_main():
            print(f"note: {found.remark}")
        self.training_set = LabelledShots(found.of("train"), config.seed, config.patch_size, config.turn)
        self.validation_set = found.of("val")
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.lr)
        self.epoch = StepSampler(len(self.training_set), config.batch_size, config.seed).steps_per_epoch
        self.steps = config.epochs * self.epoch
        self.steps_per_epoch = (config.val_every or config.epochs) * self.epoch

    def schedule(self, step: int) -> Phase:
        config, epoch = self.config, step // self.epoch
        rate = config.lr * config.lr_gamma ** sum(epoch >= milestone for milestone in config.milestones)
        afresh = step % self.epoch == 0 and epoch in config.milestones
        return Phase((rate,), config.batch_size, config.patch_size, reset_optimizer=afresh)

    def loader(self, phase: Phase, start: int) -> DataLoader:
        sampler = StepSampler(len(self.training_set), phase.batch_size, self.config.seed, 1, start)
        return endless_loader(self.training_set, sampler, self.config.workers)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        values = self.network(batch["image"], brighten(batch["image"], batch["ratio"]))
        return {"mse": nn.functional.mse_loss(values.float(), LABEL * batch["label"])}

    def evaluate(self) -> Validation:
        """The figures of protocol `irp`; the first, the rank correlation over all shots, decides which weights are best."""
        shots, predictor = self.validation_set, Predictor(self.network, self.device, self.dtype)
        values = distributed.gathered(predictor.all(distributed.shared(shots)))
        scores = score_potentials([shot.scene for shot in shots], values, [shot.label for shot in shots])
        return Validation({name: scores[name] for name in ("srcc", "scene_srcc", "plcc", "scene_plcc")})

    def export(self, path: Path) -> None:
        save_weights(path, self.network, "irp", self.arguments, "irp")


def load_imagenet(network: IRP, source: str) -> None:
    """ImageNet's weights into both trunks: `auto` downloads torchvision's IMAGENET1K_V1 (with a note where it can't), `none`, or a file."""
    if source == "none":
        return
    if source != "auto":
        network.load_backbone(load_state(Path(source)))
        return
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(network.backbone.rpartition(":")[2]).IMAGENET1K_V1
        network.load_backbone(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, ValueError, AttributeError) as error:
        print(f"note: ImageNet's weights of {network.backbone} are not reachable ({error}): the trunks start from random ones")
