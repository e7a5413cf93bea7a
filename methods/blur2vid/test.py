"""Score networks that unfold a blurry picture: predict and score, score files that exist (-r -s),
or run the published table (--table).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.blur2vid import whole_sequence
from data.sample import sequences_or_sample
from data.sequences import FRAMES
from methods.blur2vid.config import TestConfig, frame_indices
from methods.blur2vid.inference import Predictor, load, predict
from models import load_network
from models.hypercut import HyperCUT
from models.purohit import Purohit
from utils.config import ROOT, to_yaml
from utils.device import arithmetic
from utils.errors import UserError
from utils.evaluation.scoring import Scores, check_given, check_paired, write_scored
from utils.evaluation.sequence_scores import Lpips, find_lpips, score_frames, score_order
from utils.evaluation.tables import format_figure, format_table, paper_row, run_table
from utils.files import natural_key, write_text
from utils.image import is_image, read_image, to_8bit, to_tensor, write_image
from utils.progress import Progress
from utils.report import MAX_PANELS, Example, contact_sheet_of_rows, spread, write_report

TABLES = Path(__file__).with_name("tables.yaml")
FOLDER = ROOT / "experiment" / "blur2vid_test"
TITLE = "Blur to video: predicted moments"
KINDS = {"ppsnr": "pPSNR", "pssim": "pSSIM", "plpips": "pLPIPS"}


def main(config: TestConfig) -> Scores | None:
    """Returns the scores (None for --table)."""
    if config.table:
        run_table(TABLES, config, FOLDER, unfold_and_score)
        return None
    if config.restored_dir or config.sharp_dir or config.blurry_dir:
        return score_folders(config)
    return unfold_and_score(config)


def unfold_and_score(config: TestConfig) -> Scores:
    """Predict the moments of every sequence of the partition and score them unrounded, as the
    protocol wants; pictures are to look at.
    """
    places, folder = frame_indices(config.target_frames), config.output_dir or FOLDER
    found = sequences_or_sample(config.data_path, config.dataset_name, config.metadata)
    sequences = found.of(config.partition)
    predictor = load(config)
    judge = (
        load_network(config.hypercut_path, HyperCUT).to(predictor.device)
        if config.hypercut_path
        else None
    )
    lpips, reason = find_lpips(ROOT / "pretrain_models")
    purohit = isinstance(predictor.network, Purohit)
    rows, shown = [], {}
    looked_at = {sequence.id for sequence in spread(sequences, MAX_PANELS)}
    for sequence in Progress(sequences, unit="sequence"):
        blurry, truth = whole_sequence(sequence)
        centre = truth[3] if purohit and config.centre == "ground_truth" else None
        predicted = predict(predictor, blurry, centre=centre)
        row = {
            "name": sequence.id,
            **_scored(sequence.id, predicted[places], truth[places], blurry, places, lpips),
        }
        if judge:
            row |= score_order(_judged(judge, predictor, predicted))
        rows.append(row)
        if config.pictures:
            for place in places:
                write_image(folder / sequence.id / f"deblur_{place}.png", to_8bit(predicted[place]))
        if sequence.id in looked_at:
            truths, ours = (
                {f"{label} {place + 1}": to_8bit(images[place]) for place in (0, 3, 6)}
                for label, images in (("true", truth), ("frame", predicted))
            )
            shown[sequence.id] = {"blurry": to_8bit(blurry), **ours, **truths}
    remarks = [
        f"partition {config.partition}",
        f"centre {config.centre}" if purohit else "",
        reason,
        f"input: the blurry picture {FRAMES} times",
    ]
    paper = paper_row(
        TABLES,
        predictor.weights,
        found.folder,
        "blur2vid",
        {"partition": config.partition, "centre": config.centre},
    )
    about = {
        "remark": "; ".join(filter(None, remarks)),
        "paper": paper,
        "arithmetic": arithmetic(predictor.device, predictor.dtype),
    }
    scores = Scores("blur2vid", rows, predictor.weights, found.metadata, **about)
    scores.write(folder)
    write_text(folder / "config.yaml", to_yaml(config))
    print(frame_table(scores, places))
    contact_sheet_of_rows(folder / "contact_sheet.png", shown, 240)
    if config.report:
        examples = [_example(name, pictures) for name, pictures in shown.items()]
        write_report(
            folder / "report.html", TITLE, examples, scores.metadata, frame_table(scores, places)
        )
    print(f"results: {folder} (look at contact_sheet.png)")
    return scores


def score_folders(config: TestConfig) -> Scores:
    """Score pictures RESTORED/ID against SHARP/ID, seven each in the order of their names; no
    network is loaded.
    """
    check_given(config.restored_dir, config.sharp_dir)
    restored, sharp = (_folders(path) for path in (config.restored_dir, config.sharp_dir))
    check_paired(config.restored_dir, restored, sharp, sharp, config.sharp_dir)
    lpips, reason = find_lpips(ROOT / "pretrain_models")
    rows = []
    for name in Progress(sharp, unit="sequence"):
        predicted, truth = (_read(folders[name]) for folders in (restored, sharp))
        if predicted.shape != truth.shape:
            sizes = [f"{images.shape[-1]}x{images.shape[-2]}" for images in (predicted, truth)]
            raise UserError(
                f"{restored[name]} has pictures of {sizes[0]}, {sharp[name]} of {sizes[1]}"
            )
        blurry = _read_blurry(config.blurry_dir, name, truth) if config.blurry_dir else None
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


def frame_table(scores: Scores, places: Iterable[int]) -> str:
    """A column per frame, as HyperCUT's tables have it: ours, the blurry picture repeated, where
    known the paper's and the difference.
    """
    lines = [["", *(f"frame {place + 1}" for place in places), "mean"]]
    paper = scores.paper.value if scores.paper else {}
    for kind, label in KINDS.items():
        names = [*(f"{kind}_{place + 1}" for place in places), kind]
        if kind not in scores.mean:
            continue
        figures = {
            label: scores.mean,
            f"{label}, blurry repeated": scores.input_mean,
            f"{label}, paper": paper,
        }
        lines += [
            [head, *(format_figure(kind, row.get(name)) for name in names)]
            for head, row in figures.items()
            if row.get(names[0]) is not None
        ]
        if paper.get(names[0]) is not None:
            differences = [
                scores.mean[name] - paper[name] if name in paper else None for name in names
            ]
            lines.append(
                [
                    f"{label}, difference",
                    *(format_figure(kind, value, "+") for value in differences),
                ]
            )
    text = "\n".join([scores.title, format_table(lines)])
    sides = [
        f"{name} {scores.mean[name]:.3f}" for name in scores.mean if name.startswith(("hit", "con"))
    ]
    return text + ("\norder of the predictions: " + ", ".join(sides) if sides else "")


def _scored(
    name: str,
    predicted: Tensor,
    truth: Tensor,
    blurry: Tensor | None,
    places: Iterable[int],
    lpips: Lpips | None,
) -> dict[str, float]:
    """Metrics of the prediction, and as input_... those of the blurry picture repeated."""
    try:
        row = score_frames(predicted, truth, places, lpips=lpips)
        if blurry is not None:
            repeated = score_frames(blurry.expand_as(truth), truth, places, lpips=lpips)
            row |= {f"input_{key}": value for key, value in repeated.items()}
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"sequence {name}: {error}") from error
    return row


@torch.inference_mode()
def _judged(judge: HyperCUT, predictor: Predictor, predicted: Tensor) -> Tensor:
    """HyperCUT's six scores of seven moments [7,3,H,W]."""
    return judge(judge.seen(predicted[None].to(predictor.device)))[0].cpu()


def _folders(root: Path) -> dict[str, Path]:
    """{ID: folder of its seven pictures}, ROOT/ID or ROOT/ID/sharp."""
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    folders = {
        path.name: path / "sharp" if (path / "sharp").is_dir() else path
        for path in sorted(root.iterdir())
        if path.is_dir()
    }
    if not folders:
        raise UserError(f"{root} has no folders of seven pictures each")
    return folders


def _read(folder: Path) -> Tensor:
    pictures = (
        path
        for path in folder.iterdir()
        if is_image(path) and path.stem not in ("strip", "contact_sheet")
    )
    paths = sorted(pictures, key=lambda path: natural_key(path.name))
    if len(paths) != FRAMES:
        raise UserError(f"{folder} has {len(paths)} pictures, a sequence has {FRAMES}")
    pictures = [read_image(path) for path in paths]
    if len({picture.shape for picture in pictures}) > 1:
        raise UserError(f"{folder} has pictures of different sizes")
    return torch.stack([to_tensor(picture) for picture in pictures])


def _read_blurry(root: Path, name: str, truth: Tensor) -> Tensor:
    """The blurry picture [3,H,W] of a sequence, ROOT/ID.png (any extension) or the first of
    ROOT/ID/blur.
    """
    beside = (path for path in root.iterdir() if path.stem == name)
    found = sorted(path for path in (*beside, *(root / name / "blur").glob("*")) if is_image(path))
    if not found:
        raise UserError(
            f"{root} has no blurry picture of {name}: {name}.png or {name}/blur/0000.png"
        )
    blurry = to_tensor(read_image(found[0]))
    if blurry.shape != truth.shape[1:]:
        raise UserError(
            f"{found[0]} is {blurry.shape[-1]}x{blurry.shape[-2]}, the true frames "
            f"{truth.shape[-1]}x{truth.shape[-2]}"
        )
    return blurry
