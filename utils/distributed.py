"""Work split over the processes that `torchrun` started, on one machine or many; without torchrun there is one process, rank 0 of 1."""

import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.distributed as dist

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
    """The process group while the block runs: NCCL between GPUs, Gloo between CPUs; nothing for one process."""
    if world() == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        dist.init_process_group("nccl")
    else:
        dist.init_process_group("gloo", timeout=datetime.timedelta(days=7))  # one process's videos may be far longer than another's
    try:
        yield
    finally:
        dist.destroy_process_group()


def shared(items: list[Item]) -> list[Item]:
    """This process's share of a list: every `world()`-th item."""
    return items[rank() :: world()]


def gathered(share: list[Item]) -> list[Item]:
    """The whole list from the shares that `shared` gave, in the original order, on every process."""
    if world() == 1:
        return share
    shares: list[list[Item]] = [[] for _ in range(world())]
    dist.all_gather_object(shares, share)
    longest = max(map(len, shares))
    return [part[index] for index in range(longest) for part in shares if index < len(part)]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Work that every process does alone; after the block all are done with it, and within it `gathered` works."""
    with session(torch.device("cpu")):
        yield
        wait()


def summed(values: list[float], device: torch.device) -> list[float]:
    """Sums over the processes."""
    if world() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def wait() -> None:
    """Until every process is here."""
    if world() > 1:
        dist.barrier()
