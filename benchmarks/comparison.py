"""docs/comparison.md: the shipped networks beside plain methods and the networks before.

    python -m benchmarks.kinds make --data_path SHARP --output_dir dataset/kinds
    python -m benchmarks.comparison --data_path dataset/kinds --pairs GOPRO_PAIRS
        [--photo_before OLD] [--video_before OLD] [--show NAME ... --credit TEXT]

Photos: the kinds of benchmarks.kinds and PAIRS (blurry and sharp files). Clips: its kinds of clips.
Unsharp masking, Wiener and Richardson-Lucy: benchmarks/classics.py. OLD: other weights, applied at
scale 1 as version 0.2 did. Of large photos the middle of --side px is taken.

A strip of the pictures of scikit-image is always drawn, of PAIRS only those that --show names, with
--credit in its caption: name only what may be shown.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import skimage.data
import torch
from torch import Tensor

from benchmarks import classics
from benchmarks.comparison_page import Strip, Table, write_page
from benchmarks.kinds import SHARP_DB
from data.photo_catalog import find_pairs
from data.synthesis.kernels import random_kernel
from data.synthesis.pair import make_pair, to_file
from models import WEIGHTS_FOLDER
from restoration import ImageRestorer, VideoRestorer
from restoration.blur import measure
from utils.config import ROOT
from utils.evaluation.metrics import ssim
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.sequence_scores import Lpips, find_lpips
from utils.evaluation.tables import format_table
from utils.image import read_image, to_8bit, to_tensor
from utils.progress import Progress
from utils.report import spread

SCALES = ("1", "mean", "auto")
SAMPLES = {"astronaut": 21, "coffee": 24}  # of scikit-image: name -> px of its blur in the strips
SHOWN = ("Richardson-Lucy, best", "scale 1", "scale auto")  # between blurry and sharp

Pair = tuple[Tensor, Tensor]  # blurry and sharp [3,H,W] in [0,1]


@dataclass(frozen=True)
class Method:
    """Restores the blurry images of pairs; the classics look at the truth to choose their kernel.

    neighbours: frames need their neighbours, so that whole clips are restored.
    """

    restore: Callable[[Sequence[Pair]], list[Tensor]]
    neighbours: bool = False


@dataclass
class Scores:
    """Figures of one method on one kind of material, a list entry per picture.

    psnr, ssim, lpips: of the result; seconds of this process, megapixels: in all.
    """

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    lpips: list[float] = field(default_factory=list)
    seconds: float = 0.0
    megapixels: float = 0.0


@dataclass(frozen=True)
class Clip:
    """Pairs of a clip's frames, and the indices of those that are scored."""

    pairs: list[Pair]
    scored: list[int]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    lpips, missing = find_lpips(WEIGHTS_FOLDER)
    photo = photo_methods(options.photo, options.photo_before)
    video = video_methods(options.video, options.video_before, photo)
    photos = photo_materials(options.data_path, options.pairs, options.pictures, options.side)
    clips = clip_materials(options.data_path, options.frames)
    tables = [*compared("Photos", photos, photo, lpips), *compared("Clips", clips, video, lpips)]
    strips = [*sample_strips(photo), *shown_strips(options.pairs, options.show, photo)]
    write_page(options.page, tables, strips, options.credit, missing)
    for table in tables:
        print(f"\n{table.title}\n\n{format_table(table.lines())}")
    print(f"\nwritten: {options.page}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_path", type=Path, required=True, help="of benchmarks.kinds make")
    parser.add_argument("--pairs", type=Path, help="a folder with blurry and sharp files")
    parser.add_argument("--photo", default="image_deblur")
    parser.add_argument("--photo_before")
    parser.add_argument("--video", default="cdvd_tsp")
    parser.add_argument("--video_before")
    parser.add_argument("--show", nargs="*", default=[], help="names of PAIRS, for the strips")
    parser.add_argument("--credit", default="", help="where they come from")
    parser.add_argument("--pictures", type=int, default=8, help="of each kind")
    parser.add_argument("--side", type=int, default=1280, help="of what is taken of a photo, px")
    parser.add_argument("--frames", type=int, default=2, help="scored ones per clip")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "comparison.md")
    return parser.parse_args(arguments)


def photo_methods(weights: str, before: str | None) -> dict[str, Method]:
    """The classics and the photo networks, {name: method}, in the order of the page's columns."""
    methods: dict[str, Method] = {
        "unsharp mask, best": _classic(classics.best_unsharp),
        "Wiener, measured": _measured(classics.measured_wiener),
        "Wiener, best": _classic(classics.best_wiener),
        "Richardson-Lucy, measured": _measured(classics.measured_richardson_lucy),
        "Richardson-Lucy, best": _classic(classics.best_richardson_lucy),
    }
    if before:
        methods["before"] = _photo(ImageRestorer.load(before, "cpu", scale=1, guard=False))
    for scale in SCALES:
        methods[f"scale {scale}"] = _photo(ImageRestorer.load(weights, "cpu", scale=scale))
    return methods


def video_methods(weights: str, before: str | None, photo: dict[str, Method]) -> dict[str, Method]:
    """The best classics and the photo network frame by frame, then the video networks."""
    methods = {name: method for name, method in photo.items() if name.endswith(", best")}
    methods["photo network, auto"] = photo["scale auto"]
    if before:
        methods["before"] = _video(VideoRestorer.load(before, "cpu", scale=1, guard=False))
    for scale in SCALES:
        methods[f"scale {scale}"] = _video(VideoRestorer.load(weights, "cpu", scale=scale))
    return methods


def photo_materials(
    kinds: Path, pairs: Path | None, count: int, side: int
) -> Iterator[tuple[str, Iterator[Clip]]]:
    """(name, `count` of its pictures as clips of one frame), read when they are asked for."""
    folders = {}
    if pairs:
        folders["real pairs"] = pairs
    for kind in _record(kinds)["pictures"]:
        folders[kind] = kinds / "pictures" / kind
    for kind, folder in folders.items():
        pictures = spread(find_pairs(folder, need_sharp=True).pictures, count)
        yield kind, (Clip([_pair(one.blurry, one.sharp, side)], [0]) for one in pictures)


def clip_materials(kinds: Path, frames: int) -> Iterator[tuple[str, Iterator[Clip]]]:
    """(name, its clips), of which `frames` blurred frames each are scored."""
    for kind, clips in _record(kinds)["clips"].items():
        yield kind, _clips(kinds / "clips" / kind, clips, frames)


def _clips(root: Path, clips: dict[str, list[str]], frames: int) -> Iterator[Clip]:
    for clip, counted in clips.items():
        paths = sorted((root / "blur" / clip).glob("*.png"))
        pairs = [_pair(path, root / "gt" / clip / path.name) for path in paths]
        names = [path.stem for path in paths]
        yield Clip(pairs, [names.index(name) for name in spread(counted, frames)])


def compared(
    title: str,
    materials: Iterable[tuple[str, Iterator[Clip]]],
    methods: dict[str, Method],
    lpips: Lpips | None,
) -> list[Table]:
    """The tables of one group of materials: PSNR, SSIM, LPIPS (None: left out), seconds."""
    rows: dict[str, dict[str, Scores]] = {}
    for kind, clips in materials:
        scores = {name: Scores() for name in ("input", *methods)}
        for clip in Progress(clips, kind, unit="clip"):
            for name, method in {"input": Method(_unchanged), **methods}.items():
                add_scores(scores[name], clip, method, lpips)
        rows[f"{kind} ({len(scores['input'].psnr)})"] = scores
    tables = [
        Table(f"{title}: gain over the input in dB (worst picture)", rows, psnr_cell),
        Table(f"{title}: change of SSIM", rows, ssim_cell),
        Table(f"{title}: processor seconds per megapixel", {"all": summed(rows)}, seconds_cell),
    ]
    if lpips:
        tables.insert(2, Table(f"{title}: change of LPIPS, lower is better", rows, lpips_cell))
    return tables


@torch.inference_mode()
def add_scores(scores: Scores, clip: Clip, method: Method, lpips: Lpips | None) -> None:
    """Restore a clip and add the figures of its scored frames."""
    scored = clip.scored
    pairs = clip.pairs
    if not method.neighbours:
        pairs = [pairs[index] for index in scored]
        scored = range(len(pairs))
    start = time.process_time()
    results = method.restore(pairs)
    scores.seconds += time.process_time() - start
    scores.megapixels += sum(blurry[0].numel() for blurry, _ in pairs) / 1e6
    for index in scored:
        restored = results[index].clamp(0, 1)
        sharp = pairs[index][1]
        scores.psnr.append(min(PROTOCOLS["image"].psnr(restored, sharp), SHARP_DB))
        scores.ssim.append(ssim(to_8bit(restored), to_8bit(sharp)))
        if lpips:
            scores.lpips.append(float(lpips(restored[None], sharp[None])))


def summed(rows: dict[str, dict[str, Scores]]) -> dict[str, Scores]:
    """Seconds and megapixels of all kinds together, by method."""
    total: dict[str, Scores] = {}
    for row in rows.values():
        for name, scores in row.items():
            one = total.setdefault(name, Scores())
            one.seconds += scores.seconds
            one.megapixels += scores.megapixels
    return total


def psnr_cell(scores: Scores, before: Scores) -> str:
    """Mean gain and the smallest; of sharp pictures how near they stay to themselves."""
    if scores is before:
        mean = np.mean(before.psnr)
        return "sharp" if mean >= SHARP_DB - 1 else f"{mean:.2f} dB"
    gains = np.subtract(scores.psnr, before.psnr)
    if np.mean(before.psnr) >= SHARP_DB - 1:
        return f"{np.mean(scores.psnr):.1f} dB ({min(scores.psnr):.1f})"
    return f"{gains.mean():+.2f} ({gains.min():+.2f})"


def ssim_cell(scores: Scores, before: Scores) -> str:
    """Mean of the input, change of the others."""
    return _changed(scores.ssim, before.ssim, scores is before)


def lpips_cell(scores: Scores, before: Scores) -> str:
    """Mean of the input, change of the others."""
    return _changed(scores.lpips, before.lpips, scores is before)


def _changed(values: list[float], before: list[float], is_input: bool) -> str:
    return f"{np.mean(values):.3f}" if is_input else f"{np.mean(values) - np.mean(before):+.3f}"


def seconds_cell(scores: Scores, before: Scores) -> str:
    """Of this process; nothing for the input."""
    return "" if scores is before else f"{scores.seconds / scores.megapixels:.2f}"


def sample_strips(methods: dict[str, Method]) -> Iterator[Strip]:
    """Of the pictures that come with scikit-image."""
    for name, length in SAMPLES.items():
        rng = np.random.default_rng(length)
        picture = getattr(skimage.data, name)()
        kernel = random_kernel(rng, 2 * length + 1, length=length)
        no_masks = np.zeros((0, *picture.shape[:2]), np.float32)
        pair = make_pair(picture, no_masks, kernel[None], rng)
        images = [to_tensor(to_file(image)) for image in (pair.blurry, pair.sharp)]
        yield _strip(name, (images[0], images[1]), methods)


def shown_strips(
    pairs: Path | None, names: Sequence[str], methods: dict[str, Method]
) -> Iterator[Strip]:
    """Of the pairs that may be shown."""
    if not pairs or not names:
        return
    for picture in find_pairs(pairs, need_sharp=True).pictures:
        if Path(picture.name).stem in names:
            pair = _pair(picture.blurry, picture.sharp, math.inf)
            yield _strip(picture.name, pair, methods)


def _strip(name: str, pair: Pair, methods: dict[str, Method]) -> Strip:
    pictures = {"blurry": pair[0]}
    for method in SHOWN:
        pictures[method] = methods[method].restore([pair])[0]
    pictures["sharp"] = pair[1]
    return Strip(name, {label: to_8bit(image) for label, image in pictures.items()})


def _record(kinds: Path) -> dict:
    return json.loads((kinds / "kinds.json").read_text(encoding="utf-8"))


def _pair(blurry: Path, sharp: Path, side: float = math.inf) -> Pair:
    """The middle of both, at most `side` px wide and high."""
    images = [to_tensor(read_image(path)) for path in (blurry, sharp)]  # [3,H,W]
    spans = []
    for length in images[0].shape[1:]:
        taken = int(min(side, length))
        start = (length - taken) // 2
        spans.append(slice(start, start + taken))
    first, second = (image[:, *spans].contiguous() for image in images)
    return first, second


def _unchanged(pairs: Sequence[Pair]) -> list[Tensor]:
    return [blurry for blurry, _ in pairs]


def _photo(restorer: ImageRestorer) -> Method:
    return Method(lambda pairs: [restorer.restore(blurry) for blurry, _ in pairs])


def _video(restorer: VideoRestorer) -> Method:
    return Method(lambda pairs: list(restorer.stream(blurry for blurry, _ in pairs)), True)


def _classic(choose: Callable[[np.ndarray, np.ndarray], classics.Restore]) -> Method:
    def restored(pairs: Sequence[Pair]) -> list[Tensor]:
        arrays = [[_array(image) for image in pair] for pair in pairs]
        return [_tensor(choose(blurry, sharp)(blurry)) for blurry, sharp in arrays]

    return Method(restored)


def _measured(way: Callable[[float], classics.Restore]) -> Method:
    def restored(pairs: Sequence[Pair]) -> list[Tensor]:
        frames = [blurry for blurry, _ in pairs]
        return [_tensor(way(measure(frame).typical)(_array(frame))) for frame in frames]

    return Method(restored)


def _array(image: Tensor) -> np.ndarray:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.float32(image)).permute(2, 0, 1)


if __name__ == "__main__":
    main()
