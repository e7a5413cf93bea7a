"""How much faster is Jin when its three colours and both directions of time are one batch?

    python -m benchmarks.blur2vid [--sizes 120x160 240x320] [--runs 5] [--width 16]

The plain way is the published one: one colour after the other, one frame after the other. Outputs
are compared.
"""

import argparse
from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import append, hardware, median_s
from models import build
from models.jin import Generator, Jin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", nargs="+", default=["120x160", "240x320"], help="HEIGHTxWIDTH, multiples of 20"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--width", type=int, default=16, help="16 = the published network")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    network = build("jin", width=options.width).eval().to(options.device)
    print(hardware(options.device))
    print("size       one at a time  as batches  ratio  largest difference / largest value")
    rows = []
    with torch.inference_mode():
        for size in options.sizes:
            rows.append(measure(network, size, options.runs, options.device))
    append("Jin, colours and directions as batches", options.device, rows)


def measure(network: Jin, size: str, runs: int, device: str) -> dict:
    """One row: median seconds of both ways at a size HEIGHTxWIDTH; prints it, too."""
    height, width = map(int, size.split("x"))
    blurry = torch.rand(1, 3, height, width, device=device)
    alone = one_at_a_time(network, blurry)
    together = network(blurry)
    difference = float((alone - together).abs().max() / together.abs().max())
    slow = median_s(partial(one_at_a_time, network, blurry), runs, device)
    fast = median_s(partial(network, blurry), runs, device)
    print(f"{size:9}  {slow:10.3f} s  {fast:8.3f} s  {slow / fast:5.2f}  {difference:.1e}")
    return {"size": size, "one_at_a_time_s": slow, "batches_s": fast, "difference": difference}


def one_at_a_time(network: Jin, blurry: Tensor) -> Tensor:
    """Jin's frames with every colour and every direction on its own."""

    def run(generator: Generator, *images: Tensor) -> Tensor:
        colours = []
        for index in range(3):
            planes = [image[:, index : index + 1] for image in images]
            colours.append(generator.of_colours(*planes))
        return generator.together(torch.cat(colours, 1), images[-1])

    frame4 = run(network.centre, blurry)
    frame3 = run(network.frame3, blurry, frame4, frame4)
    frame5 = run(network.frame5, blurry, frame3, frame4)
    frame2 = run(network.frames26, blurry, frame4, frame3)
    frame6 = run(network.frames26, blurry, frame4, frame5)
    frame1 = run(network.frames17, blurry, frame3, frame2)
    frame7 = run(network.frames17, blurry, frame5, frame6)
    return torch.stack((frame1, frame2, frame3, frame4, frame5, frame6, frame7), 1)


if __name__ == "__main__":
    main()
