"""Train a video network: the published recipe by default, the shipped one's with --config
default.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.catalog import Video, detect_layout, find_videos
from data.clips import ClipWindows, used_frames
from data.exposures import ExposedVideos
from data.mixture import Mixture
from data.moved_pictures import MovedPictures
from data.pixel_cache import open_cache
from data.realistic import realism_of
from data.sample import sample_folder
from losses import LOSSES, weighted_losses, weighted_sum
from methods.common.validation import say_test_set
from methods.video_deblur.config import TrainConfig
from models import all_arguments, build, choose, load
from models.contracts import VideoNetwork
from restoration.video import VideoRestorer
from utils import distributed
from utils.checkpoint import save_weights
from utils.config import ROOT, to_yaml
from utils.device import choose_device, choose_precision
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.image import read_image, to_8bit, to_tensor
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train

BLURRED_DB = 35  # a video below this input PSNR shall gain, one above it shall stay as it is
MAX_EXAMPLES = 6  # videos in validation.jpg


def main(config: TrainConfig) -> dict[str, float]:
    """Train and return the last validation metrics; everything lands in experiment/NAME."""
    task = VideoTask(config)
    say_test_set(config.val_path)
    limits = Limits.of(config, config.epochs * task.steps_per_epoch, task.device, task.dtype)
    return train(task, ROOT / "experiment" / config.save, limits, config.resume, to_yaml(config))


class VideoTask:
    """What the loop asks of a video network (see utils/training.py: Task)."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        self.name, arguments = choose(config.model, VideoNetwork)
        self.arguments = all_arguments(self.name, arguments | (config.network or {}))
        torch.manual_seed(config.seed)
        self.network = self._built().to(memory_format=torch.channels_last)
        self._start()
        self.loss = weighted_sum(config.loss, LOSSES)
        frames = config.clip_frames or self.network.frames
        longest = math.inf if self.network.longer_clips else self.network.frames
        if not self.network.frames <= frames <= longest:
            raise UserError(
                f"--clip_frames {frames}: this network trains on {self.network.frames} frames; "
                "CDVD-TSP takes more with --recurrent"
            )
        self.training_set = self._training_set(frames)
        self.stills = self._training_set(frames=1) if config.warm_start else None
        length = len(self.training_set)
        # The published rule: the set repeated whole, at least once, up to 1000 batches.
        self.repeats = max(1, 1000 // max(length // config.batch_size, 1))
        batches = StepSampler(length, config.batch_size, config.seed, self.repeats).steps_per_epoch
        self.steps_per_epoch = min(batches, config.max_batches or batches)
        self.validation_set: tuple[Video, ...] = ()
        if config.val_path:
            found = find_videos(config.val_path, "auto", config.blur_folder, need_sharp=True)
            self.validation_set = found.videos
        groups = self.network.parameter_groups(config.lr, {"flow": config.flow_lr})
        self.base_rates = [group["lr"] for group in groups]
        self.unused_parameters = bool(config.warm_start and len(groups) > 1)
        betas = (0.9, config.beta2)
        on_gpu = self.device.type == "cuda"
        self.optimizer = torch.optim.Adam(groups, config.lr, betas, fused=on_gpu)

    def schedule(self, step: int) -> Phase:
        config = self.config
        epoch = self.steps_per_epoch
        rates = tuple(rate(config, first, step, epoch) for first in self.base_rates)
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
        """The losses of all results side by side as channels, as published with CDVD-TSP."""
        blurry = batch["blurry"]
        sharp = batch["sharp"]
        if step < self.config.warm_start:
            restored = self.network.warm_up(blurry[:, 0])
            truth = sharp[:, 0]
        else:
            outputs = self.network.training_outputs(blurry)
            restored = torch.cat([result.flatten(1, 2) for result, _ in outputs], 1)
            truth = torch.cat([sharp[:, frames].flatten(1, 2) for _, frames in outputs], 1)
            # [B,12,H,W] for two stages
        return weighted_losses(self.loss, restored, truth, generators, self.config.psnr_floor)

    def evaluate(self) -> Validation:
        """PSNR by protocol `cdvd_train` over the inner frames of every video.

        psnr, psnr_stage1, psnr_input: of the final result, of the first stage and of the input.
        mean_gain, worst_gain: what the frames of the blurred videos gain on average, and the
        minimum over these videos (dB). min_fidelity: the lowest PSNR of a hardly blurred video's
        restored frames to its own input. The best checkpoint goes by --best_by.
        """
        shard = distributed.shard(list(self.validation_set))
        videos = distributed.all_gather([self._evaluate_video(video) for video in shard])
        if not videos:
            return Validation()
        blurred = [rows for _, rows, _ in videos if rows[:, 2].mean() < BLURRED_DB]
        others = [rows for _, rows, _ in videos if rows[:, 2].mean() >= BLURRED_DB]
        means = np.concatenate(blurred + others).mean(0).tolist()
        metrics = dict(zip(("psnr", "psnr_stage1", "psnr_input"), means))
        if blurred:
            gains = [rows[:, 0] - rows[:, 2] for rows in blurred]
            metrics["mean_gain"] = float(np.concatenate(gains).mean())
            metrics["worst_gain"] = float(min(gain.mean() for gain in gains))
        if others:
            metrics["min_fidelity"] = float(min(rows[:, 3].mean() for rows in others))
        if self.config.best_by in metrics:
            metrics = {self.config.best_by: metrics.pop(self.config.best_by), **metrics}
        return Validation(metrics, {name: example for name, _, example in videos[:MAX_EXAMPLES]})

    def _evaluate_video(self, video: Video) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
        """(name, PSNR [frames, 4], an example).

        The columns: result, stage 1 and input against the truth, result against the input.
        """
        psnr = PROTOCOLS["cdvd_train"].psnr
        paths = video.blurry[: self.config.val_frames or None]
        if len(paths) < self.network.frames:
            raise UserError(
                f"validation video {video.name} has {len(paths)} frames, {self.network.frames} "
                "are needed (see --val_frames)"
            )
        first: dict[int, Tensor] = {}  # the first stage's results that are still needed

        def observe(stage: int, index: int, frame: Tensor) -> None:
            if stage == 1:
                first[index] = frame

        restorer = VideoRestorer(self.network, self.device, self.dtype)
        frames = (to_tensor(read_image(path)) for path in paths)
        stream = restorer.stream(frames, ends=False, observe=observe)
        rows = []
        for index, restored in enumerate(stream, self.network.lost):
            blurry = to_tensor(read_image(paths[index]))
            truth = to_tensor(read_image(video.sharp[index]))
            stage1 = first.get(index, restored)  # a single stage is not observed
            for older in [number for number in first if number <= index]:
                del first[older]
            pairs = ((restored, truth), (stage1, truth), (blurry, truth), (restored, blurry))
            rows.append([psnr(one, other) for one, other in pairs])
            example = {"blurry": blurry, "restored": restored, "sharp": truth}
        shown = {label: to_8bit(picture) for label, picture in example.items()}
        return video.name, np.array(rows), shown

    def export(self, path: Path) -> None:
        save_weights(path, self.network, self.name, self.arguments, "video_deblur")

    def _training_set(self, frames: int) -> Dataset:
        config = self.config
        path = config.data_path or sample_folder()
        size = config.patch_size
        seed = config.seed
        if config.cached != "none" and config.source != "clips":
            raise UserError(
                f"--cached {config.cached} is for --source clips, not for --source "
                f"{config.source}: leave it out"
            )
        if config.source == "pictures":
            return MovedPictures(path, frames, size, seed)
        if config.source == "clips":
            videos = find_videos(path, config.layout, config.blur_folder, need_sharp=True).videos
            files = used_frames(videos, config.max_frames)
            cache = open_cache(files, config.cache_path, config.cached)
            return ClipWindows(videos, frames, size, seed, config.max_frames, cache)
        if path.is_dir() and detect_layout(path) != "frames":
            raise UserError(
                f"{path} holds blurry and sharp clips, --source videos blurs sharp videos itself: "
                "give --source clips, or a folder of sharp videos alone"
            )
        videos = find_videos(path, "frames").videos
        realism = None if config.realism is None else realism_of(config.realism)
        exposed = ExposedVideos(
            videos,
            frames,
            size,
            seed,
            config.cache_path,
            config.max_frames,
            config.srgb_fraction,
            realism,
        )
        if not config.picture_path:
            return exposed
        moved = MovedPictures(config.picture_path, frames, size, seed)
        return Mixture(exposed, moved, config.picture_fraction, seed)

    def _built(self) -> VideoNetwork:
        try:
            return build(self.name, **self.arguments)
        except (ArithmeticError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"--network {self.arguments} makes no {self.config.model}: {reason}"
            ) from error

    def _start(self) -> None:
        """Take the weights to start from, or the parts that are never trained from nothing."""
        config = self.config
        if config.weights:
            options = {} if config.start_blocks is None else {"start_blocks": config.start_blocks}
            try:
                self.network.start_from(load(config.weights), **options)
            except (TypeError, ValueError) as error:
                raise UserError(f"--weights {config.weights}: {error}") from error
            return
        for warning in self.network.start_fresh({"flow": config.flow_weights}):
            print(f"warning: {warning}", file=sys.stderr)


def rate(config: TrainConfig, first: float, step: int, epoch: int) -> float:
    """The learning rate at a step of what starts with `first`; `epoch` steps are an epoch."""
    if config.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * step / (config.epochs * epoch)))
        return config.lr_min + factor * (first - config.lr_min)
    return first * config.lr_gamma ** (step // epoch // config.lr_decay)
