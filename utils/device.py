"""Which device and which arithmetic a run uses."""

import contextlib
import ctypes
import mmap
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from utils.errors import UserError

Item = TypeVar("Item")

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # names of mallopt
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def choose_device(name: str) -> torch.device:
    """The device meant by auto, cpu, cuda or cuda:N; under torchrun auto and cuda mean the
    process's own GPU.

    A GPU becomes the process's current one, so that nothing is made on another. One that the system
    shows and torch cannot use is said loudly.
    """
    if name == "auto":
        if not torch.cuda.is_available() and shutil.which("nvidia-smi"):
            print(
                "warning: this machine shows an NVIDIA GPU that torch cannot use, so everything "
                "runs on the CPU. With a driver older than 580: README, Install.",
                file=sys.stderr,
            )
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"  # one GPU per process of torchrun
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):
        device = None
    known = device is not None and (device.type == "cuda" or str(device) in ("cpu", "cpu:0"))
    if not known:
        raise UserError(f"unknown device {name!r}: auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"no device {name!r} here: torch sees {torch.cuda.device_count()} CUDA devices; use "
            "--device cpu"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
    return device


def choose_precision(name: str, device: torch.device, proven: bool = False) -> torch.dtype:
    """The arithmetic meant by auto, fp32, tf32, bf16 or fp16.

    auto: bf16 on a GPU that has it; on a CPU that has it only for a network that is `proven` to
    lose nothing there; fp32 elsewhere. tf32: float32 whose products a GPU rounds to TF32's 10 bits,
    which torch has as a switch of the process: any other name turns it off.
    """
    if name == "tf32" and device.type == "cpu":
        raise UserError("tf32 needs a GPU: use --precision bf16 or fp32 on the CPU")
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    if name == "auto":
        fast = has_bf16(device) and (proven or device.type == "cuda")
        return torch.bfloat16 if fast else torch.float32
    if name == "fp16" and device.type == "cpu":
        raise UserError("fp16 needs a GPU: use --precision bf16 or fp32 on the CPU")
    return DTYPES[name]


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 itself (a CPU by AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)


def arithmetic(device: torch.device, dtype: torch.dtype) -> str:
    """What figures were computed in, as scores.json tells it: "bfloat16 on cuda"."""
    name = str(dtype).removeprefix("torch.")
    if device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        name += " with TF32 products"
    return f"{name} on {device}"


def memory_factor(device: torch.device, dtype: torch.dtype) -> float:
    """What mixed precision needs of the memory that float32 needs on this device.

    Where activations take half the bytes, norms and sums still take all of them. On a CPU, where
    tiles have always been chosen by float32's need, 1.
    """
    return 0.6 if device.type == "cuda" and dtype != torch.float32 else 1.0


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated: of the GPU, or of the system within its control group;
    None where that is unknown.

    What torch keeps of a GPU's memory for its next tensors counts as free.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    available = _field("/proc/meminfo", "MemAvailable")
    if available is None:
        return None
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        available = min(available, int(limit.read_text()) - int(used.read_text()))
    return available


def _field(file: str, name: str) -> int | None:
    """Bytes that a line `name: N kB` of a file in /proc says; None where there is no such file."""
    if not Path(file).exists():
        return None
    fields = dict(line.split(":", 1) for line in Path(file).read_text().splitlines())
    return int(fields[name].split()[0]) * 1024


def worker_processes(wanted: int) -> int:
    """How many loader processes to start: no more than there are cores for this program."""
    return min(
        wanted,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def keep_memory(enabled: bool = True) -> None:
    """On Linux: let the C library keep freed memory for the next tensors instead of handing it back
    to the system.

    Fresh pages are filled with zeros one by one, which costs large tensors on a CPU as much time as
    the arithmetic. Elsewhere nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0 if enabled else 65536)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1 if enabled else 128 * 1024)


def return_memory(device: torch.device) -> None:
    """On Linux: hand memory of a CPU that keep_memory keeps and nothing uses back to the system."""
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def lasting_like(tensor: torch.Tensor) -> torch.Tensor:
    """An empty tensor of the same shape, type and strides, for values that are held for long.

    On Linux in pages of its own: among short-lived tensors it would split the memory that
    keep_memory keeps into pieces too small for the next ones.
    """
    if tensor.device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        return torch.empty_like(tensor)
    strides = torch.empty_like(tensor, device="meta").stride()
    try:
        pages = mmap.mmap(-1, tensor.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for {tensor.nbytes} bytes: {error}") from error
    return torch.frombuffer(pages, dtype=tensor.dtype).as_strided(tensor.shape, strides)


def prepare_memory(device: torch.device) -> None:
    """What a run does about memory before it starts, see keep_memory and limit_memory; nothing on a
    GPU.
    """
    if device.type == "cpu":
        keep_memory()
        limit_memory()


def limit_memory() -> None:
    """On Linux: let an allocation beyond what is free now fail with an error, where the system
    would kill a process without a word.
    """
    used, free = _field("/proc/self/status", "VmData"), available_memory(torch.device("cpu"))
    if used is not None and free is not None:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(
            resource.RLIMIT_DATA,
            (used + free if hard == resource.RLIM_INFINITY else min(used + free, hard), hard),
        )


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Mixed precision in `dtype`; float32 means none."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextlib.contextmanager
def inference(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """No gradients, and mixed precision in `dtype`."""
    with torch.inference_mode(), autocast(device, dtype):
        yield


def each_in_inference(
    items: Iterable[Item], device: torch.device, dtype: torch.dtype
) -> Iterator[Item]:
    """The items, each computed within `inference`, which is left before the consumer gets it.

    A generator must not hold such a context open across its yield: torch's modes belong to the
    thread, not to the generator, and leaving one of them in another order than they were entered
    switches the others off (autocast was lost after the first frame).
    """
    iterator = iter(items)
    while True:
        with inference(device, dtype):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def run_description(device: torch.device) -> str:
    """Comment lines for a run's config.yaml: commit of the code, versions, device."""
    folder = str(Path(__file__).resolve().parent)
    describe = ["describe", "--always", "--dirty"]
    # a run that ends early must leave no lock in the checkout
    git = ["git", "--no-optional-locks", "-C", folder, *describe]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    return (
        f"# commit {commit}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{name}\n"
    )
