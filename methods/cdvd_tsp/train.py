"""Train CDVD-TSP: the published recipe by default, the shipped small network with --config default."""

import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.catalog import find_videos
from data.clips import ClipWindows
from data.pictures import MovedPictures
from data.sample import sample_folder
from losses.pixel import charbonnier, hard_example_mining, l1, random_pixels
from methods.cdvd_tsp.config import TrainConfig
from models import build, load
from models.published import load_published
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.files import write_text
from utils.protocol import PROTOCOLS
from utils.training import Limits, StepSampler, endless_loader, train

ARCHITECTURE = ("stages", "width", "blocks", "kernel_size", "downscale", "global_skip", "flow")
PLAIN_LOSSES = {"L1": l1, "Charbonnier": charbonnier}
RANDOM_SHARE = 0.1  # of pixels that HEM adds to the hard ones
VALIDATION_SIZE = 256  # of clips made from pictures, px
UNBLURRED_DB = 45  # an input above this PSNR is not blurred


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/NAME."""
    folder = ROOT / "experiment" / config.save
    task = CascadeTask(config)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", to_yaml(config))
    limits = Limits(
        steps=config.epochs * task.steps_per_epoch,
        minutes=config.max_minutes,
        device=task.device,
        dtype=choose_precision(config.precision, task.device),
        seed=config.seed,
    )
    return train(task, folder, limits, config.resume)


class CascadeTask:
    """What the loop asks of CDVD-TSP (see utils/training.py: Task)."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.device = choose_device(config.device)
        self.arguments = {name: getattr(config, name) for name in ARCHITECTURE}
        torch.manual_seed(config.seed)
        self.network = build("cdvd_tsp", **self.arguments).to(memory_format=torch.channels_last)
        self._start_from_weights()
        self.loss = parse_loss(config.loss)
        self.training_set = self._data(config.data_path or sample_folder(), config.patch_size, training=True)
        length = len(self.training_set)
        # The published rule: the set repeated whole, at least once, up to 1000 batches.
        self.repeats = max(1, 1000 // max(length // config.batch_size, 1))
        batches = StepSampler(length, config.batch_size, config.seed, self.repeats).steps_per_epoch
        self.steps_per_epoch = min(batches, config.max_batches or batches)
        self.validation_set = self._data(config.val_path, VALIDATION_SIZE, training=False) if config.val_path else None
        groups = [{"params": list(self.network.reconstruction.parameters())}]
        self.base_rates = [config.lr]
        if flow_parameters := list(self.network.flow.parameters()):
            groups.append({"params": flow_parameters})
            self.base_rates.append(config.flow_lr)
        self.optimizer = torch.optim.Adam(groups, lr=config.lr, betas=(0.9, 0.999))

    def batches(self, start: int) -> Iterable[dict]:
        config = self.config
        sampler = StepSampler(len(self.training_set), config.batch_size, config.seed, self.repeats, start)
        return endless_loader(self.training_set, sampler, config.workers)

    def step(self, batch: dict, generator: torch.Generator) -> dict[str, Tensor]:
        """The published loss: every stage's results and the final one side by side as channels."""
        blurry, sharp = batch["blurry"], batch["sharp"]
        restored, truth = [], []
        for stage, result in enumerate(self.network.forward_stages(blurry), 1):
            restored.append(result.flatten(1, 2))
            truth.append(sharp[:, stage : sharp.shape[1] - stage].flatten(1, 2))
        restored, truth = torch.cat(restored, 1).float(), torch.cat(truth, 1)  # [B,12,H,W] for two stages
        losses = {}
        for name, weight in self.loss.items():
            if name == "HEM":
                mask = random_pixels(restored, RANDOM_SHARE, generator)
                losses[name] = weight * hard_example_mining(restored, truth, mask)
            else:
                losses[name] = weight * PLAIN_LOSSES[name](restored, truth)
        return losses

    def rates(self, step: int) -> list[float]:
        config = self.config
        if config.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * step / (config.epochs * self.steps_per_epoch)))
        else:
            factor = config.lr_gamma ** (step // self.steps_per_epoch // config.lr_decay)
        return [factor * rate for rate in self.base_rates]

    def evaluate(self) -> dict[str, float]:
        """PSNR by protocol `cdvd_train` of the final result, of the first stage's centre frame and of the input.

        Clips made from pictures count if they are blurred: an identical pair would add 100 dB to every mean.
        """
        if self.validation_set is None:
            return {}
        rows = []
        for index in range(len(self.validation_set)):
            clip = self.validation_set[0, index]
            blurry, sharp = clip["blurry"][None].to(self.device), clip["sharp"].to(self.device)
            stages = self.network.forward_stages(blurry)
            centre = self.network.stages
            images = (stages[-1][0, 0], stages[0][0, centre - 1], blurry[0, centre])
            rows.append([PROTOCOLS["cdvd_train"].psnr(image, sharp[centre]) for image in images])
        if self.config.source == "pictures":
            rows = [row for row in rows if row[-1] < UNBLURRED_DB] or rows
        return dict(zip(("psnr", "psnr_stage1", "psnr_input"), np.mean(rows, axis=0).tolist()))

    def export(self, path: Path) -> None:
        save_weights(path, self.network, "cdvd_tsp", self.arguments, "cdvd_tsp")

    def _data(self, path: Path, size: int, training: bool) -> ClipWindows | MovedPictures:
        config, frames = self.config, self.network.frames
        if config.source == "pictures":
            return MovedPictures(path, frames, size, config.seed if training else 0)
        found = find_videos(path, config.layout, config.gopro_blur, need_sharp=True)
        return ClipWindows(found.videos, frames, size if training else None, config.seed, config.max_frames if training else 0)

    def _start_from_weights(self) -> None:
        config = self.config
        if config.weights:
            source = load(config.weights)
            load_strict(self.network, source.state_dict(), config.weights)
        elif config.flow == "pwc":
            if config.flow_weights and config.flow_weights.is_file():
                self.network.flow.load_state_dict(load_published("pwc_net", config.flow_weights).state_dict())
            else:
                print(
                    f"warning: no published PWC-Net weights at {config.flow_weights}, so the flow network starts from random values. "
                    "Training without a trained flow network does not reach the published figures (users report 23-24 dB).",
                    file=sys.stderr,
                )


def parse_loss(text: str) -> dict[str, float]:
    """{"L1": 1.0, "HEM": 2.0} of "1*L1+2*HEM", the published way to write a weighted sum."""
    weights = {}
    for term in text.split("+"):
        parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\*(\w+)\s*", term)
        if parts is None or parts[2] not in (*PLAIN_LOSSES, "HEM"):
            raise UserError(f"can't read {term!r} in the loss {text!r}: write a sum of {', '.join(PLAIN_LOSSES)}, HEM like 1*L1+2*HEM")
        weights[parts[2]] = float(parts[1])
    return weights
