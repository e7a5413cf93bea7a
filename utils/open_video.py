"""Opening video files of any origin: containers and codecs by an allow-list, limits before work.

FFmpeg chooses its reader by content, too: a file called a.mp4 may be a list (HLS, DASH, concat,
SDP) that names other files or addresses, which it would then open. Here it opens the one file, with
the readers below.
"""

import os
from pathlib import Path

import av
import av.error

from utils.errors import UserError
from utils.files import check_regular

CONTAINERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "asf",
)  # fmt: skip
# FFmpeg's names of formats, whichever decoder of them it has.
CODECS = (
    "h264", "hevc", "av1", "vvc", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2",
    "msmpeg4v3", "h263", "wmv1", "wmv2", "wmv3", "vc1", "mjpeg", "theora", "svq3", "cinepak",
    "prores", "dnxhd", "cfhd", "hap", "qtrle", "dvvideo", "v210", "rawvideo", "ffv1", "ffvhuff",
    "huffyuv", "utvideo", "magicyuv", "png",
)  # fmt: skip
MAX_PIXELS = 2**26  # of a frame: 8192 x 8192
MAX_FRAMES = 20_000_000  # four days at 60 frames per second
MAX_SECONDS = 1_000_000.0  # eleven days
MAX_RATE = 100_000  # frames per second; faster clocks can't be written


def open_container(path: str | os.PathLike) -> av.container.InputContainer:
    """A video file, opened by PyAV; nothing else is opened on its behalf.

    Raises UserError, which names the file, for anything but a regular file in one of CONTAINERS.
    """
    try:
        check_regular(path)
        return av.open(
            f"file:{Path(path).absolute()}",
            metadata_errors="replace",  # cameras write their notes in any encoding
            options={"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)},
        )
    except FileNotFoundError:
        raise UserError(f"no such video: {path}") from None
    except UserError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"{path} can't be opened as a video, it may be truncated or of another kind "
            f"({', '.join(CONTAINERS)} are read): {getattr(error, 'strerror', None) or error}"
        ) from error


def check_stream(stream: av.VideoStream, path: str | os.PathLike) -> None:
    """Raises UserError for a codec that isn't read and for sizes and lengths beyond the limits.

    It looks at what the header says; no frame is decoded.
    """
    context = stream.codec_context
    codec = context.codec.canonical_name if context else "an unknown codec"
    if codec not in CODECS:
        raise UserError(f"{path}: video in {codec} isn't read, only {', '.join(CODECS)}")
    if context.width * context.height > MAX_PIXELS:
        raise UserError(
            f"{path}: frames of {context.width}x{context.height} pixels are too large: at most "
            f"{MAX_PIXELS:,} pixels are read"
        )
    rate = stream.average_rate or stream.guessed_rate or 0
    if rate > MAX_RATE:
        raise UserError(
            f"{path} claims {float(rate):,.0f} frames per second: at most {MAX_RATE:,} are read"
        )
    seconds = float((stream.duration or 0) * (stream.time_base or 0))
    if stream.frames > MAX_FRAMES or seconds > MAX_SECONDS:
        raise UserError(
            f"{path} says that it has {stream.frames:,} frames in {seconds:,.0f} s: cut it into "
            f"parts of at most {MAX_FRAMES:,} frames and {MAX_SECONDS:,.0f} s, if that is true"
        )
