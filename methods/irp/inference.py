"""Judge shots before restoring them.

`score` all, `select` the best ones (and restore only these), or `expose`: which exposure to choose.
"""

import itertools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from methods.irp.config import InferenceConfig
from methods.irp.exposure import recommend
from methods.irp.judge import mixed_score
from methods.irp.pictures import COLUMNS, SIDE, as_bright, new_curve, squared
from methods.irp.predict import Predictor, load
from methods.irp.sample import sample_stacks
from methods.irp.selection import (
    ERRORS,
    check_ratings,
    kept_shots,
    reason,
    tied_with_best,
    write_ratings,
)
from methods.irp.sources import JudgedShot, Shot, Source, find_source
from restoration.image import ImageRestorer
from restoration.pictures import restore_photo
from utils import distributed
from utils.config import ROOT, to_yaml
from utils.contact_sheet import contact_sheet_of_rows
from utils.errors import UserError
from utils.files import save_figure, write_table, write_text
from utils.image import in_8bit, to_tensor, write_image
from utils.photo import read_photo
from utils.progress import Progress
from utils.report import spread

# What stays of a run that was stopped; a whole one removes both.
PARTIAL_SCORES = "scores.partial.csv"
PARTIAL_SELECTION = "selection.partial"
SHOWN = 12  # the best and the worst shots on a contact sheet
MIN_SPAN = 0.2  # of the curve: what the score errs by should not look like a difference


def main(config: InferenceConfig) -> None:
    """Run the task; everything lands in OUTPUT_DIR."""
    folder = config.output_dir or ROOT / "infer_results" / "irp" / config.task
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


def rank(
    config: InferenceConfig, predictor: Predictor, path: Path, folder: Path
) -> list[JudgedShot]:
    """score and select: all shots of a path, the best first."""
    source = find_source(path, folder, config.ratio)
    selecting = config.task == "select"
    if selecting:
        keep_count(config.keep, 1)  # a mistake shows before the work
        _check_selection(folder)
    judged = _judge_all(predictor, source, config.judge, folder)
    ranked = _ranked(judged)
    kept: list[JudgedShot] = []
    if selecting:
        count = keep_count(config.keep, len(ranked))
        kept = kept_shots(judged, ranked, count, config.spread)
    if config.write_ratings:
        check_ratings(judged)
        write_ratings(ranked, kept)
    error = ERRORS[config.judge]
    _write_table(folder / "scores.csv", ranked, kept, error)
    (folder / PARTIAL_SCORES).unlink(missing_ok=True)
    written = "contact_sheet.jpg"
    if len(judged) > 1:
        _draw_curve(folder / "curve.png", judged, kept)
        written += " and curve.png"
    for line in _summary(ranked, kept, error):
        print(line)
    if kept:
        _write_selected(config, folder, source, kept)
    _draw_sheet(folder / "contact_sheet.jpg", source, ranked, kept)
    print(f"results: {folder} (look at {written})")
    return ranked


def keep_count(text: str, count: int) -> int:
    """How many of `count` shots `--keep` means: N, or N% of them, at least one."""
    percent = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    valid = 0 < value <= 100 if percent else value >= 1 and value.is_integer()
    if not valid:
        raise UserError(
            f"--keep {text!r} must be a number of shots, or a fraction of them from 1% to 100%"
        )
    if percent:
        value = max(1, round(count * value / 100))
    return min(count, int(value))


def _judge_all(predictor: Predictor, source: Source, judge: str, folder: Path) -> list[JudgedShot]:
    """All shots in their order. When it is stopped, PARTIAL_SCORES holds what was judged."""
    judged: list[JudgedShot] = []
    finished = False
    try:
        with Progress(desc="judging", total=source.count, unit="shot") as bar:
            for shot in source:
                judged.append(_judge(predictor, shot, judge == "mixed"))
                bar.update()
        finished = True
    finally:
        if judged and not finished:
            _write_table(folder / PARTIAL_SCORES, _ranked(judged), [], ERRORS[judge])
            print(f"stopped: the scores of {len(judged)} shots are in {folder / PARTIAL_SCORES}")
    return judged


def _ranked(judged: list[JudgedShot]) -> list[JudgedShot]:
    return sorted(judged, key=lambda shot: -shot.potential)


def _judge(predictor: Predictor, shot: Shot, mixed: bool) -> JudgedShot:
    try:
        potential = predictor(to_tensor(shot.pixels), shot.ratio)
    except UserError as error:
        raise UserError(f"{shot.path or shot.name}: {error}") from None
    bright = in_8bit(as_bright(shot.pixels, shot.ratio))
    if mixed:
        potential = mixed_score(potential, bright)
    return JudgedShot(shot.name, potential, shot.ratio, shot.path, shot.time, reason(bright))


def _summary(ranked: list[JudgedShot], kept: list[JudgedShot], error: float) -> Iterator[str]:
    values = [shot.potential for shot in ranked]
    yield (
        f"{len(ranked)} shots, potential {values[-1]:.3f} to {values[0]:.3f}, median "
        f"{np.median(values):.3f}"
    )
    if len(ranked) > 1:
        best = ranked[0]
        worst = ranked[-1]
        yield (
            f"best: {best.name} ({best.potential:.3f}, {best.reason}); worst: {worst.name} "
            f"({worst.potential:.3f}, {worst.reason})"
        )
        tied = len(tied_with_best(ranked, error))
        if tied > 1:
            yield (
                f"no clear winner: the scores of the first {tied} differ by less than the score "
                f"errs ({error})"
            )
    if kept:
        names = [shot.name for shot in kept[:5]]
        if len(kept) > 5:
            names.append("...")
        yield f"selected {len(kept)}: {', '.join(names)}"


def _write_table(
    path: Path, ranked: list[JudgedShot], kept: list[JudgedShot], error: float
) -> None:
    """A line per shot, the best first."""
    kept_names = {shot.name for shot in kept}
    tied = {shot.name for shot in tied_with_best(ranked, error)}
    rows = []
    for rank, shot in enumerate(ranked, 1):
        row = {
            "rank": rank,
            "name": shot.name,
            "potential": f"{shot.potential:.4f}",
            "ratio": f"{shot.ratio:g}",
        }
        if shot.time is not None:
            row["seconds"] = f"{shot.time:.3f}"
        if kept:
            row["selected"] = int(shot.name in kept_names)
        row["tied"] = int(shot.name in tied)
        row["reason"] = shot.reason
        rows.append(row)
    write_table(path, rows)


def _check_selection(folder: Path) -> None:
    """Raises UserError for folders named as the selection's that no run made."""
    for part in (folder / "selected", folder / "restored"):
        if part.exists() and not (folder / "config.yaml").is_file():
            raise UserError(
                f"{part} is there already, and not from an earlier run: choose another --output_dir"
            )


def _write_selected(
    config: InferenceConfig, folder: Path, source: Source, kept: list[JudgedShot]
) -> None:
    """Write OUTPUT_DIR/selected, and with --restore OUTPUT_DIR/restored.

    Pictures are copied as they are, frames of a video become PNG. An earlier selection goes when
    the new one is whole, so that two never mix and none is lost. When it is stopped, what is done
    stays in PARTIAL_SELECTION.
    """
    restorer = None
    if config.restore:
        restorer = ImageRestorer.load(
            config.restorer,
            config.device,
            config.precision,
            local_statistics=config.local_statistics,
            scale=config.scale,
            strength=config.strength,
            only_blurry=config.only_blurry,
            guard=config.guard,
        )
    new = folder / PARTIAL_SELECTION
    shutil.rmtree(new, ignore_errors=True)
    with Progress(desc="selected", total=len(kept), unit="shot") as bar:
        for shot, pixels in source.pictures(kept):
            source.save(shot, pixels, new / "selected")
            if restorer:
                _restore(restorer, shot, pixels, new / "restored" / f"{shot.name}.png")
            bar.update()
    for part in ("selected", "restored"):
        shutil.rmtree(folder / part, ignore_errors=True)
        if (new / part).is_dir():
            (new / part).rename(folder / part)
    new.rmdir()
    if restorer and restorer.fallbacks.sentence():
        print(restorer.fallbacks.sentence())
    written = f"written to {folder / 'selected'}"
    if restorer:
        written += f" and {folder / 'restored'}"
    print(written)


def _restore(restorer: ImageRestorer, shot: JudgedShot, pixels: np.ndarray, target: Path) -> None:
    """Write the restored shot, as bright as at ratio 1; of a file as image_deblur writes it."""
    if shot.path is None:
        write_image(target, restorer(as_bright(pixels, shot.ratio)))
        return
    photo = read_photo(shot.path)
    photo = photo._replace(pixels=as_bright(photo.pixels, shot.ratio))
    restore_photo(restorer, photo, target)


def _draw_sheet(
    path: Path, source: Source, ranked: list[JudgedShot], kept: list[JudgedShot]
) -> None:
    """Draw shots in the order of their potential, in named parts (see _parts_of_sheet)."""
    parts = _parts_of_sheet(ranked, kept)
    shown = list(itertools.chain(*parts.values()))
    small = {}  # by name
    for shot, pixels in source.pictures(shown):
        small[shot.name] = squared(as_bright(pixels, shot.ratio))
    ranks = {shot.name: rank for rank, shot in enumerate(ranked, 1)}
    rows = {}
    for part, shots in parts.items():
        for start in range(0, len(shots), COLUMNS):
            row_name = part if start == 0 else " " * len(rows)
            rows[row_name] = {
                _caption(ranks[shot.name], shot): small[shot.name]
                for shot in shots[start : start + COLUMNS]
            }
    contact_sheet_of_rows(path, rows, SIDE)


def _parts_of_sheet(
    ranked: list[JudgedShot], kept: list[JudgedShot]
) -> dict[str, list[JudgedShot]]:
    """All shots, or the best and the worst; of select the kept ones and the others."""
    if kept:
        others = [shot for shot in ranked if shot not in kept]
        return {"selected": spread(kept, SHOWN), "left out": spread(others, SHOWN)}
    if len(ranked) <= 2 * SHOWN:
        return {"": ranked}
    return {"best": ranked[:SHOWN], "worst": ranked[-SHOWN:]}


def _caption(rank: int, shot: JudgedShot) -> str:
    name = shot.name if len(shot.name) <= 14 else f"...{shot.name[-11:]}"
    return f"{rank}. {name} {shot.potential:.3f}"


def _draw_curve(path: Path, judged: list[JudgedShot], kept: list[JudgedShot]) -> None:
    """Potential over the time of a video, or over the pictures in the order of their names."""
    potentials = [shot.potential for shot in judged]
    if judged[0].time is None:
        figure, axes = new_curve("picture, in the order of the names")
        axes.xaxis.get_major_locator().set_params(integer=True)
        steps = list(range(1, len(judged) + 1))
        axes.plot(steps, potentials, linewidth=0, marker=".")
    else:
        figure, axes = new_curve("seconds")
        steps = [shot.time for shot in judged]
        axes.plot(steps, potentials, linewidth=1, marker="." if len(judged) < 100 else "")
    lowest = min(potentials)
    highest = max(potentials)
    middle = (lowest + highest) / 2
    reach = 0.55 * max(highest - lowest, MIN_SPAN)
    axes.set_ylim(middle - reach, middle + reach)
    chosen = [index for index, shot in enumerate(judged) if shot in kept]
    if chosen:
        axes.plot(
            [steps[index] for index in chosen],
            [potentials[index] for index in chosen],
            "o",
            color="tab:orange",
            label="selected",
        )
        axes.legend()
    save_figure(path, figure)
