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
from torch import Tensor

from utils.errors import UserError

Item = TypeVar("Item")
LONG = datetime.timedelta(days=7)  # one process's videos may be far longer than another's

_gloo: dist.ProcessGroup | None = None  # of the session that runs, see there


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

    Objects travel by a Gloo group of their own: NCCL would lay them on a GPU first, the same one in
    every process unless told otherwise. One process alone needs no group. Raises UserError for
    processes that would compute on one GPU.
    """
    global _gloo
    if world() == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        _check_own_gpu(device)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo", timeout=LONG)
    _gloo = dist.new_group(backend="gloo", timeout=LONG)
    try:
        yield
    finally:
        _gloo = None
        dist.destroy_process_group()


def _check_own_gpu(device: torch.device) -> None:
    """Raises UserError where several processes of torchrun would compute on one GPU."""
    local = os.environ.get("LOCAL_RANK")
    if local is not None and int(local) != (device.index or 0):
        raise UserError(
            f"--device {device} in process {local} of this machine: leave --device out, each "
            "process takes its own GPU; --nproc_per_node says how many"
        )


@contextlib.contextmanager
def only_run(
    folder: Path, doing: str = "writing into", choose: str = "--output_dir", part: str = ""
) -> Iterator[None]:
    """The folder, made if need be, for one run alone while the block runs.

    The system drops the lock however the process ends. doing, choose: words of the error's message.
    part: "K/N" of a run that leaves other parts to other runs, beside which it may write.
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
    path = folder / f".lock{part.replace('/', '_of_')}"
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
    dist.all_gather_object(shards, items, _gloo)
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


def all_reduce(values: Tensor) -> Tensor:
    """Reduce the values of all ranks to their sums, on every rank; in the values' own memory."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def barrier() -> None:
    """Wait until every rank is here."""
    if world() > 1:
        dist.all_reduce(torch.zeros(1), group=_gloo)


def _is_locked(file: TextIO, path: Path) -> bool:
    """Whether the lock on the open file could be taken; it stays until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # a run that ended just now took its file away: the lock on that one is worth nothing
    return path.is_file() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
