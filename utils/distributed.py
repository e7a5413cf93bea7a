"""Work split over the processes that `torchrun` started, on one machine or many.

Without torchrun there is one process, rank 0 of 1. The words are torch.distributed's. Two runs that
know nothing of each other never share a folder: see only_run.
"""

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, TypeVar

import torch
import torch.distributed as dist

from utils.errors import UserError

Item = TypeVar("Item")


def rank() -> int:
    """The rank of this process: its number, from 0."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """The world size: how many processes work together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is rank 0, the process that writes files and prints."""
    return rank() == 0


@contextlib.contextmanager
def session(device: torch.device) -> Iterator[None]:
    """The process group while the block runs: NCCL between GPUs, Gloo between CPUs.

    One process alone needs none.
    """
    if world() == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        dist.init_process_group("nccl")
    else:
        # one process's videos may be far longer than another's
        dist.init_process_group("gloo", timeout=datetime.timedelta(days=7))
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def only_run(
    folder: Path, doing: str = "writing into", choose: str = "--output_dir"
) -> Iterator[None]:
    """The folder, made if need be, for one run alone while the block runs.

    The system drops the lock however the process ends. doing, choose: words of the error's message.
    Raises UserError where another run is at work there, and for a path that can't be a folder.
    """
    if not is_main():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{folder} can't be made, as there is a file of that name: choose another {choose}"
        ) from None
    path = folder / ".lock"
    with open(path, "w") as file:
        if not _is_locked(file, path):
            raise UserError(
                f"another run is {doing} {folder}: wait for it, or choose another {choose}"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def shard(items: list[Item]) -> list[Item]:
    """This rank's shard of a list: every `world()`-th item, starting with the rank-th."""
    return items[rank() :: world()]


def all_gather(items: list[Item]) -> list[Item]:
    """Gather the lists of all ranks, whose items are in the order of `shard`, on every rank."""
    if world() == 1:
        return items
    shards: list[list[Item]] = [[] for _ in range(world())]
    dist.all_gather_object(shards, items)
    gathered = []
    for index in range(max(map(len, shards))):
        gathered += [part[index] for part in shards if index < len(part)]
    return gathered


@contextlib.contextmanager
def synchronized() -> Iterator[None]:
    """Run a block on every rank, with a process group in it and a barrier at its end."""
    with session(torch.device("cpu")):
        yield
        barrier()


def all_reduce(values: list[float], device: torch.device) -> list[float]:
    """Reduce the values of all ranks to their sums, on every rank."""
    if world() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def barrier() -> None:
    """Wait until every rank is here."""
    if world() > 1:
        dist.barrier()


def _is_locked(file: TextIO, path: Path) -> bool:
    """Whether the lock on the open file could be taken; it stays until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # a run that ended just now took its file away: the lock on that one is worth nothing
    return path.is_file() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
