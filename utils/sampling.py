"""Which samples a training step sees, and the random numbers that belong to them.

All randomness of a sample comes from (seed, epoch, index), that of a loss from (seed, step,
position in the batch): so neither workers, nor processes, nor stopping and resuming change a run.
"""

import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from utils import distributed
from utils.device import worker_processes


class StepSampler(Sampler):
    """Endless batches of (epoch, index) from an optimiser step on, for one process of `world`.

    An epoch is the set repeated `repeats` times in an order drawn from (seed, epoch); its last
    batch may be smaller, or is left out (drop_last) unless it is the only one. Process `rank` gets
    every world-th position of a batch; where none is left for it, the first one again, which
    `positions` tells not to count.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        repeats: int = 1,
        start: int = 0,
        rank: int | None = None,
        world: int | None = None,
        drop_last: bool = False,
    ):
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.repeats = repeats
        self.start = start
        self.rank = distributed.rank() if rank is None else rank
        self.world = distributed.world() if world is None else world
        self.steps_per_epoch = -(-length * repeats // batch_size)
        if drop_last:
            self.steps_per_epoch = max(length * repeats // batch_size, 1)

    def positions(self, step: int) -> tuple[list[int], int]:
        """This process's positions in a step's batch, and the batch's size over all processes."""
        first = step % self.steps_per_epoch * self.batch_size
        size = min(self.batch_size, self.length * self.repeats - first)
        return list(range(self.rank, size, self.world)), size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, batch = divmod(self.start, self.steps_per_epoch)
        while True:
            rng = np.random.default_rng((self.seed, epoch))
            order = rng.permutation(self.length * self.repeats)
            for number in range(batch, self.steps_per_epoch):
                first = number * self.batch_size
                chosen = order[first : first + self.batch_size]
                mine = chosen[self.rank :: self.world]
                if not len(mine):
                    mine = chosen[:1]
                yield [self._key(epoch, int(item)) for item in mine]
            epoch += 1
            batch = 0

    def _key(self, epoch: int, number: int) -> tuple[int, int]:
        """(epoch, index) of a number of the repeated set; each repetition is drawn anew."""
        repetition, index = divmod(number, self.length)
        return epoch * self.repeats + repetition, index


def endless_loader(dataset: Dataset, sampler: StepSampler, workers: int) -> DataLoader:
    """Batches of a data set whose items are asked for by (epoch, index)."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=worker_processes(workers),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_prepare_worker,
    )


def select_samples(batch: dict, indices: np.ndarray, device: torch.device) -> dict:
    """Neighbouring samples of a batch, tensors on the device."""
    chosen = slice(int(indices[0]), int(indices[-1]) + 1)
    samples = dict(batch)
    for key, value in batch.items():
        if isinstance(value, Tensor):
            samples[key] = value[chosen].to(device, non_blocking=True)
    return samples


def random_generator(*numbers: int) -> torch.Generator:
    """A generator whose seed follows from several numbers."""
    return torch.Generator().manual_seed(combined_seed(*numbers))


def combined_seed(*numbers: int) -> int:
    """One seed of several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _prepare_worker(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    # a signal is sent to the whole group; the parent finishes its step first
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
