"""Judge shots before restoring them: `score` all, `select` the best ones (and restore only these),
`expose`: which exposure to choose.
"""

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.irp import find_shots
from data.photo_catalog import pictures_by_name
from methods.irp.config import InferenceConfig
from methods.irp.exposure import recommend
from methods.irp.pictures import COLUMNS, SIDE, as_bright, new_curve, save_curve, squared
from methods.irp.predict import Predictor, load
from methods.irp.sample import sample_stacks
from models import load_network
from models.blocks import ImageNetwork
from utils import distributed
from utils.config import ROOT, to_yaml
from utils.errors import UserError
from utils.files import atomic_path, write_table, write_text
from utils.image import is_image, read_8bit, to_8bit, to_tensor, write_image
from utils.progress import Progress
from utils.report import contact_sheet_of_rows, spread
from utils.video import VideoFile, is_video

SHOWN = 12  # the best and the worst shots on a contact sheet
MIN_SPAN = 0.2  # of the curve: what the network errs by (.09) should not look like a difference
RESTORER = "image_deblur"


class Judged(NamedTuple):
    """A shot and what IRP says of it. path: of a picture on disk (None: a video's frame); time:
    seconds into the video.
    """

    name: str
    potential: float
    ratio: float
    path: Path | None
    time: float | None = None


def main(config: InferenceConfig) -> None:
    """Run the task; everything lands in OUTPUT_DIR."""
    folder = config.output_dir or ROOT / "experiment" / f"irp_{config.task}"
    if config.ratio is not None and config.ratio < 1 or config.error <= 0:
        raise UserError(
            f"--ratio {config.ratio} must be at least 1, --error {config.error} above 0"
        )
    path = config.data_path
    if path is None:
        path = sample_stacks() / "scene1"
        print(f"no --data_path: a stack of the embedded sample, {path}")
    if path.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"results would lie among the shots, as {path} lies in {folder}: choose another "
            "--output_dir"
        )
    predictor = load(config.weights, config.device, config.precision)
    with distributed.only_run(folder):
        if config.task == "expose":
            recommend(predictor, path, config.error, folder)
        else:
            rank(config, predictor, path, folder)
        write_text(folder / "config.yaml", to_yaml(config))


def rank(config: InferenceConfig, predictor: Predictor, path: Path, folder: Path) -> list[Judged]:
    """score and select: all shots of a path, the best first."""
    selecting, source = config.task == "select", _Source(path, folder, config.ratio)
    if selecting:
        keep_count(config.keep, 1)  # a mistake shows before the work
        _check_selection(folder)
    judged = []
    with Progress(desc="judging", total=source.count, unit="shot") as bar:
        for item in source:
            judged.append(_judged(predictor, source, *item))
            bar.update()
    ranked = sorted(judged, key=lambda shot: -shot.potential)
    kept = ranked[: keep_count(config.keep, len(ranked))] if selecting else []
    _write_table(folder / "scores.csv", ranked, kept)
    if len(judged) > 1:
        _draw_curve(folder / "curve.png", judged, kept)
    for line in _summary(ranked, kept):
        print(line)
    if kept:
        _write_selected(config, predictor, folder, source, kept)
    _draw_sheet(folder / "contact_sheet.png", source, ranked, kept)
    print(
        f"results: {folder} (look at contact_sheet.png"
        + (" and curve.png)" if len(judged) > 1 else ")")
    )
    return ranked


def keep_count(text: str, count: int) -> int:
    """How many of `count` shots `--keep` means: N, or N% of them, at least one."""
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (0 < value <= 100 if percent else value >= 1 and value == int(value)):
        raise UserError(
            f"--keep {text!r} must be a number of shots, or a share of them from 1% to 100%"
        )
    return min(count, max(1, round(count * value / 100) if percent else int(value)))


class _Source:
    """Shots to judge, one after the other: (name, 8-bit pixels [H,W,3] as stored, ratio, path or
    None, time or None).
    """

    def __init__(self, path: Path, leave_out: Path, ratio: float | None):
        self.video, self.ratio = (
            VideoFile(path) if path.is_file() and is_video(path) else None,
            ratio or 1.0,
        )
        self.root, self.ratios = path if path.is_dir() else path.parent, {}
        if self.video:
            self.count, self.files = self.video.count, {}
        elif path.is_file() and is_image(path):
            self.count, self.files = 1, {path.stem: path}
        elif path.is_dir():
            if ratio is None:
                self.ratios = {
                    shot.path: shot.ratio for shots in find_shots(path).values() for shot in shots
                }
            self.files = {
                name: file
                for name, file in pictures_by_name(path, leave_out).items()
                if file in self.ratios or not self.ratios
            }
            self.count = len(self.files)
        else:
            raise UserError(f"there is no image, folder of images or video file at {path}")

    def __iter__(self) -> Iterator[tuple]:
        if self.video:
            for number, (moment, frame) in enumerate(self.video.timed()):
                yield (
                    f"frame_{number:06d}",
                    frame,
                    self.ratio,
                    None,
                    float(moment * self.video.time_base),
                )
        for name, file in self.files.items():
            yield name, read_8bit(file), self.ratios.get(file, self.ratio), file, None

    def pictures(self, wanted: Sequence[Judged]) -> Iterator[tuple[Judged, np.ndarray]]:
        """The chosen shots with their pixels; a video is read once more."""
        if self.video:
            chosen = {shot.name: shot for shot in wanted}
            yield from ((chosen[name], frame) for name, frame, *_ in self if name in chosen)
        else:
            yield from ((shot, read_8bit(shot.path)) for shot in wanted)


def _judged(
    predictor: Predictor,
    source: _Source,
    name: str,
    pixels: np.ndarray,
    ratio: float,
    path: Path | None,
    time: float | None,
) -> Judged:
    try:
        return Judged(name, predictor(to_tensor(pixels), ratio), ratio, path, time)
    except UserError as error:
        raise UserError(f"{path or name}: {error}") from None


def _summary(ranked: list[Judged], kept: list[Judged]) -> Iterator[str]:
    values = [shot.potential for shot in ranked]
    yield (
        f"{len(ranked)} shots, potential {values[-1]:.3f} to {values[0]:.3f}, median "
        f"{np.median(values):.3f}"
    )
    if len(ranked) > 1:
        yield (
            f"best: {ranked[0].name} ({values[0]:.3f}); worst: {ranked[-1].name} ({values[-1]:.3f})"
        )
    if kept:
        yield (
            f"selected {len(kept)}: "
            f"{', '.join(shot.name for shot in kept[:5])}{', ...' if len(kept) > 5 else ''}"
        )


def _write_table(path: Path, ranked: list[Judged], kept: list[Judged]) -> None:
    """A line per shot, the best first."""
    names, rows = {shot.name for shot in kept}, []
    for place, shot in enumerate(ranked):
        row = {
            "rank": place + 1,
            "name": shot.name,
            "potential": f"{shot.potential:.4f}",
            "ratio": f"{shot.ratio:g}",
        }
        row |= {"seconds": f"{shot.time:.3f}"} if shot.time is not None else {}
        rows.append(row | ({"selected": int(shot.name in names)} if kept else {}))
    write_table(path, rows)


def _check_selection(folder: Path) -> None:
    """Raises UserError for folders in the place of the selection that no run made."""
    for part in (folder / "selected", folder / "restored"):
        if part.exists() and not (folder / "config.yaml").is_file():
            raise UserError(
                f"{part} is there already, and not from an earlier run: choose another --output_dir"
            )


def _write_selected(
    config: InferenceConfig, predictor: Predictor, folder: Path, source: _Source, kept: list[Judged]
) -> None:
    """OUTPUT_DIR/selected: pictures as they are, frames of a video as PNG; with --restore also
    OUTPUT_DIR/restored.

    An earlier selection goes when the new one is whole, so that two never mix and none is lost.
    """
    restore = _restorer(config, predictor) if config.restore else None
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".selection.") as temporary,
        Progress(desc="selected", total=len(kept), unit="shot") as bar,
    ):
        for shot, pixels in source.pictures(kept):
            if shot.path is None:
                write_image(Path(temporary, "selected", f"{shot.name}.png"), pixels)
            else:
                with atomic_path(
                    Path(temporary, "selected", shot.path.relative_to(source.root))
                ) as copy:
                    shutil.copyfile(shot.path, copy)
            if restore:
                write_image(
                    Path(temporary, "restored", f"{shot.name}.png"),
                    restore(as_bright(pixels, shot.ratio)),
                )
            bar.update()
        for part in ("selected", "restored"):
            shutil.rmtree(folder / part, ignore_errors=True)
            if Path(temporary, part).is_dir():
                Path(temporary, part).rename(folder / part)
    print(f"written to {folder / 'selected'}" + (f" and {folder / 'restored'}" if restore else ""))


def _restorer(config: InferenceConfig, predictor: Predictor) -> Callable[[np.ndarray], np.ndarray]:
    """The single-image network as a function of 8-bit pictures."""
    from methods.irp.restorers import deblur  # scikit-image's restoration takes a second to import

    network = load_network(config.restorer or RESTORER, ImageNetwork).to(predictor.device)
    return lambda pixels: to_8bit(
        deblur(network, predictor.device, predictor.dtype, to_tensor(pixels))
    )


def _draw_sheet(path: Path, source: _Source, ranked: list[Judged], kept: list[Judged]) -> None:
    """All shots in the order of their potential, or the best and the worst; of select what was kept
    and what was not.
    """
    if kept:
        others = [shot for shot in ranked if shot not in kept]
        parts = {
            "selected": spread(kept, SHOWN),
            "left out": spread(others, SHOWN) if others else [],
        }
    elif len(ranked) <= 2 * SHOWN:
        parts = {"": ranked}
    else:
        parts = {"best": ranked[:SHOWN], "worst": ranked[-SHOWN:]}
    places = {shot.name: place + 1 for place, shot in enumerate(ranked)}
    small = {
        shot.name: squared(as_bright(pixels, shot.ratio))
        for shot, pixels in source.pictures([shot for shots in parts.values() for shot in shots])
    }
    rows = {}
    for part, shots in parts.items():
        for start in range(0, len(shots), COLUMNS):
            heads = {
                _head(places[shot.name], shot): small[shot.name]
                for shot in shots[start : start + COLUMNS]
            }
            rows[part if start == 0 else " " * len(rows)] = heads
    contact_sheet_of_rows(path, rows, SIDE)


def _head(place: int, shot: Judged) -> str:
    name = shot.name if len(shot.name) <= 14 else f"...{shot.name[-11:]}"
    return f"{place}. {name} {shot.potential:.3f}"


def _draw_curve(path: Path, judged: list[Judged], kept: list[Judged]) -> None:
    """Potential over the time of a video, or over the pictures in the order of their names."""
    timed = judged[0].time is not None
    steps = [shot.time for shot in judged] if timed else range(1, len(judged) + 1)
    figure, axes = new_curve("seconds" if timed else "picture, in the order of the names")
    axes.xaxis.get_major_locator().set_params(integer=not timed)
    potentials = [shot.potential for shot in judged]
    axes.plot(
        steps,
        potentials,
        linewidth=1 if timed else 0,
        marker="." if len(judged) < 100 or not timed else "",
    )
    middle, reach = (
        (max(potentials) + min(potentials)) / 2,
        max(max(potentials) - min(potentials), MIN_SPAN) * 0.55,
    )
    axes.set_ylim(middle - reach, middle + reach)
    chosen = [(step, shot.potential) for step, shot in zip(steps, judged) if shot in kept]
    if chosen:
        axes.plot(*zip(*chosen), "o", color="tab:orange", label="selected")
        axes.legend()
    save_curve(figure, path)
