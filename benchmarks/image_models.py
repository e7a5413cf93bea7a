"""How fast are the single-image networks on this machine? The speed table of the survey slides, for
every network here.

python -m benchmarks.image_models [--networks NAME ...] [--sizes 128 256 512] [--compile NAME ...] [--quick]. Random weights (the work is
the same); one image at a time. `plain` is the same network run eagerly in contiguous float32; `ours` as inference.py runs it: channels_last
in float32, freed memory kept for the next tensors; `difference`: the largest between the two; then bf16 and compiled (cold start in
seconds). `of peak`: operations per second of `ours` relative to a matrix product in the same run.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import append, hardware, median_s
from methods.image_deblur.config import MODELS
from models import build
from utils.device import autocast, keep_memory
from utils.evaluation.tables import format_table

NETWORKS = {
    **{name: entry[:2] for name, entry in MODELS.items()},
    "SRN lstm": ("srn", {"variant": "lstm"}),
}
# network, parameters, best training loss (MSE), frames/s at 128 / 256 / 512, as the survey's slides
# give them
SLIDES = [
    ["No-Blur U-Net", "8.60 M", ".0019", "-", "-", "-", "loss on its own Gaussian blur"],
    ["light dehazing network", "280.35 K", ".0019", "-", "111", "-", "RealBlur; machine not named"],
    ["Restormer", "26.13 M", "-", "12.1", "3.8", "1.2", "RTX 2060"],
]
HEADS = [
    "network",
    "size",
    "parameters",
    "GMACs",
    "plain ms",
    "ours ms",
    "x",
    "difference",
    "of peak",
    "bf16 ms",
    "x",
    "compiled ms",
    "x",
]
HEADS += ["cold start s", "frames/s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
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
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peaks = {dtype: peak_flops(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(
        f"{hardware(device)}; matrix product "
        f"{', '.join(f'{value / 1e9:.0f} GFLOP/s {dtype}' for dtype, value in peaks.items())}"
    )
    rows = []
    for name in options.networks:
        network, arguments = NETWORKS[name]
        torch.manual_seed(0)
        for size in options.sizes:
            compiled = (
                name in options.compile and size == sorted(options.sizes)[len(options.sizes) // 2]
            )
            built = build(network, **arguments).eval().to(device)
            for value in built.parameters():
                if (
                    not value.any()
                ):  # NAFNet's blocks start as nothing, and the difference shall mean something
                    torch.nn.init.normal_(value, std=0.1)
            rows.append(
                {
                    "network": name,
                    "size": size,
                    **measure(built, size, device, peaks, compiled, 1 if options.quick else 5),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    print(format_table([HEADS, *map(_cells, rows)]))
    print(
        format_table(
            [
                ["survey slides", "parameters", "loss", "128 px", "256 px", "512 px", "remark"],
                *SLIDES,
            ]
        )
    )
    append("single-image networks", device, rows)


@torch.inference_mode()
def measure(
    network: nn.Module, size: int, device: str, peaks: dict, compiled: bool, runs: int
) -> dict:
    """One row: medians of up to `runs` runs in milliseconds."""
    where = torch.device(device)
    keep_memory(False)
    image = torch.rand(1, 3, size, size, device=device)
    with FlopCounterMode(display=False) as counter:
        plain = network(image)
    flops = counter.get_total_flops()
    row = {"parameters": sum(value.numel() for value in network.parameters()), "GMACs": flops / 2e9}
    row["plain ms"] = _ms(lambda: network(image), runs, device)
    keep_memory()
    network, image = (
        network.to(memory_format=torch.channels_last),
        image.contiguous(memory_format=torch.channels_last),
    )
    row["difference"] = float((network(image) - plain).abs().max())
    row["ours ms"] = _ms(lambda: network(image), runs, device)
    row["of peak"] = flops / row["ours ms"] * 1e3 / peaks[torch.float32]
    with autocast(where, torch.bfloat16):
        row["bf16 ms"] = _ms(lambda: network(image), runs, device)
    if compiled:
        fast, start = torch.compile(network, options={"freezing": True}), time.perf_counter()
        difference = float((fast(image) - plain).abs().max())
        row["cold start s"] = time.perf_counter() - start
        row["difference"] = max(row["difference"], difference)
        row["compiled ms"] = _ms(lambda: fast(image), runs, device)
    row["frames/s"] = 1e3 / min(
        row["ours ms"], row.get("compiled ms", row["ours ms"]), row["bf16 ms"]
    )
    return row


def peak_flops(device: str, dtype: torch.dtype, side: int = 4096) -> float:
    """Operations per second of a square matrix product, the best of several."""
    matrix = torch.rand(side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(median_s(lambda: matrix @ matrix, 1, device) for _ in range(4))


def _ms(function: Callable[[], object], runs: int, device: str) -> float:
    """Median milliseconds; slow calls are repeated less often."""
    seconds = median_s(function, 1, device)
    return 1e3 * (
        seconds if seconds > 3 else median_s(function, min(runs, max(1, int(5 / seconds))), device)
    )


def _cells(row: dict) -> list[str]:
    plain = row["plain ms"]

    def pair(name: str) -> list[str]:
        return [f"{row[name]:.0f}", f"{plain / row[name]:.2f}"] if name in row else ["-", "-"]

    cells = [
        row["network"],
        str(row["size"]),
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['GMACs']:.1f}",
        f"{plain:.0f}",
        *pair("ours ms"),
    ]
    cells += [
        f"{row['difference']:.0e}",
        f"{100 * row['of peak']:.0f} %",
        *pair("bf16 ms"),
        *pair("compiled ms"),
    ]
    return [
        *cells,
        f"{row['cold start s']:.0f}" if "cold start s" in row else "-",
        f"{row['frames/s']:.1f}",
    ]


if __name__ == "__main__":
    main()
