"""What a video file says of itself: one record, which a restored copy repeats.

Numbers of colours are those of ITU-T H.273, which FFmpeg uses, too.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace

from utils.errors import UserError

BT709 = 1
BT2020 = 9
P3 = 12  # with the white of displays
UNKNOWN = 2
PQ = 16  # SMPTE ST 2084, of HDR10
HLG = 18  # ARIB STD-B67
RGB = 0  # as a matrix: none
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
SD_HEIGHT = 576  # untagged video up to this height is BT.601, above it BT.709, as players assume
# Of the container itself, not of what it holds.
_OWN_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder", "software")
# What frames carry and no encoder here writes.
_LEFT_OUT = {
    Type.A53_CC: "closed captions",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    Type.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    Type.SPHERICAL: "description as a spherical (360 degrees) video",
    Type.STEREO3D: "description as a stereoscopic (3D) video",
}
# (turns, mirrored) by the signs of a display matrix
_AXES_KEPT = {
    (True, True): (0, False),
    (False, True): (0, True),
    (True, False): (2, True),
    (False, False): (2, False),
}
_AXES_EXCHANGED = {
    (True, True): (1, True),
    (True, False): (3, False),
    (False, True): (1, False),
    (False, False): (3, True),
}


@dataclass(frozen=True)
class Colours:
    """How the values are meant; what a file leaves open is BT.709."""

    primaries: int = BT709
    transfer: int = BT709
    matrix: int = BT709

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (PQ, HLG)

    @property
    def is_common(self) -> bool:
        """Whether a program that knows nothing of colours shows them right, or nearly so."""
        return not self.is_hdr and self.primaries not in (BT2020, P3)


@dataclass(frozen=True)
class VideoProperties:
    """The properties of a video whose frames are read upright and deinterlaced.

    size: (height, width) of the upright frame. rate: frames per second. time_base: unit of
    timestamps, s. path: where sound and subtitles are, None without. count: frames as the header
    says, cut-off ones included; None where it does not. start: of picture or sound on the file's
    clock, s. length: of a part of the file that begins there, s; None: all of it. deep: whether a
    value has more than 8 bits. light: mastering display and light levels as x265 spells them.
    pixel_aspect: width to height of an upright pixel. turns, mirrored: how often the stored frame
    is turned by 90 degrees (counterclockwise), and whether it is mirrored left-right before.
    chapters: as PyAV has them. left_out: what no copy keeps.
    """

    size: tuple[int, int]
    rate: Fraction
    time_base: Fraction
    path: Path | None = None
    count: int | None = None
    start: Fraction = Fraction(0)
    length: Fraction | float | None = None
    deep: bool = False
    colours: Colours = Colours()
    light: str = ""
    pixel_aspect: Fraction = Fraction(1)
    turns: int = 0
    mirrored: bool = False
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    chapters: Sequence[dict] = ()
    left_out: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The usual time between two frames, in time bases."""
        return round(1 / self.rate / self.time_base)

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """A stored frame [h,w,3] as it is shown, [H,W,3]."""
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(np.rot90(pixels, self.turns))


def read_properties(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    first: av.VideoFrame,
) -> VideoProperties:
    """The record of a video stream and its first frame.

    Raises UserError for colours that can't be converted to RGB.
    """
    matrix = source_matrix(first, path)
    colours = Colours(
        _known(first.color_primaries),
        _known(first.color_trc),
        matrix if first.colorspace in MATRICES else BT709,
    )
    side_data = {entry.type: bytes(entry) for entry in first.side_data}
    turns, mirrored, angle = _orientation(side_data.get(Type.DISPLAYMATRIX))
    size = (first.height, first.width)
    pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
    if turns % 2:
        size = size[::-1]
        pixel_aspect = 1 / pixel_aspect
    left_out = [words for kind, words in _LEFT_OUT.items() if kind in side_data]
    if angle:
        left_out.append(f"rotation by {angle} degrees")
    if _has_alpha(stream, first):
        left_out.append("transparency (alpha)")
    bits = max(component.bits for component in first.format.components)
    return VideoProperties(
        size=size,
        rate=stream.average_rate or stream.guessed_rate or Fraction(25),
        time_base=stream.time_base,
        path=path,
        count=stream.frames or None,
        start=_start(container, stream),
        deep=bits > 8 or colours.is_hdr,
        colours=colours,
        light=_light(side_data),
        pixel_aspect=pixel_aspect,
        turns=turns,
        mirrored=mirrored,
        metadata=_metadata(container),
        chapters=container.chapters(),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def source_matrix(frame: av.VideoFrame, path: Path) -> int:
    """The matrix that a frame is tagged with, else the one that players assume for its size."""
    matrix = int(frame.colorspace)
    if matrix in MATRICES or matrix == RGB:
        return matrix
    if matrix in (UNKNOWN, 3):
        return 6 if frame.height <= SD_HEIGHT else BT709
    raise UserError(
        f"{path}: its colours are stored with matrix {matrix} of ITU-T H.273, which can't be read "
        "here: convert the video first"
    )


def attached_picture(stream: av.stream.Stream) -> bool:
    """Whether a video stream is a cover picture."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _known(number: int) -> int:
    """A tag of primaries or transfer, BT.709 for none and for reserved numbers."""
    return BT709 if number in (0, UNKNOWN, 3) else int(number)


def _orientation(matrix: bytes | None) -> tuple[int, bool, int]:
    """(turns, mirrored) of a display matrix, and an angle in degrees that is no right one."""
    if matrix is None or len(matrix) < 36:
        return 0, False, 0
    # ISO/IEC 14496-12: x' = a x + c y, y' = b x + d y
    a, b, _, c, d, *_ = struct.unpack("<9i", matrix[:36])
    if max(abs(b), abs(c)) <= 0.01 * max(abs(a), abs(d)):
        return *_AXES_KEPT[a > 0, d > 0], 0
    if max(abs(a), abs(d)) <= 0.01 * max(abs(b), abs(c)):
        return *_AXES_EXCHANGED[b > 0, c > 0], 0
    return 0, False, round(math.degrees(math.atan2(b, a)))


def _start(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """When the earlier one of picture and sound starts; 0 where that is before 0."""
    starts = [
        track.start_time * track.time_base
        for track in (stream, *container.streams.audio)
        if track.start_time is not None
    ]
    return max(min(starts, default=Fraction(0)), Fraction(0))


def _has_alpha(stream: av.VideoStream, frame: av.VideoFrame) -> bool:
    # WebM keeps transparency beside the stream, where FFmpeg's decoder does not look
    beside = stream.metadata.get("alpha_mode", "0") != "0"
    return beside or any(component.is_alpha for component in frame.format.components)


def _metadata(container: av.container.InputContainer) -> Mapping[str, str]:
    entries = container.metadata.items()
    return MappingProxyType(
        {key: value for key, value in entries if key.lower() not in _OWN_METADATA}
    )


def _light(side_data: Mapping[Type, bytes]) -> str:
    """SMPTE ST 2086 and CTA-861.3 in x265's spelling and units (0.00002; 0.0001 cd/m2)."""
    words = []
    mastering = side_data.get(Type.MASTERING_DISPLAY_METADATA)
    if mastering is not None and len(mastering) >= 88:
        numbers = struct.unpack("<22i", mastering[:88])
        pairs = list(zip(numbers[:20:2], numbers[1:20:2]))
        if all(numbers[20:]) and all(denominator for _, denominator in pairs):
            values = [Fraction(*pair) for pair in pairs]
            red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y = (
                round(value * 50000) for value in values[:8]
            )
            darkest, brightest = (round(value * 10000) for value in values[8:])
            words.append(
                f"master-display=G({green_x},{green_y})B({blue_x},{blue_y})R({red_x},{red_y})"
                f"WP({white_x},{white_y})L({brightest},{darkest})"
            )
    level = side_data.get(Type.CONTENT_LIGHT_LEVEL)
    if level is not None and len(level) >= 8:
        words.append("max-cll={},{}".format(*struct.unpack("<2I", level[:8])))
    return ":".join(words)
