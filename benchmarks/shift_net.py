"""How fast is Shift-Net, against its literal form and beside CDVD-TSP, and what does it hold?

    python -m benchmarks.shift_net [--quick] [--frames 6] [--size 180x320]

1. Whole clips: CPU seconds per frame of the literal form (benchmarks/shift_net_reference.py), of
   ours in float32 and in bf16, taken in turn in one run; the largest difference to the literal form
   and the PSNR of bf16 against float32. Untrained weights, scaled so that the correction of the
   frames has a deviation of 0.05, about that of deblurring.
2. Streams: seconds per frame and peak memory of CDVD-TSP, small and plus, each in a process of its
   own, and by how much the attention in tiles changes a result.
"""

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.shift_net_reference import restore_literally
from benchmarks.timing import append, clock_of, hardware
from models import build
from models.contracts import VideoNetwork
from models.shift_net import ShiftNet
from utils.device import autocast, keep_memory
from utils.evaluation.tables import format_table
from utils.tiling import pad_to_multiple

CORRECTION = 0.05  # deviation of what is added to a frame
STREAMS = {"CDVD-TSP": ("cdvd_tsp", {}), "Shift-Net-s": ("shift_net", {"variant": "small"})}
STREAMS |= {"Shift-Net+": ("shift_net", {"variant": "plus"})}


def main() -> None:
    options = _options()
    if options.stream:
        name, height, width, frames = options.stream
        print(json.dumps(stream_row(name, int(height), int(width), int(frames))))
        return
    torch.set_num_threads(1)
    print(hardware())
    height, width = map(int, options.size.split("x"))
    rows = []
    for variant in ("small", "plus"):
        rows.append(clip_row(variant, options.frames, (height, width), 1 if options.quick else 3))
        print(json.dumps(rows[-1]), flush=True)
    if not options.quick:
        for name in STREAMS:
            rows.append(_in_a_process(name, height, width, 64))
            print(json.dumps(rows[-1]), flush=True)
    for kind in (rows[:2], rows[2:]):
        if kind:
            heads = list(kind[0])
            print(format_table([heads, *([str(row[head]) for head in heads] for row in kind)]))
    append("Shift-Net", "cpu", rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="clips alone, once: a look")
    parser.add_argument("--frames", type=int, default=6, help="of a clip")
    parser.add_argument("--size", default="180x320", help="HEIGHTxWIDTH")
    parser.add_argument("--stream", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def random_network(variant: str) -> ShiftNet:
    """An untrained network whose shift blocks do something, with a realistic correction."""
    torch.manual_seed(0)
    network = build("shift_net", variant=variant).eval()
    for name, parameter in network.named_parameters():
        if "beta" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    clip = torch.rand(1, 3, 3, 64, 64)
    with torch.inference_mode():
        deviation = (network.restore_clip(clip) - clip).std()
    with torch.no_grad():
        network.ending.weight *= CORRECTION / deviation
    return network


@torch.inference_mode()
def clip_row(variant: str, frames: int, size: tuple[int, int], runs: int) -> dict:
    """CPU seconds per frame, the minimum of `runs` turns of all forms."""
    keep_memory()  # for the literal form, too
    literal = random_network(variant)
    ours = random_network(variant).to(memory_format=torch.channels_last)
    clip = pad_to_multiple(torch.rand(1, frames, 3, *size), ours.multiple)
    forms = {
        "literal s": partial(restore_literally, literal, clip[0], 0, 0),
        "ours s": partial(ours.restore_clip, clip),
        "bf16 s": partial(_in_bf16, ours, clip),
    }
    seconds: dict[str, float] = {}
    results: dict[str, Tensor] = {}
    clock = clock_of()
    for _ in range(runs):
        for name, form in forms.items():
            start = clock()
            results[name] = form().float().flatten(0, -4)
            spent = (clock() - start) / frames
            seconds[name] = min(spent, seconds.get(name, spent))
    error = (results["bf16 s"] - results["ours s"]).square().mean()
    return {
        "network": variant,
        "size": f"{size[1]}x{size[0]}",
        **{name: round(value, 3) for name, value in seconds.items()},
        "x": round(seconds["literal s"] / seconds["ours s"], 2),
        "bf16 x": round(seconds["literal s"] / seconds["bf16 s"], 2),
        "difference": float((results["ours s"] - results["literal s"]).abs().max()),
        "bf16 dB": round(float(-10 * error.log10()), 1),
    }


def _in_bf16(network: ShiftNet, clip: Tensor) -> Tensor:
    with autocast(torch.device("cpu"), torch.bfloat16):
        return network.restore_clip(clip)


def stream_row(name: str, height: int, width: int, frames: int) -> dict:
    """CPU seconds per frame in steady state and peak memory of this process, MB."""
    torch.set_num_threads(1)
    keep_memory()
    torch.manual_seed(0)
    module, arguments = STREAMS[name]
    network: VideoNetwork = build(module, **arguments).eval().to(memory_format=torch.channels_last)
    frame = pad_to_multiple(torch.rand(1, 3, height, width), network.multiple)
    frame = frame.contiguous(memory_format=torch.channels_last)
    clock = clock_of()
    with torch.inference_mode():
        stream = network.stream(frame.clone() for _ in range(frames))
        next(stream)  # fills the state
        start = clock()
        steady = frames - 2 * (network.context or 0) - 1
        for _ in range(max(steady, 1)):
            next(stream)
        seconds = (clock() - start) / max(steady, 1)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            peak = int(line.split()[1]) / 1024
    return {
        "network": name,
        "size": f"{width}x{height}",
        "s per frame": round(seconds, 2),
        "peak MB": round(peak),
    }


def _in_a_process(*words: str | int) -> dict:
    command = [sys.executable, "-m", "benchmarks.shift_net", "--stream", *map(str, words)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
