"""How much do the networks gain on every kind of blur?

    python -m benchmarks.kinds make --data_path SHARP --output_dir dataset/kinds
    python -m benchmarks.kinds table --data_path dataset/kinds [--photo NEW] [--video NEW]
                                     [--photo_before OLD] [--video_before OLD] [--kinds NAME ...]
                                     [--scale 1|auto]

`make`: SHARP holds pictures/, and as wanted texture/, large/ and videos/, see
data/validation_kinds.py.
`table`: mean PSNR of the input and the gains of the networks (dB, protocol `image`), by kind and by
length of blur. Without --photo and --video: the shipped networks.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import append
from data.photo_catalog import find_pairs
from data.validation_kinds import make_kinds
from restoration import ImageRestorer, VideoRestorer
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.tables import format_table
from utils.image import read_image, to_tensor
from utils.progress import Progress

LENGTHS = (0, 2, 5, 10, 20, 40, 80)  # px, limits of the second table's rows
SHARP_DB = 60  # an input as good as this counts as equal to the truth

Gains = list[list[float]]  # per image: PSNR of the input, then of each network's result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("make", "table"))
    parser.add_argument("--data_path", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, default=Path("dataset/kinds"))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--size", type=int, default=256, help="of pictures and clips, px")
    parser.add_argument("--frames", type=int, default=6, help="of a clip")
    parser.add_argument("--photo", default="image_deblur")
    parser.add_argument("--photo_before")
    parser.add_argument("--video", default="cdvd_tsp")
    parser.add_argument("--video_before")
    parser.add_argument("--scale", default="1", help="of the photo networks, see test.py")
    parser.add_argument("--kinds", nargs="*", help="names of kinds; default: all")
    options = parser.parse_args()
    if options.action == "make":
        make_kinds(
            options.data_path, options.output_dir, options.seed, options.size, options.frames
        )
        return
    _pictures(options)
    _clips(options)


def _pictures(options: argparse.Namespace) -> None:
    networks = [
        ImageRestorer.load(name, "cpu", "fp32", scale=options.scale)
        for name in (options.photo_before, options.photo)
        if name
    ]
    record = json.loads((options.data_path / "kinds.json").read_text(encoding="utf-8"))
    rows = []
    by_length: dict[int, Gains] = {}
    for kind, lengths in record["pictures"].items():
        if options.kinds and kind not in options.kinds:
            continue
        pictures = find_pairs(options.data_path / "pictures" / kind, need_sharp=True).pictures
        scores = []
        for picture in Progress(pictures, kind):
            blurry = to_tensor(read_image(picture.blurry))
            sharp = to_tensor(read_image(picture.sharp))
            results = [network.restore(blurry) for network in networks]
            scores.append(_scores(blurry, sharp, results))
            length = lengths[picture.blurry.stem]
            if length:  # what is sharp has a row of its own
                by_length.setdefault(_bin(length), []).append(scores[-1])
        rows.append(_row(kind, scores))
    names = ["before", "now"][-len(networks) :]
    _print("photos by kind", "kind", rows, names)
    rows = [
        _row(f"{LENGTHS[index]}-{LENGTHS[index + 1]} px", by_length[index])
        for index in sorted(by_length)
    ]
    _print("photos by length of blur", "length", rows, names)


def _clips(options: argparse.Namespace) -> None:
    record = json.loads((options.data_path / "kinds.json").read_text(encoding="utf-8"))
    photo = ImageRestorer.load(options.photo, "cpu", "fp32", scale=options.scale)
    methods: list[Callable] = [lambda frames: [photo.restore(frame) for frame in frames]]
    for name in (options.video_before, options.video):
        if name:
            methods.append(_streamed(VideoRestorer.load(name, "cpu", "fp32")))
    rows = []
    for kind, clips in record["clips"].items():
        if options.kinds and kind not in options.kinds:
            continue
        root = options.data_path / "clips" / kind
        scores = []
        for clip, counted in Progress(list(clips.items()), kind):
            paths = sorted((root / "blur" / clip).glob("*.png"))
            blurry = [to_tensor(read_image(path)) for path in paths]
            results = [method(blurry) for method in methods]
            for index, path in enumerate(paths):
                if path.stem not in counted:
                    continue
                sharp = to_tensor(read_image(root / "gt" / clip / path.name))
                restored = [result[index] for result in results]
                scores.append(_scores(blurry[index], sharp, restored))
        rows.append(_row(kind, scores))
    names = ["photo network", "video before", "video now"]
    if len(methods) == 2:
        names = ["photo network", "video now"]
    _print("clips by kind", "kind", rows, names)


def _streamed(restorer: VideoRestorer) -> Callable:
    def restored(frames: list[torch.Tensor]) -> list[torch.Tensor]:
        return list(restorer.stream(frames))

    return restored


def _scores(blurry: torch.Tensor, sharp: torch.Tensor, results: list[torch.Tensor]) -> list[float]:
    """PSNR of the input and of each result; where the input is the truth, to the input itself."""
    psnr = PROTOCOLS["image"].psnr
    before = min(psnr(blurry, sharp), SHARP_DB)
    return [before] + [min(psnr(result, sharp), SHARP_DB) for result in results]


def _row(name: str, scores: Gains) -> list[str]:
    """Name, count, PSNR of the input, and gains; a sharp input's results stand as PSNR."""
    means = np.mean(scores, axis=0)
    row = [name, str(len(scores)), f"{means[0]:.2f}"]
    for column, mean in enumerate(means[1:], 1):
        if means[0] >= SHARP_DB - 1:
            row.append(f"{mean:.1f} dB")
        else:
            worst = min(score[column] - score[0] for score in scores)
            row.append(f"{mean - means[0]:+.2f} ({worst:+.2f})")
    return row


def _bin(length: float) -> int:
    return max(index for index, limit in enumerate(LENGTHS[:-1]) if length >= limit)


def _print(title: str, first: str, rows: list[list[str]], names: list[str]) -> None:
    if not rows:
        return
    header = [first, "images", "input", *names]
    print(f"\n{title}: gain over the input, dB (worst image)\n")
    print(format_table([header, *rows]))
    append(title, "cpu", [dict(zip(header, row)) for row in rows])


if __name__ == "__main__":
    main()
