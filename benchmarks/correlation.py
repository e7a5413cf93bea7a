"""Which form of the cost volume is fastest? ms of forward, and of forward with gradients, at
PWC-Net's sizes for 1280x720 frames.

python -m benchmarks.correlation [--height 704 --width 1280]. With a GPU also GB/s (inputs read once, volume written once) and the
share of the card's measured copy bandwidth at 1/4 of 720p; without one those stand as "not measured".
"""

import argparse

import torch

from benchmarks.timing import append, hardware, median_s
from models.correlation import IMPLEMENTATIONS, correlation, obstacle_to_cupy
from utils.evaluation.tables import format_table

CHANNELS = {2: 32, 3: 64, 4: 96, 5: 128, 6: 196}  # PWC-Net's level -> channels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=704)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        rows = [
            measure(device, level, options, impl)
            for level in CHANNELS
            for impl in IMPLEMENTATIONS
            if _can_run(impl, device)
        ]
        print(f"\n{hardware(device)}")
        print(
            format_table(
                [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
            )
        )
        append("correlation", device, rows)
    if "cuda" in devices:
        rows = bandwidth(options.runs)
        print(
            format_table(
                [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
            )
        )
        append("correlation bandwidth", "cuda", rows)
    else:
        print(
            "\ncupy kernels, GB/s and share of copy bandwidth: not measured (no CUDA device here)"
        )


def measure(device: str, level: int, options: argparse.Namespace, impl: str) -> dict:
    channels, size = CHANNELS[level], (options.height >> level, options.width >> level)
    first, second = (torch.randn(1, channels, *size, device=device) for _ in range(2))
    with torch.inference_mode():
        forward = median_s(lambda: correlation(first, second, impl=impl), options.runs, device)
    leaves = [first.clone().requires_grad_(), second.clone().requires_grad_()]
    both = median_s(lambda: correlation(*leaves, impl=impl).sum().backward(), 3, device)
    return {
        "level": level,
        "channels": channels,
        "size": f"{size[0]}x{size[1]}",
        "impl": impl,
        "forward_ms": forward * 1e3,
        "gradients_ms": both * 1e3,
    }


def bandwidth(runs: int) -> list[dict]:
    """The cupy forward kernel at 1/4 of 720p against a plain copy of 256 MB."""
    source = torch.empty(2**26, device="cuda")
    target = torch.empty_like(source)
    copy = 2 * source.nbytes / median_s(lambda: target.copy_(source), runs, "cuda")
    rows = []
    for channels in CHANNELS.values():
        for dtype in (torch.float32, torch.float16):
            first, second = (
                torch.randn(2, channels, 180, 320, device="cuda").to(dtype) for _ in range(2)
            )
            with torch.inference_mode():
                seconds = median_s(
                    lambda first=first, second=second: correlation(first, second, impl="cupy"),
                    runs,
                    "cuda",
                )
            moved = (2 * first.numel() + first.numel() // channels * 81) * first.element_size()
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


def _can_run(impl: str, device: str) -> bool:
    return impl != "cupy" or not obstacle_to_cupy(torch.empty(0, device=device))


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
