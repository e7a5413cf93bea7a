"""Work split over the processes that `torchrun` started, on one machine or many; without torchrun
there is one process, rank 0 of 1.

Two runs that know nothing of each other never share a folder: see only_run.
"""

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from utils.errors import UserError

Item = TypeVar("Item")


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the process that writes files and talks."""
    return rank() == 0


@contextlib.contextmanager
def session(device: torch.device) -> Iterator[None]:
    """The process group while the block runs: NCCL between GPUs, Gloo between CPUs; nothing for one
    process.
    """
    if world() == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        dist.init_process_group("nccl")
    else:
        dist.init_process_group(
            "gloo", timeout=datetime.timedelta(days=7)
        )  # one process's videos may be far longer than another's
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def only_run(
    folder: Path, doing: str = "writing into", choose: str = "--output_dir"
) -> Iterator[None]:
    """The folder, made if need be, for one run alone while the block runs; the system drops the
    lock however the process ends.

    Raises UserError where another run is at work there, and for a path that can't be a folder.
    """
    if not is_main():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{folder} can't be made, as a file is in its place: choose another {choose}"
        ) from None
    path = folder / ".lock"
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = path.is_file() and os.path.samestat(
                path.stat(), os.fstat(file.fileno())
            )  # else a run ended just now and took it away
        except BlockingIOError:
            mine = False
        if not mine:
            raise UserError(
                f"another run is {doing} {folder}: wait for it, or choose another {choose}"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def shard(items: list[Item]) -> list[Item]:
    """This process's share of a list: every `world()`-th item."""
    return items[rank() :: world()]


def all_gather(share: list[Item]) -> list[Item]:
    """The whole list from the shares that `shard` gave, in the original order, on every
    process.
    """
    if world() == 1:
        return share
    shares: list[list[Item]] = [[] for _ in range(world())]
    dist.all_gather_object(shares, share)
    longest = max(map(len, shares))
    return [part[index] for index in range(longest) for part in shares if index < len(part)]


@contextlib.contextmanager
def synchronized() -> Iterator[None]:
    """Work that every process does alone; after the block all are done with it, and within it
    `all_gather` works.
    """
    with session(torch.device("cpu")):
        yield
        barrier()


def all_reduce(values: list[float], device: torch.device) -> list[float]:
    """Sums over the processes."""
    if world() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def barrier() -> None:
    """Until every process is here."""
    if world() > 1:
        dist.barrier()
