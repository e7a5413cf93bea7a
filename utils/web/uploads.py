"""Uploads of a visitor that are taken: photos, clips and bursts within the page's limits."""

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from utils.errors import UserError
from utils.web.visitors import Visitor

if TYPE_CHECKING:
    from utils.video import VideoFile

LONGEST_CLIP_S = 100_000


class Limits(Protocol):
    """The options of the page that limit uploads; see utils/web/config.py."""

    photo_megapixels: float
    burst: int
    video_frames: int
    video_megapixels: float


def whole_number(value: object, lowest: int, highest: int, what: str) -> int:
    """A field's number; raises UserError for what the field can't give."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not lowest <= value <= highest or value != int(value):
        raise UserError(f"{what} must be a whole number from {lowest} to {highest}")
    return int(value)


def take_photo(
    limits: Limits, visitor: Visitor, upload: str | None, folder: Path, number: int | None = None
) -> Path:
    """An uploaded photo in a folder; raises UserError where its header says that it is too large.

    number: see Visitor.take.
    """
    from utils.image import EXTENSIONS, image_size

    if not upload or not isinstance(upload, str):
        raise UserError("no photo yet: drop one first")
    photo = visitor.take(upload, folder, EXTENSIONS, number)
    height, width = image_size(photo)
    if height * width > limits.photo_megapixels * 1e6:
        raise UserError(
            f"{photo.name} is {width}x{height}, {height * width / 1e6:.2f} megapixels: at most "
            f"{limits.photo_megapixels:g} are taken here (--photo_megapixels)"
        )
    return photo


def take_clip(
    limits: Limits, visitor: Visitor, upload: str | None, folder: Path, start: object = None
) -> tuple[Path, int]:
    """An uploaded clip in a folder, and its number of frames.

    start: s; the part from there on, as long and as large as is taken, becomes the clip. Without it
    UserError is raised for a clip that is too long or too large. All frames are decoded once, as
    headers may be wrong.
    """
    from utils.video import EXTENSIONS, VideoFile

    if not upload or not isinstance(upload, str):
        raise UserError("no clip yet: drop one first")
    if start is not None:
        return _cut_clip(limits, visitor, upload, folder, start)
    clip = visitor.take(upload, folder, EXTENSIONS)
    video = VideoFile(clip)
    height, width = video.size
    if height * width > limits.video_megapixels * 1e6:
        raise UserError(
            f"{clip.name} is {width}x{height}: frames of at most {limits.video_megapixels:g} "
            "megapixels are taken here; it can be shrunk"
        )
    frames = sum(1 for _ in itertools.islice(video, limits.video_frames + 1))
    if frames > limits.video_frames:
        raise UserError(
            f"{clip.name} has more than {limits.video_frames} frames, the most that are taken "
            "here; it can be cut"
        )
    return clip, frames


def _cut_clip(
    limits: Limits, visitor: Visitor, upload: str, folder: Path, start: object
) -> tuple[Path, int]:
    from utils.video import EXTENSIONS, VideoFile
    from utils.video_part import VideoPart, copy_video

    number = isinstance(start, (int, float)) and not isinstance(start, bool)
    if not number or not 0 <= start <= LONGEST_CLIP_S:
        raise UserError("where the clip starts must be a number of seconds")
    whole = VideoFile(visitor.take(upload, folder.with_name("whole"), EXTENSIONS))
    longest = shrunk_side(limits, whole.size)
    part = VideoPart(whole, float(start), frames=limits.video_frames, longest=longest)
    folder.mkdir(parents=True)
    clip = folder / f"{whole.path.stem}.mp4"
    return clip, copy_video(part, clip)


def shrunk_side(limits: Limits, size: tuple[int, int]) -> int:
    """The longer side, px, that frames of a size (height, width) are shrunk to."""
    height, width = size
    scale = min(math.sqrt(limits.video_megapixels * 1e6 / (height * width)), 1)
    return int(max(size) * scale)


def fits(limits: Limits, video: "VideoFile") -> bool:
    """Whether a clip, by what its header says, is as long and as large as is taken."""
    return shrunk_side(limits, video.size) == max(video.size) and (
        (video.count or 0) <= limits.video_frames
    )


def clip_in_words(limits: Limits, video: "VideoFile") -> str:
    """What a clip is, and what of it is taken."""
    height, width = video.size
    words = f"{width}x{height}"
    rate = float(video.properties.rate)
    if video.count:
        words += f", {video.count} frames, {video.count / rate:.1f} s"
    if fits(limits, video):
        return words
    side = shrunk_side(limits, video.size)
    seconds = limits.video_frames / rate
    return (
        f"{words}. That is more than is taken here: at most {limits.video_frames} frames "
        f"({seconds:.1f} s) of {side} px on the longer side. It can be cut and shrunk:"
    )


def take_shots(
    limits: Limits, visitor: Visitor, uploads: list[str], folder: Path, start: object = None
) -> Path:
    """The pictures of a burst in a folder, or one clip; returns the folder, or the clip.

    start: see take_clip.
    """
    from utils.video import is_video

    if any(is_video(Path(upload)) for upload in uploads):
        if len(uploads) > 1:
            raise UserError("give several pictures, or one clip alone")
        clip, _ = take_clip(limits, visitor, uploads[0], folder, start)
        return clip
    if len(uploads) > limits.burst:
        raise UserError(
            f"{len(uploads)} pictures are too many: a burst has at most {limits.burst} here "
            "(--burst)"
        )
    for number, upload in enumerate(uploads or [None], 1):
        take_photo(limits, visitor, upload, folder, number)
    return folder


def name_of(upload: str) -> str:
    """An upload's name, as its visitor knows it."""
    return Path(upload).name
