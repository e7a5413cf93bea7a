"""Options of the files that several methods restore and write."""

from dataclasses import dataclass
from typing import Literal

from utils.config import option
from utils.options import CRF, QUALITY

_TIME = "seconds (12.5), minutes and seconds (1:02.5) or a number of frames (300f)"


@dataclass(frozen=True, kw_only=True)
class VideoFileOptions:
    """Which part of a video file is restored, and how the result is encoded."""

    start: str = option(
        "", f"video files: where the part that is restored starts: {_TIME}", value="TIME"
    )
    end: str = option(
        "", "video files: where it ends, as --start; sound is cut with it", value="TIME"
    )
    preview: bool = option(
        False,
        "video files: ten seconds, from --start on and at most to --end, input and result side by "
        "side in VIDEO.preview.mp4",
    )
    codec: Literal["h264", "hevc", "ffv1"] | None = option(
        None,
        "video files: h264 (8 bits) or hevc (8 or 10 bits) in .mp4, or ffv1 (lossless, large) in "
        ".mkv; default: h264, for videos with more than 8 bits hevc",
    )
    crf: int = option(
        CRF, "video files: quality of h264 and hevc, 0 to 51; higher is smaller, worse"
    )
    lossless: bool = option(
        False, "video files: lossless RGB H.264 in .mkv; for videos with more than 8 bits ffv1"
    )


@dataclass(frozen=True, kw_only=True)
class PictureFileOptions:
    """How restored photos and frames are written."""

    format: Literal["png", "jpg"] = option(
        "png",
        "photos and folders of frames: png, or jpg, which is smaller and has 8 bits and no "
        "transparency",
    )
    quality: int | None = option(
        None, f"--format jpg: quality, 1 to 100; default {QUALITY}", minimum=1
    )
