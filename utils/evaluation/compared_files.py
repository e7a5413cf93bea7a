"""test.py --compare: the results of several networks, from their files to a table and a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.config_files import ROOT
from utils.errors import UserError
from utils.evaluation.comparison import INPUT, TRUTH, Comparison, in_all
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.scoring import Triple, read_truth, score_files
from utils.evaluation.sequence_scores import Lpips, find_lpips
from utils.files import write_text
from utils.image import in_8bit, read_8bit, to_tensor
from utils.progress import Progress
from utils.report import amount, write_comparison

LPIPS = "lpips"
DEFAULT = ("psnr", "ssim")
SHOWN = 6  # images on the page: half of them the worst, half the best


@dataclass(frozen=True)
class Material:
    """The files that are compared, each as {image: file}.

    sharp: ground truth; blurry: the input, {} where it is unknown; restored: {folder: its results}.
    wanted: the images to compare, None for all with ground truth.
    """

    sharp: Mapping[str, Path]
    blurry: Mapping[str, Path]
    restored: Mapping[str, Mapping[str, Path]]
    wanted: Sequence[str] | None = field(default=None)

    def pictures(self, name: str) -> dict[str, np.ndarray]:
        """{folder, input or ground truth: 8-bit picture [H,W,3]} of an image."""
        shown = {label: read_8bit(files[name]) for label, files in self.restored.items()}
        if name in self.blurry:
            shown[INPUT] = read_8bit(self.blurry[name])
        shown[TRUTH] = in_8bit(read_truth(self.sharp[name])[0])
        return shown


def check_alone(config: Any) -> None:
    """Raises UserError for options that mean another kind of test beside --compare."""
    others = ("table", "restored_dir", "weights")
    given = [name for name in others if getattr(config, name, None)]
    if config.compare and given:
        raise UserError(
            f"--compare is about folders of results alone: leave --{given[0]} out, or score one "
            "folder without --compare"
        )
    if config.metrics and not config.compare:
        raise UserError(
            f"--metrics {' '.join(config.metrics)} belongs to --compare: without it the metrics "
            "are those of the protocol"
        )


def compare_files(
    material: Material, protocol: str, metrics: Sequence[str] | None, clips: bool = False
) -> Comparison:
    """Score every folder by a protocol.

    metrics: psnr, ssim, lpips (None: DEFAULT), of which a protocol may have several kinds. clips:
    names are CLIP/FRAME, and tests count clips. Raises UserError where nothing can be compared.
    """
    wanted = list(material.sharp if material.wanted is None else material.wanted)
    names, remarks = in_all(wanted, material.sharp, material.restored)
    words = metrics or DEFAULT
    known = PROTOCOLS[protocol].metrics
    chosen = [name for word in words if word != LPIPS for name in known if word in name]
    lpips = None
    if LPIPS in words:
        lpips, reason = _lpips(protocol)
        remarks += [reason] if reason else []
    if not chosen and lpips is None:
        raise UserError(f"nothing to compare by: {remarks[-1]}")
    rows: dict[str, dict[str, dict]] = {}
    inputs: dict[str, float] = {}
    for label, files in material.restored.items():
        blurry = material.blurry if not rows else {}  # the input is scored once
        triples = [
            Triple(name, files[name], material.sharp[name], blurry.get(name)) for name in names
        ]
        scores = score_files(triples, protocol, metrics=chosen)
        inputs = inputs or scores.input_mean
        rows[label] = {str(row["name"]): row for row in scores.rows}
    if lpips:
        _add_lpips(lpips, material, rows)
        chosen.insert(0 if words[0] == LPIPS else len(chosen), LPIPS)
    return Comparison(
        f"protocol {protocol}, {amount(len(names), 'image')}",
        chosen,
        rows,
        inputs,
        "clip" if clips else "image",
        {name: name.rpartition("/")[0] for name in names} if clips else {},
        remarks,
    )


def finish_comparison(
    folder: Path,
    title: str,
    comparison: Comparison,
    pictures: Callable[[str], dict[str, np.ndarray]],
    config: str,
    report: bool,
) -> None:
    """Print the table; write comparison.json, comparison.csv, config.yaml and report.html.

    pictures: gives what is shown of an image, {label: 8-bit picture [H,W,3]} of one size.
    """
    print(comparison.table())
    comparison.write(folder)
    write_text(folder / "config.yaml", config)
    hint = ""
    if report:
        shown = {name: pictures(name) for name in comparison.extremes(SHOWN)}
        words = {name: comparison.sentence(name) for name in shown}
        write_comparison(folder / "report.html", title, comparison.table(), shown, words)
        hint = " (open report.html there)"
    print(f"results: {folder}{hint}")


def _lpips(protocol: str) -> tuple[Lpips | None, str]:
    """(LPIPS, "") where the protocol's pictures can be compared by it, else (None, the reason)."""
    if PROTOCOLS[protocol].aligned:
        return None, f"LPIPS not computed: protocol {protocol} compares registered pictures"
    return find_lpips(ROOT / "pretrain_models")


def _add_lpips(lpips: Lpips, material: Material, rows: dict[str, dict[str, dict]]) -> None:
    """LPIPS of every image of every folder, into its row."""
    names = list(next(iter(rows.values())))
    with torch.inference_mode():
        for name in Progress(names, "LPIPS", unit="image", leave=False):
            sharp = to_tensor(read_truth(material.sharp[name])[0])[None]
            for label, files in material.restored.items():
                restored = to_tensor(read_8bit(files[name]))[None]
                rows[label][name][LPIPS] = float(lpips(restored, sharp))
