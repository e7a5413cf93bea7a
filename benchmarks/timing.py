"""Medians, the machine's name, and where results go; shared by the benchmarks."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

RESULTS = Path(__file__).with_name("results.jsonl")


def median_s(function: Callable[[], object], runs: int = 5, device: str = "cpu") -> float:
    """Median seconds of one call after a warm-up call.

    Waits for the GPU before each reading of the clock. On a CPU in one thread they are CPU seconds,
    which other programs on the machine change little.
    """
    clock = clock_of(device)
    function()
    seconds = []
    for _ in range(runs):
        _wait(device)
        start = clock()
        function()
        _wait(device)
        seconds.append(clock() - start)
    return statistics.median(seconds)


def clock_of(device: str = "cpu") -> Callable[[], float]:
    """CPU seconds of this process on a CPU in one thread, seconds otherwise."""
    alone = device == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def peak_flops(device: str, dtype: torch.dtype, side: int = 4096) -> float:
    """Operations per second of a square matrix product, the best of several."""
    matrix = torch.rand(side, side, device=device, dtype=dtype)
    product = partial(torch.matmul, matrix, matrix)
    return 2 * side**3 / min(median_s(product, 1, device) for _ in range(4))


def hardware(device: str = "cpu") -> str:
    """What the figures were measured on."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{_cpu_model()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def append(question: str, device: str, rows: list[dict]) -> None:
    """Add one measurement to results.jsonl."""
    record = {
        "question": question,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(device),
        "rows": rows,
    }
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
