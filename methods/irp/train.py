"""Train the predictor of image restoration potential on labelled exposure stacks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from data.fresh_shots import FreshShots, SceneDraw
from data.irp import FACTS, Knowledge, LabelledShots, Shot, Stacks, read_knowledge, source_of
from data.mixture import Mixture
from data.photo_catalog import pictures_by_name
from data.synthesis.masks import find_masks
from methods.irp.config import TrainConfig
from methods.irp.predict import Predictor
from methods.irp.pseudo_labels import PseudoLabeller
from methods.irp.sample import stacks_or_sample
from models import build, load_network
from models.irp import IRP, LABEL, brighten
from utils import distributed
from utils.checkpoint import load_state, load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.evaluation.potential_scores import score_potentials
from utils.image import image_size
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/SAVE."""
    task = PotentialTask(config)
    limits = Limits.of(config, task.steps, task.device, task.dtype)
    return train(task, ROOT / "experiment" / config.save, limits, config.resume, to_yaml(config))


class PotentialTask:
    """What the loop asks of IRP (see utils/training.py: Task)."""

    unused_parameters = False

    def __init__(self, config: TrainConfig):
        if config.within and config.bracket < 2:
            raise UserError(
                "--within compares shots of one scene: it needs a --bracket of 2 or more"
            )
        if (
            min(config.epochs, config.batch_size, config.bracket) < 1
            or min(config.val_every, config.workers, config.patch_size) < 0
        ):
            raise UserError(
                "--epochs and --batch_size must be at least 1, --val_every, --workers and "
                "--patch_size not below 0"
            )
        self.config = config
        found = stacks_or_sample(config.data_path)
        if found.remark and distributed.is_main():
            print(f"note: {found.remark}")
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.arguments = {"backbone": config.backbone, **(config.network or {})}
        self.predictor: IRP = build("irp", **self.arguments)
        if config.weights:
            load_strict(
                self.predictor, load_network(config.weights, IRP).state_dict(), config.weights
            )
        elif config.backbone != "light" and not config.resume:
            load_imagenet(self.predictor, config.imagenet)
        shots = found.of("train")
        known = _knowledge(found.root, shots) if config.facts or config.fresh_path else None
        self.training_set = LabelledShots(
            shots, config.seed, config.patch_size, config.augment, known, config.bracket
        )
        if known:
            self.usual_facts = [
                torch.from_numpy(part(known.facts, axis=0)).to(self.device)
                for part in (np.nanmean, np.nanstd)
            ]
        if config.fresh_path:
            labels = np.float32([shot.label for shot in shots])
            self.labeller = PseudoLabeller(known.circumstances, labels, config.seed).to(self.device)
            self.training_set = Mixture(
                self.training_set, _fresh_shots(config, found), config.fresh_fraction, config.seed
            )
        self.validation_set = found.of("val")
        self.network = Taught(self.predictor, FACTS) if config.facts else self.predictor
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.lr)
        self.epoch = StepSampler(
            len(self.training_set), config.batch_size, config.seed
        ).steps_per_epoch
        self.steps = config.epochs * self.epoch
        self.steps_per_epoch = (config.val_every or config.epochs) * self.epoch

    def schedule(self, step: int) -> Phase:
        config, epoch = self.config, step // self.epoch
        rate = config.lr * config.lr_gamma ** sum(
            epoch >= milestone for milestone in config.milestones
        )
        afresh = step % self.epoch == 0 and epoch in config.milestones
        return Phase((rate,), config.batch_size, config.patch_size, reset_optimizer=afresh)

    def loader(self, phase: Phase, start: int) -> DataLoader:
        sampler = StepSampler(len(self.training_set), phase.batch_size, self.config.seed, 1, start)
        return endless_loader(self.training_set, sampler, self.config.workers)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        images, label = batch["image"].flatten(0, 1), batch["label"]  # [B*K,3,S,S], [B,K]
        features = self.predictor.pooled(images, brighten(images, batch["ratio"].flatten()))
        if self.config.fresh_path:
            label = torch.where(
                label.isnan(), self.labeller(batch["circumstances"]).clamp(0, 1), label
            )
        errors = self.predictor.judged(features).unflatten(0, label.shape) - LABEL * label
        losses = {"mse": errors.square().mean()}
        if self.config.within:
            losses["within"] = (
                self.config.within * (errors - errors.mean(1, keepdim=True)).square().mean()
            )
        if self.config.facts:
            mean, deviation = self.usual_facts
            facts = (batch["facts"].flatten(0, 1) - mean) / (deviation + 1e-6)
            error = torch.where(
                facts.isnan(), 0.0, self.network.facts(features) - facts.nan_to_num()
            )
            losses["facts"] = self.config.facts * error.square().mean()
        return losses

    def evaluate(self) -> Validation:
        """The figures of protocol `irp`; the first, the rank correlation over all shots, decides
        which weights are best.
        """
        shots, predictor = self.validation_set, Predictor(self.predictor, self.device, self.dtype)
        values = distributed.all_gather(predictor.all(distributed.shard(shots)))
        scores = score_potentials(
            [shot.scene for shot in shots], values, [shot.label for shot in shots]
        )
        return Validation(
            {name: scores[name] for name in ("srcc", "scene_srcc", "plcc", "scene_plcc")}
        )

    def export(self, path: Path) -> None:
        save_weights(path, self.predictor, "irp", self.arguments, "irp")


class Taught(nn.Module):
    """A predictor and the head of its second lesson, [B,C] -> [B,F]."""

    def __init__(self, predictor: IRP, facts: int):
        super().__init__()
        self.predictor, self.facts = predictor, nn.Linear(predictor.score[0].in_features, facts)


def _knowledge(root: Path, shots: Sequence[Shot]) -> Knowledge:
    if (known := read_knowledge(root, shots)) is None:
        raise UserError(
            f"--facts and --fresh_path need records/ and sharp/ in {root}, as generate.py irp "
            "writes them"
        )
    return known


def _fresh_shots(config: TrainConfig, found: Stacks) -> FreshShots:
    """Of all pictures but those that are too small and those that scenes which validate or test
    were made of.
    """
    if not config.patch_size or not 0 < config.fresh_fraction < 1:
        raise UserError("--fresh_path needs a --patch_size, and a --fresh_fraction between 0 and 1")
    draw, held_out = (
        SceneDraw(),
        {
            source_of(found.root, scene)
            for name in ("val", "test")
            for scene in found.partitions[name]
        },
    )
    needed = config.patch_size + 2 * (draw.kernel_size // 2)
    pictures = [
        (name, path)
        for name, path in pictures_by_name(config.fresh_path).items()
        if name not in held_out and min(image_size(path)) >= needed
    ]
    if not pictures:
        raise UserError(
            f"no picture in {config.fresh_path} that is {needed} px wide and high and is not one "
            "that validates or tests"
        )
    return FreshShots(
        pictures,
        find_masks(config.mask_path, config.mask_kind),
        draw,
        config.patch_size,
        config.seed,
        config.bracket,
    )


def load_imagenet(network: IRP, source: str) -> None:
    """ImageNet's weights into both trunks: `auto` downloads torchvision's IMAGENET1K_V1 (with a
    note where it can't), `none`, or a file.
    """
    if source == "none":
        return
    if source != "auto":
        network.load_backbone(load_state(Path(source)))
        return
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(network.backbone.rpartition(":")[2]).IMAGENET1K_V1
        network.load_backbone(
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        )
    except (OSError, ValueError, AttributeError) as error:
        print(
            f"note: ImageNet's weights of {network.backbone} are not reachable ({error}): the "
            "trunks start from random ones"
        )
