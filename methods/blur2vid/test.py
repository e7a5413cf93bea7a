"""Score networks that unfold a blurry picture: predict and score, score files that exist (-r -s),
or run the published table (--table).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.blur2vid import whole_sequence
from data.sample import sequences_or_sample
from data.sequences import FRAMES
from methods.blur2vid.comparison import compare_folders
from methods.blur2vid.config import TestConfig, frame_indices
from methods.blur2vid.inference import load
from methods.blur2vid.sequence_files import (
    read_blurry,
    read_frames,
    read_predicted,
    sequence_folders,
)
from methods.common.precision import exact
from models import load_network
from models.hypercut import HyperCUT
from restoration.run import Stopwatch
from restoration.sequence import SequenceRestorer
from utils import distributed
from utils.config import ROOT, to_yaml
from utils.contact_sheet import contact_sheet_of_rows
from utils.device import arithmetic, inference
from utils.errors import UserError
from utils.evaluation.published_runs import score_as_asked
from utils.evaluation.scoring import Scores, check_given, check_paired, write_scored
from utils.evaluation.sequence_scores import Lpips, find_lpips, score_frames, score_order
from utils.evaluation.tables import (
    RunRecord,
    compared_row,
    count_parameters,
    format_figure,
    format_table,
    paper_row,
)
from utils.files import write_text
from utils.image import to_8bit, write_image
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, spread, write_report

TABLES = Path(__file__).with_name("tables.yaml")
FOLDER = ROOT / "experiment" / "blur2vid_test"
TITLE = "Blur to video: predicted frames"
KINDS = {"ppsnr": "pPSNR", "pssim": "pSSIM", "plpips": "pLPIPS"}


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table and --compare)."""
    return score_as_asked(TABLES, config, FOLDER, unfold_and_score, score_folders, compare_folders)


def unfold_and_score(config: TestConfig) -> Scores:
    """Predict the frames of every sequence of the partition and score them unrounded.

    That is what the protocol wants; the written pictures are to look at.
    """
    folder = config.output_dir or FOLDER
    with distributed.only_run(folder):
        return _unfold_and_score(config, folder)


def _unfold_and_score(config: TestConfig, folder: Path) -> Scores:
    indices = frame_indices(config.target_frames)
    found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
    sequences = found.of(config.partition)
    restorer = load(exact(config))
    true_centre = restorer.network.needs_centre and config.centre == "ground_truth"
    ordering = None
    if config.hypercut_path:
        ordering = load_network(config.hypercut_path, HyperCUT).to(restorer.device)
    lpips, reason = find_lpips(ROOT / "pretrain_models")
    rows = []
    shown = {}
    examples = {sequence.id for sequence in spread(sequences, MAX_PANELS)}
    watch = Stopwatch("sequence", restorer.device)
    for sequence in Progress(sequences, unit="sequence"):
        blurry, truth = whole_sequence(sequence)
        predicted = restorer.restore(blurry, centre=truth[3] if true_centre else None)
        metrics = _scored(sequence.id, predicted[indices], truth[indices], blurry, indices, lpips)
        row = {"name": sequence.id, **metrics}
        if ordering:
            row |= score_order(_order_scores(ordering, restorer, predicted))
        rows.append(row)
        watch.done += 1
        if config.pictures:
            for index in indices:
                path = folder / sequence.id / f"deblur_{index}.png"
                write_image(path, to_8bit(predicted[index]))
        if sequence.id in examples:
            shown[sequence.id] = _pictures(blurry, predicted, truth)
    centre = f"centre {config.centre}" if restorer.network.needs_centre else ""
    repeated = f"input: the blurry picture {FRAMES} times"
    options = {"partition": config.partition, "centre": config.centre}
    record = RunRecord(count_parameters(restorer.network), seconds=watch.seconds_each)
    row = paper_row(TABLES, restorer.weights, found.folder, "blur2vid", options)
    row, objection = compared_row(row, len(rows), record)
    remarks = [f"partition {config.partition}", centre, reason, repeated, objection]
    scores = Scores(
        "blur2vid",
        rows,
        restorer.weights,
        found.metadata,
        "; ".join(filter(None, remarks)),
        row,
        arithmetic=arithmetic(restorer.device, restorer.dtype),
        record=record,
    )
    _write_all(config, folder, scores, frame_table(scores, indices), shown)
    return scores


def _write_all(
    config: TestConfig, folder: Path, scores: Scores, table: str, shown: dict[str, dict]
) -> None:
    scores.write(folder)
    write_text(folder / "config.yaml", to_yaml(config))
    print(table)
    contact_sheet_of_rows(folder / "contact_sheet.jpg", shown, 240)
    if config.report:
        examples = [_example(name, pictures) for name, pictures in shown.items()]
        write_report(folder / "report.html", TITLE, examples, scores.metadata, table)
    print(f"results: {folder} (look at contact_sheet.jpg)")


def _pictures(blurry: Tensor, predicted: Tensor, truth: Tensor) -> dict[str, np.ndarray]:
    """What to show of a sequence: the blurry picture, three predicted and three true frames."""
    pictures = {"blurry": to_8bit(blurry)}
    for index in (0, 3, 6):
        pictures[f"frame {index + 1}"] = to_8bit(predicted[index])
    for index in (0, 3, 6):
        pictures[f"true {index + 1}"] = to_8bit(truth[index])
    return pictures


def score_folders(config: TestConfig) -> Scores:
    """Score pictures RESTORED/ID against SHARP/ID; no network is loaded.

    There are seven in each, in the order of their names.
    """
    check_given(config.restored_dir, config.sharp_dir)
    restored = sequence_folders(config.restored_dir)
    sharp = sequence_folders(config.sharp_dir)
    check_paired(config.restored_dir, restored, sharp, sharp, config.sharp_dir)
    lpips, reason = find_lpips(ROOT / "pretrain_models")
    rows = []
    for name in Progress(sharp, unit="sequence"):
        truth = read_frames(sharp[name])
        predicted = read_predicted(restored[name], truth)
        blurry = read_blurry(config.blurry_dir, name, truth) if config.blurry_dir else None
        rows.append({"name": name, **_scored(name, predicted, truth, blurry, range(FRAMES), lpips)})
    scores = Scores(
        "blur2vid",
        rows,
        data_path=config.restored_dir,
        remark="; ".join(filter(None, ["8-bit files", reason])),
    )
    print(frame_table(scores, range(FRAMES)))
    if config.output_dir:
        write_scored(config.output_dir, scores, [], to_yaml(config), TITLE, config.report)
    return scores


def _example(name: str, pictures: dict[str, np.ndarray]) -> Example:
    extras = {
        label: picture
        for label, picture in pictures.items()
        if label not in ("blurry", "frame 4", "true 4")
    }
    return Example(
        name,
        pictures["blurry"],
        pictures["frame 4"],
        pictures["true 4"],
        extras,
        "beside the divider: the centre, frame 4",
    )


def frame_table(scores: Scores, indices: Sequence[int]) -> str:
    """A column per frame, as HyperCUT's tables have it.

    Rows: ours, the blurry picture repeated, and where known the paper's and the difference.
    """
    lines = [["", *(f"frame {index + 1}" for index in indices), "mean"]]
    for kind, label in KINDS.items():
        if kind in scores.mean:
            names = [*(f"{kind}_{index + 1}" for index in indices), kind]
            lines += _metric_lines(scores, kind, label, names)
    text = "\n".join([scores.title, format_table(lines)])
    order = [name for name in scores.mean if name.startswith(("hit", "con"))]
    if not order:
        return text
    sides = ", ".join(f"{name} {scores.mean[name]:.3f}" for name in order)
    return f"{text}\norder of the predictions: {sides}"


def _metric_lines(scores: Scores, kind: str, label: str, names: list[str]) -> list[list[str]]:
    """The lines of one metric; names: its figures, frame by frame and on average."""
    paper = scores.paper.value if scores.paper else {}
    sources = {
        label: scores.mean,
        f"{label}, blurry repeated": scores.input_mean,
        f"{label}, paper": paper,
    }
    lines = []
    for head, figures in sources.items():
        if figures.get(names[0]) is not None:
            lines.append([head, *(format_figure(kind, figures.get(name)) for name in names)])
    if paper.get(names[0]) is not None:
        line = [f"{label}, difference"]
        for name in names:
            difference = scores.mean[name] - paper[name] if name in paper else None
            line.append(format_figure(kind, difference, "+"))
        lines.append(line)
    return lines


def _scored(
    name: str,
    predicted: Tensor,
    truth: Tensor,
    blurry: Tensor | None,
    indices: Sequence[int],
    lpips: Lpips | None,
) -> dict[str, float]:
    """Metrics of the prediction, and as input_... those of the blurry picture repeated."""
    try:
        row = score_frames(predicted, truth, indices, lpips=lpips)
        if blurry is not None:
            repeated = score_frames(blurry.expand_as(truth), truth, indices, lpips=lpips)
            row |= {f"input_{key}": value for key, value in repeated.items()}
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"sequence {name}: {error}") from error
    return row


def _order_scores(ordering: HyperCUT, restorer: SequenceRestorer, predicted: Tensor) -> Tensor:
    """HyperCUT's six scores of seven frames [7,3,H,W]."""
    with inference(restorer.device, torch.float32):
        frames = ordering.seen(predicted[None].to(restorer.device))
        return ordering(frames)[0].cpu()
