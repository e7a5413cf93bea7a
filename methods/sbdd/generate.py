"""Make blurry/sharp clips from sharp videos (exposures over real frames) or from sharp pictures (a camera moving over each)."""

import math
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.catalog import Video, find_pictures, find_videos
from data.clips import write_clip
from data.synthesis.exposure import exposed_frame, frames_needed, picture_clip
from methods.sbdd.config import GenerateConfig
from utils.config import to_yaml
from utils.errors import UserError
from utils.files import write_text
from utils.image import read_image
from utils.report import contact_sheet_of_rows
from utils.video import FrameFolder, VideoFile

SHEET_ROWS = 6


def main(config: GenerateConfig) -> None:
    """Write the clips that are not there yet, contact_sheet.png and the configuration."""
    _check(config)
    if config.source == "pictures":
        paths = find_pictures(config.data_path)
        jobs = {str(path.relative_to(config.data_path).with_suffix("")).replace("/", "_"): path for path in paths}
        make = _frames_of_picture
    else:
        jobs = {video.name: video for video in find_videos(config.data_path, "frames").videos}
        make = _frames_of_video
    write_text(config.output_dir / "config.yaml", to_yaml(config))
    made = 0
    for name, source in tqdm(jobs.items(), unit="clip", disable=None):
        if not (config.output_dir / "blur" / name).is_dir():
            write_clip(config.output_dir, name, make(config, name, source))
            made += 1
    _draw_sheet(config.output_dir, list(jobs)[:SHEET_ROWS])
    print(f"{made} clips made, {len(jobs) - made} were there already: {config.output_dir} (look at contact_sheet.png)")


def _frames_of_picture(config: GenerateConfig, name: str, path: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    pixels = read_image(path)
    if pixels.shape[0] < config.height or pixels.shape[1] < config.width:
        raise UserError(f"{path} is {pixels.shape[1]}x{pixels.shape[0]}, smaller than the window {config.width}x{config.height}")
    rng = np.random.default_rng((config.seed, zlib.crc32(name.encode())))
    clip = picture_clip(_floats(pixels), config.frames, config.blur, config.exposure, (config.height, config.width), rng)
    for index, (blurry, sharp) in enumerate(zip(*clip)):
        yield f"{index:05d}", blurry, sharp


def _frames_of_video(config: GenerateConfig, name: str, video: Video) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """One pair per exposure, named by the number of its middle frame; as many frames are held as one exposure needs."""
    span = frames_needed(config.exposure, config.interpolate)
    stride = config.stride or math.ceil(config.exposure)
    window: deque[np.ndarray] = deque(maxlen=span)
    made = 0
    for index, pixels in enumerate(VideoFile(video.file) if video.file else FrameFolder(video.blurry)):
        window.append(_floats(pixels))
        if len(window) == span and (index + 1 - span) % stride == 0:
            yield f"{index - span // 2:05d}", exposed_frame(list(window), config.exposure, config.interpolate), window[span // 2]
            made += 1
    if not made:
        raise UserError(f"video {name} is too short: an exposure of {config.exposure:g} intervals needs {span} frames")


def _check(config: GenerateConfig) -> None:
    if not config.interpolate and config.exposure < 2:
        raise UserError(f"an exposure of {config.exposure:g} intervals holds a single frame: average at least 2, or interpolate")
    if config.exposure <= 0 or config.stride < 0:
        raise UserError(f"the exposure must be positive and the stride not negative, got {config.exposure:g} and {config.stride}")
    if config.source == "pictures" and config.exposure > 1:
        raise UserError(f"from pictures the exposure is at most 1 frame interval, got {config.exposure:g} (--config pictures has 0.8)")


def _draw_sheet(folder: Path, names: list[str]) -> None:
    rows = {}
    for name in names:
        frames = sorted((folder / "blur" / name).iterdir())
        frame = frames[len(frames) // 2]
        rows[f"{name}/{frame.stem}"] = {"blurry": read_image(frame), "sharp": read_image(folder / "gt" / name / frame.name)}
    contact_sheet_of_rows(folder / "contact_sheet.png", rows)


def _floats(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
