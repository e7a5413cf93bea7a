"""Train a single-image network: every published recipe is a file in configs/, the shipped network's
is default.yaml.
"""

import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, Dataset

from data.catalog import find_videos
from data.exposures import ExposedFrames
from data.mixture import Mixture
from data.pairs import FolderPairs, NoBlurPairs, Variation
from data.photo_catalog import find_pairs, find_sharp
from data.sample import sample_folder
from data.shards import ShardedPairs
from data.synthesis.camera import gamma_response
from data.synthesis.kernels import load_kernels
from data.synthesis.masks import find_masks
from data.synthesis.pair import PairSettings
from data.synthesised import Draw, PairMaker, SynthesisedPairs
from losses.pixel import fft_l1, l1, mse, negative_psnr, weighted_sum
from methods.image_deblur.config import TrainConfig, chosen_model
from models import build, load, load_network
from models.blocks import ImageNetwork
from models.deep_deblur import Discriminator
from models.irp import IRP
from utils import distributed
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import autocast, choose_device, choose_precision
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.image import read_image, to_8bit, to_tensor
from utils.report import spread
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train

PLAIN_LOSSES = {"L1": l1, "MSE": mse, "FFT": fft_l1}
LOSSES = (*PLAIN_LOSSES, "PSNR", "ADV")
LUMINANCE = (0.2989, 0.587, 0.114)
MAX_EXAMPLES = 6  # pictures in validation.png


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/NAME."""
    task = DeblurTask(config)
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
        judge = _judge(config, self.name) if config.condition else None
        if judge:
            self.name, self.arguments = "guided_nafnet", {**self.arguments, "irp": judge.arguments}
        torch.manual_seed(config.seed)
        try:
            self.restorer = build(self.name, **self.arguments).to(memory_format=torch.channels_last)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"--network {self.arguments} makes no {config.model}: {str(error).splitlines()[0]}"
            ) from error
        if judge:
            self.restorer.judge.load_state_dict(judge.state_dict())
        if config.weights:
            start = load(config.weights).state_dict()
            own = (
                self.restorer.state_dict() if judge else {}
            )  # a plain NAFNet starts a guided one, too
            load_strict(self.restorer, own | start, config.weights)
        self.forward = (
            torch.compile(self.restorer.forward_scales)
            if config.compile
            else self.restorer.forward_scales
        )
        self.loss = weighted_sum(config.loss, LOSSES)
        self.network = AdversarialPair(self.restorer) if "ADV" in self.loss else self.restorer
        self.phases = parse_phases(config)
        _check(config, self.restorer, self.phases)
        self.sets = {
            size: self._with_videos(self._training_set(size), size)
            for size in {size for size, _, _ in self.phases}
        }
        length = len(next(iter(self.sets.values())))
        self.epoch = StepSampler(length, config.batch_size, config.seed).steps_per_epoch
        self.steps = config.epochs * self.epoch or config.steps
        self.steps_per_epoch = config.val_every or self.epoch
        pictures = (
            find_pairs(config.val_path, config.blur_folder, need_sharp=True).pictures
            if config.val_path
            else ()
        )
        if any(picture.sharp.is_dir() or picture.sharp.suffix == ".mat" for picture in pictures):
            raise UserError(
                f"{config.val_path} has several ground truths per picture (Koehler): validate on "
                "other pairs"
            )
        self.validation_set = spread(pictures, config.val_pictures or len(pictures))
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        self.optimizer = optimizer(
            self.network.parameters(),
            config.lr,
            tuple(config.betas),
            weight_decay=config.weight_decay,
        )

    def schedule(self, step: int) -> Phase:
        starts = [
            sum(steps for _, _, steps in self.phases[:place]) for place in range(len(self.phases))
        ]
        place = sum(start <= step for start in starts) - 1
        size, batch, _ = self.phases[place]
        return Phase(
            (rate(self.config, step, self.steps, self.epoch),), batch, size, since=starts[place]
        )

    def loader(self, phase: Phase, start: int) -> DataLoader:
        dataset = self.sets[phase.patch_size]
        sampler = StepSampler(
            len(dataset), phase.batch_size, self.config.seed, 1, start - phase.since
        )
        return endless_loader(dataset, sampler, self.config.workers)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        """Every term over all scales of the network, summed, as published with each of them; ADV on
        the full scale alone.
        """
        blurry, sharp = batch["blurry"], batch["sharp"]
        if self.config.gamma_factor != 1:
            blurry, sharp = (image**self.config.gamma_factor for image in (blurry, sharp))
        if self.restorer.channels == 1:
            weights = blurry.new_tensor(LUMINANCE).view(3, 1, 1)
            blurry, sharp = ((image * weights).sum(1, keepdim=True) for image in (blurry, sharp))
        scales = list(zip(self.forward(blurry), self.restorer.scales_of(sharp), strict=True))
        losses = {}
        for name, weight in self.loss.items():
            if name == "ADV":
                full = max(scales, key=lambda scale: scale[1].shape[-1])
                losses[name], losses["discriminator"] = self.network.losses(*full, weight)
            else:
                losses[name] = weight * sum(
                    self._term(name, restored.float(), truth) for restored, truth in scales
                )
        return losses

    def evaluate(self) -> Validation:
        """Mean PSNR by protocol `image` of results and inputs, and the least gain, over the pairs
        that are not identical.
        """
        share = [
            self._evaluate(picture) for picture in distributed.shard(list(self.validation_set))
        ]
        rows = distributed.all_gather(share)
        if not rows:
            return Validation()
        restored, blurry = np.array([figures for _, figures, _ in rows]).T
        differ = np.isfinite(blurry) if np.isfinite(blurry).any() else np.isfinite(restored)
        restored, blurry = restored[differ], blurry[differ]
        metrics = {
            "psnr": restored.mean(),
            "psnr_input": blurry.mean(),
            "worst_gain": (restored - blurry).min(),
        }
        return Validation(
            {name: float(value) for name, value in metrics.items()},
            {name: shown for name, _, shown in rows[:MAX_EXAMPLES]},
        )

    def _evaluate(self, picture) -> tuple[str, tuple[float, float], dict[str, np.ndarray]]:
        blurry, sharp = (to_tensor(read_image(path)) for path in (picture.blurry, picture.sharp))
        gamma = self.config.gamma_factor
        with autocast(self.device, self.dtype):
            restored = (
                self.restorer(
                    (blurry[None] ** gamma).to(self.device, memory_format=torch.channels_last)
                )[0]
                .float()
                .cpu()
            )
        restored = restored.clamp(min=0) ** (1 / gamma) if gamma != 1 else restored
        psnr = PROTOCOLS["image"].psnr
        shown = {"blurry": blurry, "restored": restored, "sharp": sharp}
        return (
            picture.name,
            (psnr(restored, sharp), psnr(blurry, sharp)),
            {label: to_8bit(image) for label, image in shown.items()},
        )

    def export(self, path: Path) -> None:
        save_weights(path, self.restorer, self.name, self.arguments, "image_deblur")

    def _term(self, name: str, restored: Tensor, sharp: Tensor) -> Tensor:
        if name == "PSNR":
            return negative_psnr(restored, sharp, self.config.psnr_floor)
        return PLAIN_LOSSES[name](restored, sharp)

    def _training_set(self, size: int) -> Dataset:
        config = self.config
        path = config.data_path or sample_folder()
        vary = Variation(
            **{name: name in config.augment for name in ("mirror", "turn", "colour", "noise")}
        )
        source = source_of(path) if config.source == "auto" else config.source
        if source == "shards":
            return ShardedPairs(path, size, config.seed, vary)
        if source == "no_blur":
            return NoBlurPairs(path, size, config.seed, vary)
        if source == "pairs":
            found = find_pairs(path, config.blur_folder, need_sharp=True)
            return FolderPairs(
                found.pictures, size, config.seed, vary, config.tile_size, config.tile_step
            )
        draw = Draw(
            size=config.kernel_size,
            kernels=load_kernels(config.kernel_path, config.kernel_size)
            if config.kernel_path
            else None,
            strong=config.strong,
            mild=config.mild,
            encoded=config.srgb_fraction,
        )
        settings = PairSettings(
            gamma_response(config.gamma), illumination=3.0 if config.augment_illumination else 1.0
        )
        maker = PairMaker(
            path, find_masks(config.mask_path, config.mask_kind), draw, settings, config.seed
        )
        return SynthesisedPairs(
            maker, size, config.noise_fraction, config.jpeg_fraction, vary, tuple(config.zoom)
        )

    def _with_videos(self, pairs: Dataset, size: int) -> Dataset:
        config = self.config
        if not config.video_path:
            return pairs
        videos = find_videos(config.video_path, "frames").videos
        exposed = ExposedFrames(
            videos, size, config.seed, config.cache_path, config.max_frames, config.srgb_fraction
        )
        return Mixture(pairs, exposed, config.video_fraction, config.seed)


class AdversarialPair(nn.Module):
    """A network and the discriminator it is trained against; both learn in the same step (Nah et
    al., CVPR 2017).
    """

    def __init__(self, restorer: nn.Module):
        super().__init__()
        self.restorer, self.discriminator = restorer, Discriminator()

    def losses(self, restored: Tensor, sharp: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Sigmoid cross entropies: the network's (it wants to pass for sharp), times a weight, and
        the discriminator's own.
        """
        if sharp.shape[-1] != 256:
            raise UserError(f"the adversarial term needs --patch_size 256, not {sharp.shape[-1]}")
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        passed = functional_call(self.discriminator, frozen, (restored,))
        seen = self.discriminator(torch.cat((sharp, restored.detach())))
        truth = torch.cat((torch.ones_like(passed), torch.zeros_like(passed)))
        entropy = nn.functional.binary_cross_entropy_with_logits
        return weight * entropy(passed, torch.ones_like(passed)), entropy(seen, truth)


def _judge(config: TrainConfig, name: str) -> IRP:
    """The IRP network that guides; raises UserError for a network that can't be guided."""
    if name != "nafnet":
        raise UserError(f"--condition irp guides a NAFNet, not {config.model}")
    return load_network(config.irp_weights or "irp", IRP)


def source_of(path: Path) -> str:
    """What a folder of training data holds: shards, pairs, or sharp pictures alone."""
    if path.is_dir() and any(path.glob("*.tar")):
        return "shards"
    if any(picture.sharp for picture in find_pairs(path).pictures):
        return "pairs"
    find_sharp(path)  # blurry pictures alone are refused
    return "pictures"


def _check(config: TrainConfig, network: nn.Module, phases: list[tuple[int, int, int]]) -> None:
    """Raises UserError for options that can't work, before any data are read."""
    sizes = [size for size, _, _ in phases]
    least = min(min(size, batch) for size, batch, _ in phases)
    if least < 1 or len(config.betas) != 2 or len(config.zoom) != 2 or config.gamma_factor <= 0:
        raise UserError(
            "patches and batches must be at least 1, --betas and --zoom two numbers, "
            "--gamma_factor above 0"
        )
    if type(network).forward_scales is not ImageNetwork.forward_scales and any(
        size % network.multiple for size in sizes
    ):
        raise UserError(
            f"{config.model} trains on patches whose sides are multiples of {network.multiple} "
            "(--patch_size, --phases)"
        )


def rate(config: TrainConfig, step: int, steps: int, epoch: int) -> float:
    """The learning rate at a step of `steps`, `epoch` of which are an epoch."""
    if config.schedule == "cosine":
        share = max(step - config.lr_hold, 0) / max(steps - config.lr_hold, 1)
        return config.lr_min + (config.lr - config.lr_min) * 0.5 * (
            1 + math.cos(math.pi * min(share, 1))
        )
    if config.schedule == "power":
        return config.lr * max(1 - step / steps, 0) ** config.lr_power
    if config.schedule == "step":
        return config.lr * config.lr_gamma ** sum(
            step // epoch >= milestone for milestone in config.milestones or ()
        )
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
