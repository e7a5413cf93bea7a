"""Train a network that unfolds one blurry picture into seven sharp frames.

Jin or Purohit, with the loss naive, order_inv or hypercut.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.blur2vid import whole_sequence
from data.sequences import FrameSequence
from losses.order import naive, one_sided, order_invariant
from methods.blur2vid.config import TrainConfig, frame_indices
from methods.common.sequence_training import SequenceTask
from models import SHIPPED, build, choose, load_network
from models.contracts import SequenceNetwork
from models.hypercut import HyperCUT
from restoration.image import ImageRestorer
from restoration.sequence import SequenceRestorer
from utils import distributed
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.evaluation.sequence_scores import score_frames
from utils.image import to_8bit
from utils.tiling import pad_to_multiple
from utils.training import Limits, Validation, train

MAX_EXAMPLES = 6  # pictures in validation.jpg


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/SAVE."""
    task = UnfoldTask(config)
    limits = Limits.of(config, task.steps, task.device, task.dtype)
    folder = ROOT / "experiment" / config.save
    return train(task, folder, limits, config.resume or config.load_epoch > 0, to_yaml(config))


class UnfoldTask(SequenceTask):
    """What the loop asks of a blur-to-video network (see utils/training.py: Task)."""

    def __init__(self, config: TrainConfig):
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        self.indices = frame_indices(config.target_frames)
        self.name, arguments = choose(config.backbone, SequenceNetwork, "backbone")
        self.arguments = arguments | (config.network or {})
        torch.manual_seed(config.seed)
        network: SequenceNetwork = build(self.name, **self.arguments)
        # Jin's generators of frames that nobody asks for
        self.unused_parameters = len(self.indices) < network.frames
        if config.image_size % network.multiple:
            raise UserError(
                f"{config.backbone} trains on patches whose sides are multiples of "
                f"{network.multiple}, not {config.image_size}"
            )
        if config.weights:
            source = load_network(config.weights, type(network))
            load_strict(network, source.state_dict(), config.weights)
        self.ordering = self._ordering_network(config)
        self.deblurrer = self._deblurrer(config, network)
        super().__init__(config, network)

    def _ordering_network(self, config: TrainConfig) -> HyperCUT | None:
        """The network whose hyperplane the loss `hypercut` goes by; it is not trained."""
        if config.loss_type != "hypercut":
            return None
        if len(self.indices) < 7:
            raise UserError(
                "the loss hypercut judges all three pairs: leave --target_frames at 1 2 3 4 5 6 7"
            )
        network = load_network(config.hypercut_path or SHIPPED["order"], HyperCUT)
        return network.to(self.device).requires_grad_(False)

    def _deblurrer(self, config: TrainConfig, network: SequenceNetwork) -> ImageRestorer | None:
        """What makes the centre frame where the true one is not asked for; it is not trained."""
        if not network.needs_centre or config.centre == "ground_truth":
            return None
        restorer = ImageRestorer.load(config.deblurrer, config.device, "fp32", scale=1, guard=False)
        restorer.network.requires_grad_(False)
        return restorer

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        """The terms of --loss_type on the values that the network sees, a mean over its scales."""
        network = self.network
        # boxes are 192 px whatever fits
        images = pad_to_multiple(batch["blurry"], network.multiple)
        frames = pad_to_multiple(batch["frames"], network.multiple)
        truth = network.seen(frames)
        centre = self._centre(images, truth) if network.needs_centre else None
        scales, auxiliary = network.training_outputs(network.seen(images), centre)
        loss = partial(order_invariant, centre=self.config.centre_loss)
        if self.config.loss_type == "naive":
            loss = naive
        total = 0
        for level, predicted in enumerate(scales):
            scaled = truth if level == 0 else network.halved(truth, level)
            total = total + loss(predicted.float()[:, self.indices], scaled[:, self.indices])
        count = len(scales) * (len(self.indices) if network.mean_over_frames else 1)
        losses = {self.config.loss_type: total / count}
        for name, value in auxiliary.items():
            losses[name] = self.config.flow_weight * value
        if self.ordering:
            losses["side"] = self.config.alpha * one_sided(self._order_scores(scales[0].float()))
        return losses

    def _order_scores(self, predicted: Tensor) -> Tensor:
        """HyperCUT's scores of predicted frames as the network gives them."""
        if self.ordering.values != self.network.values:
            predicted = self.ordering.seen(self.network.shown(predicted))
        return self.ordering(predicted)

    def _centre(self, blurry: Tensor, truth: Tensor) -> Tensor:
        """The centre frame [B,3,H,W] as the network sees it.

        From blurry images in [0,1] and the true frames as it sees them.
        """
        if self.deblurrer is None:
            return truth[:, 3]
        with torch.no_grad():
            return self.network.seen(self.deblurrer.network(blurry).float())

    def evaluate(self) -> Validation:
        """Mean pPSNR of the outer frames (1 and 7), of all frames, and the gain of the outer ones.

        The gain is over the blurry picture repeated.
        """
        shard = distributed.shard(self.validation_set)
        rows = distributed.all_gather([self._evaluate(sequence) for sequence in shard])
        if not rows:
            return Validation()
        names = rows[0][1]
        metrics = {name: float(np.mean([row[name] for _, row, _ in rows])) for name in names}
        return Validation(metrics, {name: shown for name, _, shown in rows[:MAX_EXAMPLES]})

    def _evaluate(
        self, sequence: FrameSequence
    ) -> tuple[str, dict[str, float], dict[str, np.ndarray]]:
        """(name, metrics, pictures to show)."""
        blurry, truth = whole_sequence(sequence)
        restorer = SequenceRestorer(self.network, self.device, self.dtype, deblurrer=self.deblurrer)
        predicted = restorer.restore(blurry, None if self.deblurrer else truth[3])
        ours = score_frames(predicted, truth, ssim=False)
        repeated = score_frames(blurry.expand_as(truth), truth, ssim=False)
        outer = _outer(ours)
        metrics = {
            "outer": outer,
            "ppsnr": ours["ppsnr"],
            "outer_gain": outer - _outer(repeated),
        }
        shown = {"blurry": to_8bit(blurry)}
        for index in (0, 3, 6):
            shown[f"frame {index + 1}"] = to_8bit(predicted[index])
        shown["true 1"] = to_8bit(truth[0])
        return sequence.id, metrics, shown

    def export(self, path: Path) -> None:
        save_weights(path, self.network, self.name, self.arguments, "blur2vid")


def _outer(metrics: dict[str, float]) -> float:
    """The mean pPSNR of the first and the last frame."""
    return (metrics["ppsnr_1"] + metrics["ppsnr_7"]) / 2
