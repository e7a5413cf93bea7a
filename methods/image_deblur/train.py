"""Train a single-image network: every published recipe is a file in configs/, the shipped network's
is default.yaml.
"""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader

from data.photo_catalog import Picture
from losses import ADVERSARIAL, LOSSES, weighted_losses, weighted_sum
from methods.common.validation import say_test_set
from methods.image_deblur.config import TrainConfig
from methods.image_deblur.names import chosen_model
from methods.image_deblur.training_data import TrainingData, validation_pairs
from models import SHIPPED, build, load, load_network
from models.contracts import ImageNetwork
from models.deep_deblur import Discriminator
from models.irp import IRP
from restoration.image import ImageRestorer
from utils import distributed
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.image import read_image, to_8bit, to_tensor
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train

LUMINANCE = (0.2989, 0.587, 0.114)
MAX_EXAMPLES = 6  # pictures in validation.jpg


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/NAME."""
    task = DeblurTask(config)
    say_test_set(config.val_path)
    limits = Limits.of(config, task.steps, task.device, task.dtype)
    return train(task, ROOT / "experiment" / config.save, limits, config.resume, to_yaml(config))


class DeblurTask:
    """What the loop asks of a single-image network (see utils/training.py: Task)."""

    unused_parameters = False

    def __init__(self, config: TrainConfig):
        self.config = config
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        self.name, arguments = chosen_model(config.model, config.variant)
        self.arguments = {**arguments, **(config.network or {})}
        self.restorer = self._built().to(memory_format=torch.channels_last)
        self.forward = self.restorer.forward_scales
        if config.compile:
            self.forward = torch.compile(self.forward)
        self.loss = weighted_sum(config.loss, (*LOSSES, ADVERSARIAL))
        self.network = self.restorer
        if ADVERSARIAL in self.loss:
            self.network = AdversarialPair(self.restorer)
        self.phases = parse_phases(config)
        _check(config, self.restorer, self.phases)
        sizes = {size for size, _, _ in self.phases}
        data = TrainingData(config)
        self.sets = {size: data.patches(size) for size in sizes}
        if distributed.is_main():
            print(data.line())
        length = len(next(iter(self.sets.values())))
        self.epoch = self._sampler(length, config.batch_size).steps_per_epoch
        self.steps = config.epochs * self.epoch or config.steps
        self.steps_per_epoch = config.val_every or self.epoch
        self.validation_set = validation_pairs(config)
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        self.optimizer = optimizer(
            self.network.parameters(),
            config.lr,
            tuple(config.betas),
            config.epsilon,
            config.weight_decay,
            fused=self.device.type == "cuda",
        )

    def _built(self) -> ImageNetwork:
        """The network, guided by IRP if asked, with the weights it starts from."""
        config = self.config
        irp = _guiding_irp(config, self.name) if config.condition else None
        if irp:
            self.name = "guided_nafnet"
            self.arguments = {**self.arguments, "irp": irp.arguments}
        torch.manual_seed(config.seed)
        try:
            network = build(self.name, **self.arguments)
        except (ArithmeticError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"--network {self.arguments} makes no {config.model}: {reason}"
            ) from error
        if irp:
            network.judge.load_state_dict(irp.state_dict())
        if config.weights:
            state = network.state_from(load(config.weights))
            load_strict(network, state, config.weights)
        return network

    def schedule(self, step: int) -> Phase:
        starts = [0, *itertools.accumulate(steps for _, _, steps in self.phases)]
        index = sum(start <= step for start in starts[: len(self.phases)]) - 1
        size, batch, _ = self.phases[index]
        current = rate(self.config, step, self.steps, self.epoch)
        return Phase((current,), batch, size, since=starts[index])

    def loader(self, phase: Phase, start: int) -> DataLoader:
        dataset = self.sets[phase.patch_size]
        sampler = self._sampler(len(dataset), phase.batch_size, start - phase.since)
        return endless_loader(dataset, sampler, self.config.workers)

    def _sampler(self, length: int, batch_size: int, start: int = 0) -> StepSampler:
        config = self.config
        return StepSampler(length, batch_size, config.seed, 1, start, drop_last=config.drop_last)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        """Every term summed over the network's scales, as published; ADV on the full one alone."""
        gamma = self.config.gamma_factor
        blurry = self._as_seen(batch["blurry"] ** gamma if gamma != 1 else batch["blurry"])
        sharp = self._as_seen(batch["sharp"] ** gamma if gamma != 1 else batch["sharp"])
        scales = list(zip(self.forward(blurry), self.restorer.scales_of(sharp), strict=True))
        losses: dict[str, Tensor] = {}
        for restored, truth in scales:
            floor = self.config.psnr_floor
            terms = weighted_losses(self.loss, restored, truth, generators, floor)
            for name, value in terms.items():
                losses[name] = losses[name] + value if name in losses else value
        if ADVERSARIAL in self.loss:
            restored, truth = max(scales, key=lambda scale: scale[1].shape[-1])
            weight = self.loss[ADVERSARIAL]
            losses[ADVERSARIAL], losses["discriminator"] = self.network.losses(
                restored, truth, weight
            )
        return losses

    def _as_seen(self, image: Tensor) -> Tensor:
        """The image in the channels that the network is trained on."""
        if self.restorer.channels == 3:
            return image
        weights = image.new_tensor(LUMINANCE).view(3, 1, 1)
        return (image * weights).sum(1, keepdim=True)

    def evaluate(self) -> Validation:
        """PSNR by protocol `image` over the pairs that are not identical.

        psnr, psnr_input: means of results and inputs; worst_gain: the minimum of their difference.
        """
        shard = distributed.shard(list(self.validation_set))
        rows = distributed.all_gather([self._evaluate(picture) for picture in shard])
        if not rows:
            return Validation()
        restored, blurry = np.array([figures for _, figures, _ in rows]).T
        differ = np.isfinite(blurry) if np.isfinite(blurry).any() else np.isfinite(restored)
        restored = restored[differ]
        blurry = blurry[differ]
        metrics = {
            "psnr": float(restored.mean()),
            "psnr_input": float(blurry.mean()),
            "worst_gain": float((restored - blurry).min()),
        }
        return Validation(metrics, {name: shown for name, _, shown in rows[:MAX_EXAMPLES]})

    def _evaluate(self, picture: Picture) -> tuple[str, tuple[float, float], dict[str, np.ndarray]]:
        """(name, PSNR of the result and of the input, pictures to show)."""
        blurry = to_tensor(read_image(picture.blurry))
        sharp = to_tensor(read_image(picture.sharp))
        gamma = self.config.gamma_factor
        restorer = ImageRestorer(self.restorer, self.device, self.dtype, gamma=gamma)
        restored = restorer.restore(blurry)
        psnr = PROTOCOLS["image"].psnr
        shown = {"blurry": blurry, "restored": restored, "sharp": sharp}
        pictures = {label: to_8bit(image) for label, image in shown.items()}
        return picture.name, (psnr(restored, sharp), psnr(blurry, sharp)), pictures

    def export(self, path: Path) -> None:
        save_weights(path, self.restorer, self.name, self.arguments, "image_deblur")


class AdversarialPair(nn.Module):
    """A network and the discriminator it is trained against (Nah et al., CVPR 2017).

    Both learn in the same step.
    """

    def __init__(self, restorer: nn.Module):
        super().__init__()
        self.restorer = restorer
        self.discriminator = Discriminator()

    def losses(self, restored: Tensor, sharp: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Sigmoid cross entropies of the network, times a weight, and of the discriminator.

        The network wants its results to pass for sharp.
        """
        if sharp.shape[-1] != 256:
            raise UserError(f"the adversarial term needs --patch_size 256, not {sharp.shape[-1]}")
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        passed = functional_call(self.discriminator, frozen, (restored,))
        seen = self.discriminator(torch.cat((sharp, restored.detach())))
        truth = torch.cat((torch.ones_like(passed), torch.zeros_like(passed)))
        entropy = nn.functional.binary_cross_entropy_with_logits
        return weight * entropy(passed, torch.ones_like(passed)), entropy(seen, truth)


def _guiding_irp(config: TrainConfig, name: str) -> IRP:
    """The IRP network that guides; raises UserError for a network that can't be guided."""
    if name != "nafnet":
        raise UserError(f"--condition irp guides a NAFNet, not {config.model}")
    return load_network(config.irp_weights or SHIPPED["potential"], IRP)


def _check(config: TrainConfig, network: nn.Module, phases: list[tuple[int, int, int]]) -> None:
    """Raises UserError for options that can't work, before any data are read."""
    sizes = [size for size, _, _ in phases]
    smallest = min(min(size, batch) for size, batch, _ in phases)
    if smallest < 1 or len(config.betas) != 2 or len(config.zoom) != 2 or config.gamma_factor <= 0:
        raise UserError(
            "patches and batches must be at least 1, --betas and --zoom two numbers, "
            "--gamma_factor above 0"
        )
    several_scales = type(network).forward_scales is not ImageNetwork.forward_scales
    if several_scales and any(size % network.multiple for size in sizes):
        raise UserError(
            f"{config.model} trains on patches whose sides are multiples of {network.multiple} "
            "(--patch_size, --phases)"
        )


def rate(config: TrainConfig, step: int, steps: int, epoch: int) -> float:
    """The learning rate at a step of `steps`, `epoch` of which are an epoch."""
    if config.schedule == "cosine":
        progress = max(step - config.lr_hold, 0) / max(steps - config.lr_hold, 1)
        factor = 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
        return config.lr_min + (config.lr - config.lr_min) * factor
    if config.schedule == "power":
        return config.lr * max(1 - step / steps, 0) ** config.lr_power
    if config.schedule == "step":
        passed = [epochs for epochs in config.milestones or () if step // epoch >= epochs]
        return config.lr * config.lr_gamma ** len(passed)
    return config.lr


def parse_phases(config: TrainConfig) -> list[tuple[int, int, int]]:
    """(patch size, batch size, steps) one after the other; the last goes on to the end."""
    if not config.phases:
        return [(config.patch_size, config.batch_size, 0)]
    phases = []
    for text in config.phases:
        found = re.fullmatch(r"(\d+)x(\d+):(\d+)", text)
        if found is None:
            raise UserError(
                f"can't read the phase {text!r}: write PATCHxBATCH:STEPS, e.g. 128x64:92000"
            )
        phases.append(tuple(int(number) for number in found.groups()))
    return phases
