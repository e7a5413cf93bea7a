"""Which form of the cost volume is fastest?

    python -m benchmarks.correlation [--height 704 --width 1280]

Prints ms of forward, and of forward with gradients, at PWC-Net's sizes for 1280x720 frames. With a
GPU also GB/s (inputs read once, volume written once) and the fraction of the card's measured copy
bandwidth at 1/4 of 720p; without one those stand as "not measured".
"""

import argparse
from functools import partial
from itertools import product

import torch
from torch import Tensor

from benchmarks.timing import append, hardware, median_s
from models.correlation import IMPLEMENTATIONS, correlation, obstacle_to_cupy
from utils.evaluation.tables import format_table

CHANNELS = {2: 32, 3: 64, 4: 96, 5: 128, 6: 196}  # PWC-Net's level -> channels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--height", type=int, default=704)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        known = [impl for impl in IMPLEMENTATIONS if _can_run(impl, device)]
        rows = [measure(device, level, options, impl) for level, impl in product(CHANNELS, known)]
        print(f"\n{hardware(device)}")
        _print_table(rows)
        append("correlation", device, rows)
    if "cuda" in devices:
        rows = bandwidth(options.runs)
        _print_table(rows)
        append("correlation bandwidth", "cuda", rows)
    else:
        print(
            "\ncupy kernels, GB/s and fraction of copy bandwidth: not measured (no CUDA device "
            "here)"
        )


def measure(device: str, level: int, options: argparse.Namespace, impl: str) -> dict:
    """One row: medians of one form at one level of PWC-Net's pyramid, in milliseconds."""
    channels = CHANNELS[level]
    height = options.height >> level
    width = options.width >> level
    first, second = torch.randn(2, 1, channels, height, width, device=device)

    def forward_and_backward() -> None:
        correlation(*leaves, impl=impl).sum().backward()

    with torch.inference_mode():
        call = partial(correlation, first, second, impl=impl)
        forward = median_s(call, options.runs, device)
    leaves = [first.clone().requires_grad_(), second.clone().requires_grad_()]
    both = median_s(forward_and_backward, 3, device)
    return {
        "level": level,
        "channels": channels,
        "size": f"{height}x{width}",
        "impl": impl,
        "forward_ms": forward * 1e3,
        "gradients_ms": both * 1e3,
    }


def bandwidth(runs: int) -> list[dict]:
    """The cupy forward kernel at 1/4 of 720p against a plain copy of 256 MB."""
    source = torch.empty(2**26, device="cuda")
    target = torch.empty_like(source)
    copy = 2 * source.nbytes / median_s(partial(target.copy_, source), runs, "cuda")
    rows = []
    for channels, dtype in product(CHANNELS.values(), (torch.float32, torch.float16)):
        first, second = torch.randn(2, 2, channels, 180, 320, device="cuda").to(dtype)
        with torch.inference_mode():
            seconds = median_s(partial(correlation, first, second, impl="cupy"), runs, "cuda")
        moved = _bytes_moved(first)
        rows.append(
            {
                "channels": channels,
                "dtype": str(dtype),
                "ms": seconds * 1e3,
                "GB/s": moved / seconds / 1e9,
                "of_copy": moved / seconds / copy,
            }
        )
    return rows


def _bytes_moved(maps: Tensor) -> int:
    """Two inputs [B,C,H,W] read, a volume [B,81,H,W] written."""
    pixels = maps.numel() // maps.shape[1]
    return (2 * maps.numel() + 81 * pixels) * maps.element_size()


def _can_run(impl: str, device: str) -> bool:
    return impl != "cupy" or not obstacle_to_cupy(torch.empty(0, device=device))


def _print_table(rows: list[dict]) -> None:
    cells = [list(map(_text, row.values())) for row in rows]
    print(format_table([list(rows[0]), *cells]))


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
