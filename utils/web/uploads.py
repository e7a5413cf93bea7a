"""Uploads of a visitor that are taken: photos, clips and bursts within the page's limits."""

import itertools
from pathlib import Path
from typing import Protocol

from utils.errors import UserError
from utils.web.visitors import Visitor


class Limits(Protocol):
    """The options of the page that limit uploads; see app.py: AppConfig."""

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
            f"{limits.photo_megapixels:g} are taken here"
        )
    return photo


def take_clip(
    limits: Limits, visitor: Visitor, upload: str | None, folder: Path
) -> tuple[Path, int]:
    """An uploaded clip in a folder, and its number of frames.

    Raises UserError for one that is too long or too large. All frames are decoded once, as headers
    may be wrong.
    """
    from utils.video import EXTENSIONS, VideoFile

    if not upload or not isinstance(upload, str):
        raise UserError("no clip yet: drop one first")
    clip = visitor.take(upload, folder, EXTENSIONS)
    video = VideoFile(clip)
    height, width = video.size
    if height * width > limits.video_megapixels * 1e6:
        raise UserError(
            f"{clip.name} is {width}x{height}: frames of at most {limits.video_megapixels:g} "
            "megapixels are taken here"
        )
    frames = sum(1 for _ in itertools.islice(video, limits.video_frames + 1))
    if frames > limits.video_frames:
        raise UserError(
            f"{clip.name} has more than {limits.video_frames} frames, the most that are taken "
            "here: cut it"
        )
    return clip, frames


def take_shots(limits: Limits, visitor: Visitor, uploads: list[str], folder: Path) -> Path:
    """The pictures of a burst in a folder, or one clip; returns the folder, or the clip."""
    from utils.video import is_video

    if any(is_video(Path(upload)) for upload in uploads):
        if len(uploads) > 1:
            raise UserError("give several pictures, or one clip alone")
        clip, _ = take_clip(limits, visitor, uploads[0], folder)
        return clip
    if len(uploads) > limits.burst:
        raise UserError(
            f"{len(uploads)} pictures are too many: a burst has at most {limits.burst} here "
            "(--burst)"
        )
    for number, upload in enumerate(uploads or [None], 1):
        take_photo(limits, visitor, upload, folder, number)
    return folder
