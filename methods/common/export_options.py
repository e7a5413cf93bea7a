"""Options of export.py. Imports nothing heavy, so that --help is instant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option
from utils.options import LOCAL_STATISTICS, WEIGHTS


@dataclass(frozen=True)
class ExportConfig:
    """Write a network into one file that other programs run without this repository."""

    weights: Path | None = option(None, f"{WEIGHTS}; default: the shipped weights")
    format: Literal["onnx", "pt2"] = option(
        "onnx", "onnx: for ONNX Runtime, OpenCV, VapourSynth, ...; pt2: for torch.export.load"
    )
    output: Path | None = option(
        None,
        "the file to write; default: the weights file's name with .onnx or .pt2, in the current "
        "folder",
    )
    size: list[int] | None = option(
        None,
        "height and width of the images, px, which are then fixed; default: any size",
        value="HEIGHT WIDTH",
    )
    local_statistics: bool = option(
        False,
        f"{LOCAL_STATISTICS}, as inference.py does; needs --size, as the windows are laid out for "
        "one size",
    )
