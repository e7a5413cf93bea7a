"""test.py blur2vid --compare: folders of predicted frames against each other."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from data.blur2vid import whole_sequence
from data.sample import sequences_or_sample
from methods.blur2vid.config import TestConfig
from methods.blur2vid.sequence_files import (
    read_blurry,
    read_frames,
    read_predicted,
    sequence_folders,
)
from utils.config import ROOT, to_yaml
from utils.errors import UserError
from utils.evaluation.compared_files import DEFAULT, finish_comparison
from utils.evaluation.comparison import INPUT, TRUTH, Comparison, in_all, named_folders
from utils.evaluation.sequence_scores import Lpips, find_lpips, score_frames
from utils.image import to_8bit
from utils.progress import Progress
from utils.report import amount

COMPARED = ROOT / "experiment" / "blur2vid_compare"


class Truths(NamedTuple):
    """The sequences with ground truth; read gives (blurry [3,H,W] or None, frames [7,3,H,W])."""

    names: list[str]
    read: Callable[[str], tuple[Tensor | None, Tensor]]


def compare_folders(config: TestConfig) -> None:
    """Compare folders of predicted frames FOLDER/ID/deblur_0.png ...; no network is loaded."""
    folders = named_folders(config.compare)
    truths = _truths(config)
    restored = {label: sequence_folders(folder) for label, folder in folders.items()}
    names, remarks = in_all(truths.names, truths.names, restored, "sequence")
    metrics = [f"p{metric}" for metric in config.metrics or DEFAULT]
    lpips = None
    if "plpips" in metrics:
        lpips, reason = find_lpips(ROOT / "pretrain_models")
        if lpips is None:
            remarks.append(reason)
            metrics.remove("plpips")
    if not metrics:
        raise UserError(f"nothing to compare by: {remarks[-1]}")
    rows: dict[str, dict[str, dict[str, float]]] = {label: {} for label in restored}
    inputs = []
    for name in Progress(names, "scoring", unit="sequence", leave=False):
        blurry, truth = truths.read(name)
        for label, found in restored.items():
            rows[label][name] = _score(found[name], truth, metrics, lpips)
        if blurry is not None:
            repeated = blurry.expand_as(truth)
            inputs.append(score_frames(repeated, truth, ssim="pssim" in metrics, lpips=lpips))
    comparison = Comparison(
        f"protocol blur2vid, {amount(len(names), 'sequence')}",
        metrics,
        rows,
        {name: float(np.mean([row[name] for row in inputs])) for name in metrics if inputs},
        "sequence",
        remarks=remarks,
    )

    def pictures(name: str) -> dict[str, np.ndarray]:
        """The first frames, the hardest to predict, each in its better direction of time."""
        blurry, truth = truths.read(name)
        shown = {}
        for label, found in restored.items():
            shown[label] = to_8bit(_turned(read_frames(found[name]), truth)[0])
        if blurry is not None:
            shown[INPUT] = to_8bit(blurry)
        return shown | {TRUTH: to_8bit(truth[0])}

    folder = config.output_dir or COMPARED
    title = "Blur to video, compared: frame 1"
    finish_comparison(folder, title, comparison, pictures, to_yaml(config), config.report)


def _truths(config: TestConfig) -> Truths:
    """Of --sharp_dir (and --blurry_dir), else of --data_path or the sample."""
    if config.sharp_dir:
        sharp = sequence_folders(config.sharp_dir)

        def read(name: str) -> tuple[Tensor | None, Tensor]:
            truth = read_frames(sharp[name])
            if config.blurry_dir is None:
                return None, truth
            return read_blurry(config.blurry_dir, name, truth), truth

        return Truths(list(sharp), read)
    found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
    sequences = {sequence.id: sequence for sequence in found.of(config.partition)}
    return Truths(list(sequences), lambda name: whole_sequence(sequences[name]))


def _score(
    folder: Path, truth: Tensor, metrics: list[str], lpips: Lpips | None
) -> dict[str, float]:
    """The metrics of a folder's frames."""
    predicted = read_predicted(folder, truth)
    return score_frames(predicted, truth, ssim="pssim" in metrics, lpips=lpips)


def _turned(predicted: Tensor, truth: Tensor) -> Tensor:
    """The frames in the direction of time in which they are nearer to the truth."""
    backward = predicted.flip(0)
    nearer = (backward - truth).square().mean() < (predicted - truth).square().mean()
    return backward if nearer else predicted
