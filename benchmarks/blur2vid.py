"""How much faster is Jin when its three colours, and both directions of time, go through a
generator as one batch?

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
            blurry = torch.rand(1, 3, *map(int, size.split("x")), device=options.device)
            alone, together = one_at_a_time(network, blurry), network(blurry)
            difference = float((alone - together).abs().max() / together.abs().max())
            calls = (partial(one_at_a_time, network, blurry), partial(network, blurry))
            slow, fast = (median_s(call, options.runs, options.device) for call in calls)
            print(f"{size:9}  {slow:10.3f} s  {fast:8.3f} s  {slow / fast:5.2f}  {difference:.1e}")
            rows.append(
                {"size": size, "one_at_a_time_s": slow, "batches_s": fast, "difference": difference}
            )
    append("Jin, colours and directions as batches", options.device, rows)


def one_at_a_time(network: Jin, blurry: Tensor) -> Tensor:
    """Jin's frames with every colour and every direction on its own."""

    def run(generator: Generator, *images: Tensor) -> Tensor:
        colours = [
            generator.of_colours(*(image[:, place : place + 1] for image in images))
            for place in range(3)
        ]
        return generator.together(torch.cat(colours, 1), images[-1])

    frame4 = run(network.centre, blurry)
    frame3 = run(network.frame3, blurry, frame4, frame4)
    frame5 = run(network.frame5, blurry, frame3, frame4)
    frame2, frame6 = (
        run(network.frames26, blurry, frame4, frame3),
        run(network.frames26, blurry, frame4, frame5),
    )
    frame1, frame7 = (
        run(network.frames17, blurry, frame3, frame2),
        run(network.frames17, blurry, frame5, frame6),
    )
    return torch.stack((frame1, frame2, frame3, frame4, frame5, frame6, frame7), 1)


if __name__ == "__main__":
    main()
