"""A short training for gpu_check: python -m benchmarks.gpu_training FOLDER STEPS DEVICE

A small network with batch norm on random maps; it goes on where the folder holds a run.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from utils import distributed
from utils.device import choose_device
from utils.sampling import StepSampler, endless_loader
from utils.training import Limits, Phase, Validation, train


class Maps(Dataset):
    """Twelve random maps [3,16,16] that depend on (epoch, index) alone."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        values = np.random.default_rng(key).normal(size=(3, 16, 16))
        return {"maps": torch.from_numpy(values).float()}


class MapTask:
    """What the loop asks, see utils/training.py: Task."""

    unused_parameters = False
    steps_per_epoch = 4

    def __init__(self) -> None:
        torch.manual_seed(0)
        first = (nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.network = nn.Sequential(*first, nn.Conv2d(8, 1, 3))
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.01)

    def schedule(self, step: int) -> Phase:
        return Phase((0.01,), 4, 16)

    def loader(self, phase: Phase, start: int) -> DataLoader:
        return endless_loader(Maps(), StepSampler(12, 4, seed=1, start=start), 0)

    def step(self, batch: dict, generators: list[torch.Generator], step: int) -> dict[str, Tensor]:
        return {"loss": self.network(batch["maps"]).square().mean()}

    def evaluate(self) -> Validation:
        return Validation({"processes": float(len(distributed.all_gather([0])))})

    def export(self, path: Path) -> None:
        pass


def main() -> None:
    folder = Path(sys.argv[1])
    device = choose_device(sys.argv[3])
    limits = Limits(int(sys.argv[2]), 0.0, device, torch.float32, seed=1)
    train(MapTask(), folder, limits, resume=(folder / "last.pt").exists())


if __name__ == "__main__":
    main()
