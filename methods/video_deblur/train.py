"""Train CDVD-TSP: the published recipe by default, the shipped small network with --config
default.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.catalog import Video, find_videos
from data.clips import ClipWindows
from data.exposures import ExposedVideos
from data.mixture import Mixture
from data.pictures import MovedPictures
from data.sample import sample_folder
from losses.pixel import (
    charbonnier,
    hard_example_mining,
    l1,
    negative_psnr,
    random_pixels,
    weighted_sum,
)
from methods.video_deblur.config import TrainConfig
from methods.video_deblur.inference import Predictor, predict
from models import build, load
from models.cdvd_tsp import AlignedNAFNet
from models.nafnet import NAFNet
from models.published import load_published
from utils import distributed
from utils.checkpoint import load_strict, save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.image import read_image, to_8bit, to_tensor
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train

ARCHITECTURE = (
    "stages",
    "width",
    "blocks",
    "kernel_size",
    "downscale",
    "global_skip",
    "gate",
    "flow",
    "body",
    "prior",
    "recurrent",
)
PLAIN_LOSSES = {"L1": l1, "Charbonnier": charbonnier, "PSNR": negative_psnr}
LOSSES = (*PLAIN_LOSSES, "HEM")
RANDOM_FRACTION = 0.1  # of pixels that HEM adds to the hard ones
BLURRED_DB = 35  # a video below this input PSNR shall gain, one above it shall stay as it is
MAX_EXAMPLES = 6  # videos in validation.png


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/NAME."""
    task = CascadeTask(config)
    limits = Limits.of(config, config.epochs * task.steps_per_epoch, task.device, task.dtype)
    return train(task, ROOT / "experiment" / config.save, limits, config.resume, to_yaml(config))


class CascadeTask:
    """What the loop asks of CDVD-TSP (see utils/training.py: Task)."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        self.arguments = {name: getattr(config, name) for name in ARCHITECTURE}
        torch.manual_seed(config.seed)
        self.network = build("cdvd_tsp", **self.arguments).to(memory_format=torch.channels_last)
        self._start_from_weights()
        self.loss = weighted_sum(config.loss, LOSSES)
        if config.clip_frames and (
            config.clip_frames < self.network.frames or not config.recurrent
        ):
            raise UserError(
                f"--clip_frames {config.clip_frames}: {self.network.frames}, or more of them "
                "with --recurrent"
            )
        self.training_set = self._training_set(config.clip_frames or self.network.frames)
        self.stills = self._training_set(frames=1) if config.warm_start else None
        length = len(self.training_set)
        # The published rule: the set repeated whole, at least once, up to 1000 batches.
        self.repeats = max(1, 1000 // max(length // config.batch_size, 1))
        batches = StepSampler(length, config.batch_size, config.seed, self.repeats).steps_per_epoch
        self.steps_per_epoch = min(batches, config.max_batches or batches)
        self.validation_set = (
            find_videos(config.val_path, "auto", config.gopro_blur, True).videos
            if config.val_path
            else ()
        )
        groups = [{"params": list(self.network.reconstruction.parameters())}]
        self.base_rates = [config.lr]
        if flow_parameters := list(self.network.flow.parameters()):
            groups.append({"params": flow_parameters})
            self.base_rates.append(config.flow_lr)
        self.unused_parameters = bool(config.warm_start and flow_parameters)
        self.optimizer = torch.optim.Adam(groups, lr=config.lr, betas=(0.9, 0.999))

    def schedule(self, step: int) -> Phase:
        config = self.config
        if config.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * step / (config.epochs * self.steps_per_epoch)))
        else:
            factor = config.lr_gamma ** (step // self.steps_per_epoch // config.lr_decay)
        rates = tuple(factor * rate for rate in self.base_rates)
        if step < config.warm_start:
            return Phase(rates, config.warm_batch_size, config.patch_size)
        return Phase(rates, config.batch_size, config.patch_size, since=config.warm_start)

    def loader(self, phase: Phase, start: int) -> DataLoader:
        dataset = self.training_set if phase.since == self.config.warm_start else self.stills
        sampler = StepSampler(
            len(dataset), phase.batch_size, self.config.seed, self.repeats, start - phase.since
        )
        return endless_loader(dataset, sampler, self.config.workers)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        """The published loss: every stage's results and the final one side by side as channels."""
        blurry, sharp = batch["blurry"], batch["sharp"]
        if step < self.config.warm_start:
            restored, truth = self.network.restore_still(blurry[:, 0]).float(), sharp[:, 0]
        else:
            stages = list(enumerate(self.network.forward_stages(blurry), 1))
            restored = torch.cat([result.flatten(1, 2) for _, result in stages], 1).float()
            inner = [sharp[:, stage : sharp.shape[1] - stage] for stage, _ in stages]
            truth = torch.cat(
                [frames.flatten(1, 2) for frames in inner], 1
            )  # [B,12,H,W] for two stages
        losses = {}
        for name, weight in self.loss.items():
            if name == "HEM":
                mask = random_pixels(restored, RANDOM_FRACTION, generators)
                losses[name] = weight * hard_example_mining(restored, truth, mask)
            else:
                losses[name] = weight * PLAIN_LOSSES[name](restored, truth)
        return losses

    def evaluate(self) -> Validation:
        """PSNR by protocol `cdvd_train` of the final result, of the first stage and of the input,
        over the inner frames of every video.

        mean_gain, worst_gain: what the frames of the blurred videos gain on average, and the least
        that such a video gains (dB). min_fidelity: the lowest PSNR of a hardly blurred video's
        restored frames to its own input. The best checkpoint goes by --best_by.
        """
        share = [
            self._evaluate_video(video) for video in distributed.shard(list(self.validation_set))
        ]
        videos = distributed.all_gather(share)
        if not videos:
            return Validation()
        blurred = [frames for _, frames, _ in videos if frames[:, 2].mean() < BLURRED_DB]
        others = [frames for _, frames, _ in videos if frames[:, 2].mean() >= BLURRED_DB]
        metrics = dict(
            zip(
                ("psnr", "psnr_stage1", "psnr_input"),
                np.concatenate(blurred + others).mean(0)[:3].tolist(),
            )
        )
        if blurred:
            gains = [frames[:, 0] - frames[:, 2] for frames in blurred]
            metrics |= {
                "mean_gain": float(np.concatenate(gains).mean()),
                "worst_gain": float(min(gain.mean() for gain in gains)),
            }
        if others:
            metrics["min_fidelity"] = float(min(frames[:, 3].mean() for frames in others))
        if self.config.best_by in metrics:
            metrics = {self.config.best_by: metrics.pop(self.config.best_by), **metrics}
        return Validation(metrics, {name: example for name, _, example in videos[:MAX_EXAMPLES]})

    def _evaluate_video(self, video: Video) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
        """(name, PSNR [frames, 4] of result, stage 1, input against the truth and of the result
        against the input, an example).
        """
        stages, psnr = self.network.stages, PROTOCOLS["cdvd_train"].psnr
        paths = video.blurry[: self.config.val_frames or None]
        if len(paths) < self.network.frames:
            raise UserError(
                f"validation video {video.name} has {len(paths)} frames, {self.network.frames} "
                "are needed (see --val_frames)"
            )
        first: dict[int, Tensor] = {}  # the first stage's results that are still needed
        numbers = iter(range(1, len(paths)))

        def observe(stage: int, frame: Tensor) -> None:
            if stage == 1:
                first[next(numbers)] = frame

        predictor = Predictor(self.network, self.device, self.dtype, Path())
        frames = (to_tensor(read_image(path)) for path in paths)
        rows = []
        for index, restored in enumerate(
            predict(predictor, frames, border=False, observe=observe), stages
        ):
            before, truth = (
                to_tensor(read_image(path)) for path in (paths[index], video.sharp[index])
            )
            stage1 = first.get(index, restored)  # a single stage is not observed
            first = {number: frame for number, frame in first.items() if number > index}
            rows.append(
                [
                    psnr(restored, truth),
                    psnr(stage1, truth),
                    psnr(before, truth),
                    psnr(restored, before),
                ]
            )
            example = {"blurry": before, "restored": restored, "sharp": truth}
        return (
            video.name,
            np.array(rows),
            {label: to_8bit(picture) for label, picture in example.items()},
        )

    def export(self, path: Path) -> None:
        save_weights(path, self.network, "cdvd_tsp", self.arguments, "cdvd_tsp")

    def _training_set(self, frames: int) -> Dataset:
        config = self.config
        path, size, seed = config.data_path or sample_folder(), config.patch_size, config.seed
        if config.source == "pictures":
            return MovedPictures(path, frames, size, seed)
        if config.source == "videos":
            videos = find_videos(path, "frames").videos
            exposed = ExposedVideos(
                videos,
                frames,
                size,
                seed,
                config.cache_path,
                config.max_frames,
                config.srgb_fraction,
            )
            if not config.picture_path:
                return exposed
            return Mixture(
                exposed,
                MovedPictures(config.picture_path, frames, size, seed),
                config.picture_fraction,
                seed,
            )
        videos = find_videos(path, config.layout, config.gopro_blur, need_sharp=True).videos
        return ClipWindows(videos, frames, size, seed, config.max_frames)

    def _start_from_weights(self) -> None:
        config = self.config
        if config.weights:
            source = load(config.weights)
            body = source if isinstance(source, NAFNet) else getattr(source, "reconstruction", None)
            if isinstance(body, NAFNet) and isinstance(self.network.reconstruction, AlignedNAFNet):
                try:
                    self.network.reconstruction.start_from(body, config.start_blocks)
                except ValueError as error:
                    raise UserError(f"--weights {config.weights}: {error}") from error
            else:
                load_strict(self.network, source.state_dict(), config.weights)
        elif config.flow == "pwc":
            if config.flow_weights and config.flow_weights.is_file():
                self.network.flow.load_state_dict(
                    load_published("pwc_net", config.flow_weights).state_dict()
                )
            else:
                print(
                    f"warning: no published PWC-Net weights at {config.flow_weights}, so the "
                    "flow network starts from random values. "
                    "Training without a trained flow network does not reach the published "
                    "figures (users report 23-24 dB).",
                    file=sys.stderr,
                )
