"""Options of generate.py sbdd. Times in frame intervals, lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option


@dataclass(frozen=True)
class GenerateConfig:
    """Make blurry/sharp clips: OUTPUT_DIR/blur/VIDEO/FRAME.png and OUTPUT_DIR/gt/VIDEO/FRAME.png."""

    data_path: Path = option(Path("dataset/sharp"), "sharp videos (files or folders of frames), or sharp pictures with --source pictures")
    output_dir: Path = option(Path("dataset/generated"), "clips go here; those already there are kept")
    what: Literal["clips"] = option("clips", "what to make")
    source: Literal["videos", "pictures"] = option("videos", "videos: exposures over real frames; pictures: a camera moving over each")
    exposure: float = option(3.0, "time the shutter is open, in frame intervals; from pictures it is at most 1")
    stride: int = option(0, "videos: frames from one exposure to the next; 0 = the exposure rounded up")
    interpolate: bool = option(True, "videos: fill the time between frames by optical flow; --no_interpolate averages whole frames")
    frames: int = option(9, "pictures: frames per clip")
    blur: float = option(9.0, "pictures: mean length of the blur, px")
    height: int = option(240, "pictures: height of the window that moves over the picture, px")
    width: int = option(320, "pictures: its width, px")
    seed: int = option(1, "pictures: seed of the camera's motion; a clip depends on it and on the picture's name alone")


@dataclass(frozen=True)
class TestConfig:
    """Score restored files of real pairs, which need registration first; no network is loaded."""

    sharp_dir: Path | None = option(None, "ground truth: pictures; kohler: a folder or a .mat file (GroundTruth) per picture")
    restored_dir: Path | None = option(None, "restored pictures, paired by name (RealBlur, Koehler, GoPro and plain names are understood)")
    blurry_dir: Path | None = option(None, "blurry pictures, for the input's figures; without it there are none")
    output_dir: Path | None = option(None, "scores.json, scores.csv and report.html go here; default RESTORED_DIR/scores")
    protocol: Literal["realblur", "kohler", "image", "cdvd"] = option("realblur", "how images are compared; see utils/protocol.py")
    workers: int = option(0, "images compared at the same time; 0 = one per core")
    report: bool = option(True, "write report.html")
