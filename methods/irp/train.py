"""Train the predictor of image restoration potential on labelled exposure stacks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from data.fresh_shots import FreshShots, SceneDraw
from data.irp import LabelledShots, Shot, Stacks
from data.irp_records import read_features, source_of
from data.mixture import Mixture
from data.photo_catalog import pictures_by_name
from data.shot_features import AUXILIARY_TARGETS, Features
from data.synthesis.masks import find_masks
from methods.irp.config import IMAGENET, TrainConfig
from methods.irp.predict import Predictor
from methods.irp.pseudo_labels import PseudoLabeller
from methods.irp.sample import stacks_or_sample
from models import build, load_network
from models.irp import IRP, LABEL, brighten
from utils import distributed
from utils.checkpoint import load_state, load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.download.table import how_to_get
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
        _check(config)
        self.config = config
        stacks = stacks_or_sample(config.data_path)
        if stacks.remark and distributed.is_main():
            print(f"note: {stacks.remark}")
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.arguments = {"backbone": config.backbone, **(config.network or {})}
        self.predictor: IRP = build("irp", **self.arguments)
        if config.weights:
            start = load_network(config.weights, IRP).state_dict()
            load_strict(self.predictor, start, config.weights)
        elif config.backbone != "light" and not config.resume:
            load_imagenet(self.predictor, config.imagenet)
        self._load_data(stacks)
        self.network: nn.Module = self.predictor
        if config.auxiliary_weight:
            self.network = PredictorWithAuxiliaryHead(self.predictor, AUXILIARY_TARGETS)
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.lr)
        sampler = StepSampler(len(self.training_set), config.batch_size, config.seed)
        self.epoch = sampler.steps_per_epoch
        self.steps = config.epochs * self.epoch
        self.steps_per_epoch = (config.val_every or config.epochs) * self.epoch

    def _load_data(self, stacks: Stacks) -> None:
        config = self.config
        shots = stacks.of("train")
        self.validation_set = stacks.of("val")
        features = None
        if config.auxiliary_weight or config.fresh_path:
            features = _features(stacks.root, shots)
            targets = features.auxiliary_targets
            self.target_mean = torch.from_numpy(np.nanmean(targets, 0)).to(self.device)
            self.target_deviation = torch.from_numpy(np.nanstd(targets, 0)).to(self.device)
        self.training_set = LabelledShots(
            shots, config.seed, config.patch_size, config.augment, features, config.bracket
        )
        if config.fresh_path:
            fresh = _fresh_shots(config, stacks)
            labels = np.float32([shot.label for shot in shots])
            labeller = PseudoLabeller(features.label_features, labels, config.seed)
            self.pseudo_labeller = labeller.to(self.device)
            fraction = config.fresh_fraction
            self.training_set = Mixture(self.training_set, fresh, fraction, config.seed)

    def schedule(self, step: int) -> Phase:
        config = self.config
        rates = (rate(config, step, self.epoch),)
        afresh = step % self.epoch == 0 and step // self.epoch in config.milestones
        return Phase(rates, config.batch_size, config.patch_size, reset_optimizer=afresh)

    def loader(self, phase: Phase, start: int) -> DataLoader:
        sampler = StepSampler(len(self.training_set), phase.batch_size, self.config.seed, 1, start)
        return endless_loader(self.training_set, sampler, self.config.workers)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        """Losses: `mse` of all values, `within` of their differences in a scene, `auxiliary`."""
        config = self.config
        images = batch["image"].flatten(0, 1)  # [B*K,3,S,S]
        ratios = batch["ratio"].flatten()
        pooled = self.predictor.pooled(images, brighten(images, ratios))  # [B*K,C]
        labels = batch["label"]  # [B,K]
        if config.fresh_path:
            pseudo_labels = self.pseudo_labeller(batch["label_features"]).clamp(0, 1)
            labels = torch.where(labels.isnan(), pseudo_labels, labels)
        values = self.predictor.score_of(pooled).unflatten(0, labels.shape)
        errors = values - LABEL * labels  # [B,K]
        losses = {"mse": errors.square().mean()}
        if config.within:
            differences = errors - errors.mean(1, keepdim=True)
            losses["within"] = config.within * differences.square().mean()
        if config.auxiliary_weight:
            loss = self._auxiliary_loss(pooled, batch["auxiliary_targets"].flatten(0, 1))
            losses["auxiliary"] = config.auxiliary_weight * loss
        return losses

    def _auxiliary_loss(self, pooled: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of the head's values for [N,C] against standardised targets [N,T].

        Unknown targets (NaN) count as met.
        """
        targets = (targets - self.target_mean) / (self.target_deviation + 1e-6)
        errors = self.network.auxiliary_head(pooled) - targets.nan_to_num()
        return torch.where(targets.isnan(), 0.0, errors).square().mean()

    def evaluate(self) -> Validation:
        """Figures of protocol `irp`.

        The first, the rank correlation over all shots, decides which weights are best.
        """
        shots = self.validation_set
        predictor = Predictor(self.predictor, self.device, self.dtype)
        values = distributed.all_gather(predictor.all(distributed.shard(shots)))
        scenes = [shot.scene for shot in shots]
        labels = [shot.label for shot in shots]
        scores = score_potentials(scenes, values, labels)
        shown = ("srcc", "scene_srcc", "plcc", "scene_plcc")
        return Validation({name: scores[name] for name in shown})

    def export(self, path: Path) -> None:
        save_weights(path, self.predictor, "irp", self.arguments, "irp")


class PredictorWithAuxiliaryHead(nn.Module):
    """A predictor and the linear head of its auxiliary loss, [B,C] -> [B,T]."""

    def __init__(self, predictor: IRP, targets: int):
        super().__init__()
        self.predictor = predictor
        self.auxiliary_head = nn.Linear(predictor.score[0].in_features, targets)


def rate(config: TrainConfig, step: int, epoch: int) -> float:
    """The learning rate at a step; `epoch` steps are an epoch."""
    passed = [milestone for milestone in config.milestones if step // epoch >= milestone]
    return config.lr * config.lr_gamma ** len(passed)


def load_imagenet(network: IRP, source: str) -> None:
    """Load ImageNet's weights into both trunks.

    source: `auto` takes torchvision's IMAGENET1K_V1 from pretrain_models/ or downloads it (with a
    note where it can't), `none`, or a file.
    """
    if source == "none":
        return
    is_resnet50 = network.backbone.rpartition(":")[2] == "resnet50"
    if source == "auto" and is_resnet50 and IMAGENET.is_file():
        source = str(IMAGENET)
    if source != "auto":
        network.load_backbone(load_state(Path(source)))
        return
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(network.backbone.rpartition(":")[2]).IMAGENET1K_V1
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        network.load_backbone(state)
    except (OSError, ValueError, AttributeError) as error:
        print(
            f"note: ImageNet's weights of {network.backbone} are not reachable ({error}): the "
            "trunks start from random ones"
        )
        if is_resnet50:
            print(f"note: {how_to_get(IMAGENET)}")


def _check(config: TrainConfig) -> None:
    if config.within and config.bracket < 2:
        raise UserError("--within compares shots of one scene: it needs a --bracket of 2 or more")
    positive = (config.epochs, config.batch_size, config.bracket)
    not_negative = (config.val_every, config.workers, config.patch_size)
    if min(positive) < 1 or min(not_negative) < 0:
        raise UserError(
            "--epochs and --batch_size must be at least 1, --val_every, --workers and "
            "--patch_size not below 0"
        )


def _features(root: Path, shots: Sequence[Shot]) -> Features:
    features = read_features(root, shots)
    if features is None:
        raise UserError(
            f"--auxiliary_weight and --fresh_path need records/ and sharp/ in {root}, as "
            "generate.py irp writes them"
        )
    return features


def _fresh_shots(config: TrainConfig, stacks: Stacks) -> FreshShots:
    """Of all pictures but those that are too small or that validate or test."""
    if not config.patch_size or not 0 < config.fresh_fraction < 1:
        raise UserError("--fresh_path needs a --patch_size, and a --fresh_fraction between 0 and 1")
    draw = SceneDraw()
    held_out = {
        source_of(stacks.root, scene)
        for scene in (*stacks.partitions["val"], *stacks.partitions["test"])
    }
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
    masks = find_masks(config.mask_path, config.mask_kind)
    return FreshShots(pictures, masks, draw, config.patch_size, config.seed, config.bracket)
