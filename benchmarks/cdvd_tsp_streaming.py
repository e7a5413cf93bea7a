"""How much does streaming CDVD-TSP save against one window of five frames per output?

    python -m benchmarks.cdvd_tsp_streaming [--quick]

The network has the published size (random weights: the work is the same) unless said otherwise.
Prints: seconds per output and their ratio in steady state, operations per output, frames/s at
640x360 and 1280x720 of the published and of the shipped network in float32 and bf16, their
operations per second relative to a matrix product of the same type in the same run (`of peak`), and
the peak memory of a process that restores 30 and 300 frames.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import append, clock_of, hardware, peak_flops
from models.cdvd_tsp import CDVDTSP
from restoration.video import VideoRestorer
from utils.evaluation.tables import format_table

RATIO_SIZE = (128, 192)  # height, width


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer outputs and repetitions: a look, no figure to quote",
    )
    parser.add_argument(
        "--memory", type=int, nargs=3, metavar=("FRAMES", "HEIGHT", "WIDTH"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.memory:
        print(peak_memory_mb(*options.memory))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(hardware(device))
    published = CDVDTSP().eval().to(device)
    shipped = VideoRestorer.load(device=device).network
    rows = [ratio_row(published, device, options.quick)]
    print(json.dumps(rows[0]), flush=True)
    sizes = [(360, 640)] if options.quick else [(360, 640), (720, 1280)]
    for name, network in (("shipped", shipped), ("published", published)):
        for size, dtype in product(sizes, (torch.float32, torch.bfloat16)):
            rows.append(speed_row(name, network, size, device, dtype, 2))
            print(json.dumps(rows[-1]), flush=True)
    rows.append(memory_row((10, 30) if options.quick else (30, 300)))
    append("cdvd_tsp streaming", device, rows)


def ratio_row(network: CDVDTSP, device: str, quick: bool) -> dict:
    """Steady state: the first outputs of the stream, which fill its windows, are not counted."""
    outputs, repetitions = (6, 1) if quick else (24, 3)
    clip = [torch.rand(1, 3, *RATIO_SIZE, device=device) for _ in range(8)]
    window = torch.stack(clip[: network.frames], 1)
    streamed = []
    windowed = []
    with torch.inference_mode():
        for _ in range(repetitions):
            stream = network.stream(_endless(clip))
            streamed.append(_seconds_per_call(partial(next, stream), outputs, device))
            windowed.append(_seconds_per_call(partial(network, window), outputs, device))
        stream = network.stream(_endless(clip))
        next(stream)
        stream_operations = _operations(partial(next, stream))
        window_operations = _operations(partial(network, window))
    stream_s = statistics.median(streamed)
    window_s = statistics.median(windowed)
    return {
        "size": f"{RATIO_SIZE[1]}x{RATIO_SIZE[0]}",
        "outputs": outputs,
        "streamed_s": stream_s,
        "windowed_s": window_s,
        "windowed : streamed": window_s / stream_s,
        "GFLOP streamed": stream_operations / 1e9,
        "GFLOP windowed": window_operations / 1e9,
        "operations ratio": window_operations / stream_operations,
    }


def speed_row(
    name: str,
    network: CDVDTSP,
    size: tuple[int, int],
    device: str,
    dtype: torch.dtype,
    outputs: int,
) -> dict:
    """Frames/s as inference.py restores them, without files, at a size (height, width)."""
    network = network.to(memory_format=torch.channels_last)
    restorer = VideoRestorer(network, torch.device(device), dtype)
    clip = list(torch.rand(4, 3, *size))
    stream = restorer.stream(_endless(clip), ends=False)
    operations = _operations(partial(next, stream))
    seconds = _seconds_per_call(partial(next, stream), outputs, device)
    return {
        "network": name,
        "size": f"{size[1]}x{size[0]}",
        "dtype": str(dtype).removeprefix("torch."),
        "frames/s": 1 / seconds,
        "of peak": operations / seconds / peak_flops(device, dtype),
    }


def peak_memory_mb(frames: int, height: int, width: int) -> float:
    """Restore `frames` random frames in this process; its largest resident size."""
    network = CDVDTSP().eval()
    with torch.inference_mode():
        for _ in network.stream(torch.rand(1, 3, height, width) for _ in range(frames)):
            pass
    # Not getrusage: a forked child inherits its parent's maximum there.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no line VmHWM")


def memory_row(frames: tuple[int, int]) -> dict:
    """Peak memory of a process each that restores so many frames of 96x64 px; prints it, too."""
    peaks = [memory_of_a_process(count, 64, 96) for count in frames]
    cells = [[str(count), f"{peak:.0f}"] for count, peak in zip(frames, peaks)]
    print(format_table([["frames", "peak memory, MB"], *cells]))
    return {"peak_memory_mb": dict(zip(map(str, frames), peaks)), "ratio": peaks[1] / peaks[0]}


def memory_of_a_process(frames: int, height: int, width: int) -> float:
    """`peak_memory_mb` of a fresh process."""
    words = [sys.executable, "-m", "benchmarks.cdvd_tsp_streaming", "--memory"]
    words += [str(frames), str(height), str(width)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _endless(clip: list[Tensor]) -> Iterator[Tensor]:
    while True:
        yield from clip


def _seconds_per_call(function: Callable[[], object], calls: int, device: str) -> float:
    function()
    _wait(device)
    clock = clock_of(device)
    start = clock()
    for _ in range(calls):
        function()
    _wait(device)
    return (clock() - start) / calls


def _operations(function: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
