"""The predicted restoration potential of shots."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.irp import Shot, WholeShots
from models import SHIPPED, find, load_network
from models.irp import IRP, LABEL, brighten
from utils.device import autocast, choose_device, choose_precision, worker_processes
from utils.progress import Progress


class Predictor(NamedTuple):
    """A network on its device, and the file it came from."""

    network: IRP
    device: torch.device
    dtype: torch.dtype
    weights: Path | None = None

    def __call__(self, image: Tensor, ratio: float = 1.0) -> float:
        """The potential of an image [3,H,W] in [0,1] that is `ratio` times too dark.

        On the scale of the labels, not clipped.
        """
        with torch.inference_mode(), autocast(self.device, self.dtype):
            image = image[None].to(self.device)
            return float(self.network(image, brighten(image, ratio))) / LABEL

    def all(self, shots: Sequence[Shot], workers: int = 0) -> list[float]:
        """The potentials of shots on disk, one after the other; a progress bar is shown."""
        processes = worker_processes(workers)
        loader = DataLoader(WholeShots(shots), batch_size=None, num_workers=processes)
        bar = Progress(zip(shots, loader), "judging", len(shots), unit="shot", leave=False)
        return [self(image, shot.ratio) for shot, image in bar]


def load(weights: Path | None, device: str, precision: str) -> Predictor:
    """The given network, or the shipped one."""
    path = find(weights or SHIPPED["potential"])
    chosen = choose_device(device)
    network = load_network(path, IRP).to(chosen)
    return Predictor(network, chosen, choose_precision(precision, chosen), path)
