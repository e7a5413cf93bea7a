"""Train a network that unfolds one blurry picture into seven moments: Jin or Purohit, with the loss
naive, order_inv or hypercut.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from data.blur2vid import whole_sequence
from data.sequences import FrameSequence
from losses.order import naive, one_sided, order_invariant
from methods.blur2vid.config import TrainConfig, frame_indices, network_of
from methods.common.sequence_training import SequenceTask
from models import build, load_network
from models.blocks import ImageNetwork, SequenceNetwork
from models.hypercut import HyperCUT
from models.purohit import Purohit
from utils import distributed
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import autocast, choose_device, choose_precision
from utils.errors import UserError
from utils.evaluation.sequence_scores import score_frames
from utils.image import to_8bit
from utils.tiling import pad_to_multiple
from utils.training import Limits, Validation, train

MAX_EXAMPLES = 6  # pictures in validation.png
SHIPPED_DEBLURRER, SHIPPED_HYPERCUT = "image_deblur", "hypercut"


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/SAVE."""
    task = UnfoldTask(config)
    limits = Limits.of(config, task.steps, task.device, task.dtype)
    return train(
        task,
        ROOT / "experiment" / config.save,
        limits,
        config.resume or config.load_epoch > 0,
        to_yaml(config),
    )


class UnfoldTask(SequenceTask):
    """What the loop asks of a blur-to-video network (see utils/training.py: Task)."""

    def __init__(self, config: TrainConfig):
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        self.places = frame_indices(config.target_frames)
        self.name = network_of(config.backbone)
        torch.manual_seed(config.seed)
        network: SequenceNetwork = build(self.name, **(config.network or {}))
        self.unused_parameters = (
            len(self.places) < 7
        )  # Jin's generators of frames that nobody asks for
        if config.image_size % network.multiple:
            raise UserError(
                f"{config.backbone} trains on patches whose sides are multiples of "
                f"{network.multiple}, not {config.image_size}"
            )
        if config.weights:
            load_strict(
                network, load_network(config.weights, type(network)).state_dict(), config.weights
            )
        self.judge = (
            load_network(config.hypercut_path or SHIPPED_HYPERCUT, HyperCUT)
            if config.loss_type == "hypercut"
            else None
        )
        if self.judge and len(self.places) < 7:
            raise UserError(
                "the loss hypercut judges all three pairs: leave --target_frames at 1 2 3 4 5 6 7"
            )
        deblurred = self.name == "purohit" and config.centre == "deblurred"
        self.deblurrer = (
            load_network(config.deblurrer or SHIPPED_DEBLURRER, ImageNetwork) if deblurred else None
        )
        for frozen in filter(None, (self.judge, self.deblurrer)):
            frozen.to(self.device).requires_grad_(False)
        super().__init__(config, network)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        """The terms of --loss_type on the values that the network sees; Purohit's over its four
        scales, divided by four.
        """
        batch = {
            key: pad_to_multiple(batch[key], self.network.multiple) for key in ("blurry", "frames")
        }  # boxes are 192 px whatever fits
        blurry, truth = (self.network.seen(images) for images in batch.values())
        loss = (
            naive
            if self.config.loss_type == "naive"
            else partial(order_invariant, centre=self.config.centre_loss)
        )
        if isinstance(self.network, Purohit):
            scales, flows = self.network.forward_scales(
                blurry, self._centre(batch["blurry"], truth)
            )
            scales, flows = ([each.float() for each in pyramid] for pyramid in (scales, flows))
            terms = [
                loss(frames[:, self.places], self.network.halved(truth, level)[:, self.places])
                for level, frames in enumerate(scales)
            ]
            losses = {self.config.loss_type: sum(terms) / len(scales)}
            losses["flow"] = (
                self.config.flow_weight * sum(flow.abs().mean() for flow in flows) / len(flows)
            )
            predicted = scales[0]
        else:
            predicted = self.network(blurry).float()
            losses = {
                self.config.loss_type: loss(predicted[:, self.places], truth[:, self.places])
                / len(self.places)
            }
        if self.judge:
            shown = (
                predicted
                if self.judge.values == self.network.values
                else self.judge.seen(self.network.shown(predicted))
            )
            losses["side"] = self.config.alpha * one_sided(self.judge(shown))
        return losses

    def evaluate(self) -> Validation:
        """Mean pPSNR of the outer frames (1 and 7), of all, and how far the outer ones lie above
        the blurry picture repeated.
        """
        share = [self._evaluate(sequence) for sequence in distributed.shard(self.validation_set)]
        rows = distributed.all_gather(share)
        metrics = (
            {name: float(np.mean([row[name] for _, row, _ in rows])) for name in rows[0][1]}
            if rows
            else {}
        )
        return Validation(metrics, {name: shown for name, _, shown in rows[:MAX_EXAMPLES]})

    def _evaluate(
        self, sequence: FrameSequence
    ) -> tuple[str, dict[str, float], dict[str, np.ndarray]]:
        blurry, truth = whole_sequence(sequence)
        height, width = blurry.shape[-2:]
        batch, frames = (
            pad_to_multiple(images[None], self.network.multiple).to(self.device)
            for images in (blurry, truth)
        )
        with autocast(self.device, self.dtype):
            seen = self.network.seen(batch)
            inputs = (
                (seen, self._centre(batch, self.network.seen(frames)))
                if isinstance(self.network, Purohit)
                else (seen,)
            )
            predicted = self.network.shown(self.network(*inputs).float())[
                0, ..., :height, :width
            ].cpu()
        ours, baseline = (
            score_frames(images, truth, ssim=False)
            for images in (predicted, blurry.expand_as(truth))
        )
        outer, lower = ((row["ppsnr_1"] + row["ppsnr_7"]) / 2 for row in (ours, baseline))
        shown = (
            {"blurry": to_8bit(blurry)}
            | {f"frame {place + 1}": to_8bit(predicted[place]) for place in (0, 3, 6)}
            | {"true 1": to_8bit(truth[0])}
        )
        return (
            sequence.id,
            {"outer": outer, "ppsnr": ours["ppsnr"], "outer_gain": outer - lower},
            shown,
        )

    def _centre(self, blurry: Tensor, truth: Tensor) -> Tensor:
        """Purohit's centre frame [B,3,H,W] as it sees it, from blurry images in [0,1] and the true
        frames it sees.
        """
        if self.deblurrer is None:
            return truth[:, 3]
        with torch.no_grad():
            return self.network.seen(self.deblurrer(blurry).float())

    def export(self, path) -> None:
        save_weights(path, self.network, self.name, self.config.network or {}, "blur2vid")
