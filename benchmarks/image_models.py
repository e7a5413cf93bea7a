"""How fast are the single-image networks on this machine?

    python -m benchmarks.image_models [--networks NAME ...] [--sizes 128 256 512]
                                      [--compile NAME ...] [--quick]

The speed table of the survey slides, for every network here. Random weights (the work is the same);
one image at a time. `plain` is the same network run eagerly in contiguous float32 with direct
convolutions; `ours` as inference.py runs it: channels_last in float32, freed memory kept for the
next tensors, large kernels by Fourier transforms; `difference`: the largest between the two; then
bf16 and compiled (cold start in seconds). `of peak`: operations per second of direct convolutions
in the time of `ours`, relative to a matrix product in the same run. `frames/s` are those of `ours`,
float32 and eager, in which networks and programs compare like with like; `best` are those of the
faster of bf16 and compiled, and which it was.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import append, hardware, median_s, peak_flops
from models import build, sizes
from models.contracts import ImageNetwork
from utils.device import autocast, keep_memory
from utils.evaluation.tables import format_table

NETWORKS = {
    **sizes(ImageNetwork),
    "SRN lstm": ("srn", {"variant": "lstm"}),
}
# Network, parameters, best training loss (MSE) and frames/s as the survey's slides give them.
SLIDES = [
    ["survey slides", "parameters", "loss", "128 px", "256 px", "512 px", "remark"],
    ["No-Blur U-Net", "8.60 M", ".0019", "-", "-", "-", "loss on its own Gaussian blur"],
    ["light dehazing network", "280.35 K", ".0019", "-", "111", "-", "RealBlur; machine not named"],
    ["Restormer", "26.13 M", "-", "12.1", "3.8", "1.2", "RTX 2060"],
]
# fmt: off
HEADS = [
    "network", "size", "parameters", "GMACs", "plain ms", "ours ms", "x", "difference", "of peak",
    "bf16 ms", "x", "compiled ms", "x", "cold start s", "frames/s", "best",
]
# fmt: on


def main() -> None:
    options = _options()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peaks = {dtype: peak_flops(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    products = [f"{value / 1e9:.0f} GFLOP/s {dtype}" for dtype, value in peaks.items()]
    print(f"{hardware(device)}; matrix product {', '.join(products)}")
    compiled_size = sorted(options.sizes)[len(options.sizes) // 2]
    runs = 1 if options.quick else 5
    rows = []
    for name in options.networks:
        torch.manual_seed(0)
        for size in options.sizes:
            compiled = name in options.compile and size == compiled_size
            figures = measure(random_network(name, device), size, device, peaks, compiled, runs)
            rows.append({"network": name, "size": size, **figures})
            print(json.dumps(rows[-1]), flush=True)
    print(format_table([HEADS, *map(_cells, rows)]))
    print(format_table(SLIDES))
    append("single-image networks", device, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=NETWORKS,
        default=list(NETWORKS),
        metavar="NAME",
        help=", ".join(NETWORKS),
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        default=[128, 256, 512],
        help="sides of the square images, px",
    )
    parser.add_argument(
        "--compile",
        nargs="*",
        choices=NETWORKS,
        default=["Restormer", "NAFNet-32"],
        metavar="NAME",
        help="also compiled",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one repetition: a look, no figure to quote"
    )
    return parser.parse_args()


def random_network(name: str, device: str) -> nn.Module:
    """A network of NETWORKS with random weights, in eval mode."""
    network, arguments = NETWORKS[name]
    built = build(network, **arguments).eval().to(device)
    for value in built.parameters():
        if not value.any():  # NAFNet's blocks start at 0, where the difference would mean nothing
            torch.nn.init.normal_(value, std=0.1)
    return built


@torch.inference_mode()
def measure(
    network: nn.Module, size: int, device: str, peaks: dict, compiled: bool, runs: int
) -> dict:
    """One row: medians of up to `runs` runs in milliseconds."""
    keep_memory(False)
    image = torch.rand(1, 3, size, size, device=device)
    with torch.backends.nnpack.flags(enabled=False):
        with FlopCounterMode(display=False) as counter:
            plain = network(image)
        plain_ms = _ms(partial(network, image), runs, device)
    flops = counter.get_total_flops()
    row = {"parameters": sum(value.numel() for value in network.parameters()), "GMACs": flops / 2e9}
    row["plain ms"] = plain_ms
    keep_memory()
    network = network.to(memory_format=torch.channels_last)
    image = image.contiguous(memory_format=torch.channels_last)
    row["difference"] = float((network(image) - plain).abs().max())
    row["ours ms"] = _ms(partial(network, image), runs, device)
    row["of peak"] = flops / row["ours ms"] * 1e3 / peaks[torch.float32]
    with autocast(torch.device(device), torch.bfloat16):
        row["bf16 ms"] = _ms(partial(network, image), runs, device)
    if compiled:
        start = time.perf_counter()
        fast = torch.compile(network, options={"freezing": True})
        difference = float((fast(image) - plain).abs().max())
        row["cold start s"] = time.perf_counter() - start
        row["difference"] = max(row["difference"], difference)
        row["compiled ms"] = _ms(partial(fast, image), runs, device)
    row["frames/s"] = 1e3 / row["ours ms"]
    times = {name: row[f"{name} ms"] for name in ("bf16", "compiled") if f"{name} ms" in row}
    row["best"] = min(times, key=times.get)
    row["best frames/s"] = 1e3 / times[row["best"]]
    return row


def _ms(function: Callable[[], object], runs: int, device: str) -> float:
    """Median milliseconds; slow calls are repeated less often."""
    seconds = median_s(function, 1, device)
    if seconds <= 3:
        affordable = max(1, int(5 / seconds))
        seconds = median_s(function, min(runs, affordable), device)
    return 1e3 * seconds


def _cells(row: dict) -> list[str]:
    return [
        row["network"],
        str(row["size"]),
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['GMACs']:.1f}",
        f"{row['plain ms']:.0f}",
        *_time_and_speedup(row, "ours ms"),
        f"{row['difference']:.0e}",
        f"{100 * row['of peak']:.0f} %",
        *_time_and_speedup(row, "bf16 ms"),
        *_time_and_speedup(row, "compiled ms"),
        f"{row['cold start s']:.0f}" if "cold start s" in row else "-",
        f"{row['frames/s']:.1f}",
        f"{row['best frames/s']:.1f} {row['best']}",
    ]


def _time_and_speedup(row: dict, name: str) -> list[str]:
    if name not in row:
        return ["-", "-"]
    return [f"{row[name]:.0f}", f"{row['plain ms'] / row[name]:.2f}"]


if __name__ == "__main__":
    main()
