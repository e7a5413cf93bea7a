"""Photos as people have them.

A restored copy keeps bit depth, transparency, greyness, colour profile, resolution and the camera's
notes; as JPEG all but what that format can't hold.
"""

import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from utils import tiff
from utils.decode import ORIENTATION, decode
from utils.errors import DAMAGE, UserError
from utils.files import read_regular, write_bytes
from utils.image import in_depth
from utils.open_picture import PNG, TIFF, damage_as_sentence, open_picture
from utils.options import QUALITY

# What a PNG says of its colours besides a profile, and we repeat: gamma, primaries, sRGB, the code
# points of ITU-T H.273, mastering display, light levels.
_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
_HEADER_BYTES = 33  # of a PNG: signature 8, header chunk 25
_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825
# Of a TIFF's tags those that describe a photo: description, maker, model, program, date, artist,
# host, copyright. The others say how its data lie.
_TIFF_NOTES = (270, 271, 272, 305, 306, 315, 316, 33432)
_MAX_XMP_BYTES = 2**20
_INCH_M = 0.0254
_MAX_JPEG_SIDE = 65_500  # px, of libjpeg
# Of a JPEG's segments, which have 65,535 bytes with their length and their kind.
_MAX_JPEG_EXIF = 65_533
_MAX_JPEG_XMP = 65_504
# What PNG files say of plain sRGB beside or instead of sRGB itself: gamma, white and primaries.
_PLAIN_SRGB = {
    b"gAMA": struct.pack(">I", 45_455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}


class Photo(NamedTuple):
    """A photo file's upright pixels [H,W,3], uint8 or uint16, and what a restored copy keeps.

    alpha: transparency [H,W] of the pixels' type, or None. grey: whether the file holds no colours.
    profile: its ICC profile where that is one of the pixels' colours. exif, xmp: the camera's and
    the editor's notes without the orientation; None also where they are damaged. dpi: dots per inch
    (x, y). colour_chunks: those of a PNG that say what its values mean, as they are.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    profile: bytes | None = None
    exif: bytes | None = None
    xmp: str | None = None
    dpi: tuple[float, float] | None = None
    colour_chunks: bytes = b""


def read_photo(path: str | os.PathLike) -> Photo:
    """Read a photo; errors as in utils/image.py: read_image."""
    with damage_as_sentence(path):
        data = read_regular(path)
        decoded = decode(data, path)
        photo = Photo(decoded.pixels, decoded.alpha, decoded.grey)
        if data.startswith(TIFF):
            data = tiff.only_page(data, path).data
        try:
            with open_picture(data) as image:
                return photo._replace(
                    profile=_profile(image, decoded.grey),
                    exif=_exif(image),
                    xmp=_xmp(image),
                    dpi=_dpi(image),
                    colour_chunks=_colour_chunks(data),
                )
        except UnidentifiedImageError:  # a 16-bit TIFF in colour, which OpenCV alone reads
            return photo


def write_photo(
    path: str | os.PathLike, image: Tensor, photo: Photo, quality: int = QUALITY
) -> None:
    """Write a restored image [3,H,W] in [0,1], whole, with what the photo keeps.

    As PNG, or to a path that ends with .jpg as JPEG of a quality, 1 to 100, see `lost_in_jpeg`.
    """
    as_jpeg = Path(path).suffix == ".jpg"
    deep = photo.pixels.dtype == np.uint16 and not as_jpeg
    pixels = in_depth(image, np.uint16 if deep else np.uint8)
    if photo.grey:
        pixels = np.round(pixels.mean(-1, keepdims=True)).astype(pixels.dtype)
    if as_jpeg:
        write_bytes(path, encode_jpeg(pixels, quality, photo))
        return
    if photo.alpha is not None:
        pixels = np.concatenate((pixels, photo.alpha[..., None]), -1)
    png = _deep_png(pixels) if deep else _png(pixels)
    write_bytes(path, png[:_HEADER_BYTES] + _notes(photo) + png[_HEADER_BYTES:])


def encode_jpeg(pixels: np.ndarray, quality: int = QUALITY, photo: Photo | None = None) -> bytes:
    """A JPEG file's content of pixels [H,W,1 or 3] uint8, colours in full resolution (4:4:4).

    photo: whose profile and notes it keeps. Raises UserError for sides that JPEG can't hold.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > _MAX_JPEG_SIDE:
        raise UserError(f"a picture of {width}x{height} px is too large for JPEG: write PNG")
    notes: dict = {}
    if photo:
        kept = {"icc_profile": photo.profile, "dpi": photo.dpi}
        if photo.exif and len(photo.exif) <= _MAX_JPEG_EXIF:
            kept["exif"] = photo.exif
        if photo.xmp and len(photo.xmp.encode()) <= _MAX_JPEG_XMP:
            kept["xmp"] = photo.xmp.encode()
        notes = {name: value for name, value in kept.items() if value}
    file = io.BytesIO()
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels)
    image.save(file, "JPEG", quality=quality, subsampling=0, **notes)
    return file.getvalue()


def lost_in_jpeg(photo: Photo) -> list[str]:
    """What of a photo a JPEG file can't hold, in words."""
    described = photo.colour_chunks
    for kind, content in _PLAIN_SRGB.items():
        described = described.replace(_chunk(kind, content), b"")
    found = {
        "16 bits (8 are left)": photo.pixels.dtype == np.uint16,
        "transparency": photo.alpha is not None,
        "colours as PNG describes them": described
        and not photo.profile
        and b"sRGB" not in described,
        "EXIF data of more than 64 KB": len(photo.exif or b"") > _MAX_JPEG_EXIF,
        "XMP of more than 64 KB": len((photo.xmp or "").encode()) > _MAX_JPEG_XMP,
    }
    return [words for words, is_lost in found.items() if is_lost]


def _png(pixels: np.ndarray) -> bytes:
    """A PNG file's content of pixels [H,W,1-4] uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _deep_png(pixels: np.ndarray) -> bytes:
    """A PNG file's content of pixels [H,W,1-4] uint16, which PIL has not in colour."""
    order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]))[1].tobytes()


def _notes(photo: Photo) -> bytes:
    """The chunks of a PNG file with all that the photo keeps."""
    chunks = photo.colour_chunks
    if photo.profile:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(photo.profile))
    if photo.dpi:
        per_metre = [round(dots / _INCH_M) for dots in photo.dpi]
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if photo.exif:
        chunks += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    if photo.xmp:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + photo.xmp.encode())
    return chunks


def _profile(image: Image.Image, grey: bool) -> bytes | None:
    """The ICC profile if it is one for the pixels, which are RGB or grey; of CMYK and Lab none."""
    if image.mode in ("CMYK", "LAB"):
        return None
    profile = image.info.get("icc_profile") or b""
    return profile if profile[16:20] == (b"GRAY" if grey else b"RGB ") else None


def _exif(image: Image.Image) -> bytes | None:
    try:
        exif = image.getexif()
        if image.format == "TIFF":
            exif = _without_structure(exif)
        exif.pop(ORIENTATION, None)
        return exif.tobytes() if len(exif) else None
    except DAMAGE:
        return None  # PIL can't write back what it read from a damaged or odd tag


def _without_structure(exif: Image.Exif) -> Image.Exif:
    """The notes among a TIFF's tags."""
    notes = Image.Exif()
    for tag in _TIFF_NOTES:
        if tag in exif:
            notes[tag] = exif[tag]
    for tag in (_EXIF_IFD, _GPS_IFD):
        inner = exif.get_ifd(tag)
        if inner:
            notes[tag] = dict(inner)
    return notes


def _xmp(image: Image.Image) -> str | None:
    try:
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        text = xmp if isinstance(xmp, str) else xmp.decode()
    except DAMAGE:
        return None
    text = text.strip("\0")
    if not text or len(text) > _MAX_XMP_BYTES:
        return None
    # the pixels are upright
    return re.sub(r"(tiff:Orientation(?:=\"|>))\d", r"\g<1>1", text)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(dots) for dots in image.info["dpi"])
    except DAMAGE:
        return None
    return (x, y) if 1 <= x < 1e6 and 1 <= y < 1e6 else None


def _colour_chunks(data: bytes) -> bytes:
    """The chunks of _COLOUR_CHUNKS of a PNG file's content, of others nothing."""
    if not data.startswith(PNG):
        return b""
    found = b""
    position = len(PNG)
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if kind == b"IDAT":
            break
        end = position + length + 12
        if kind in _COLOUR_CHUNKS and end <= len(data):
            found += data[position:end]
        position = end
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    length = struct.pack(">I", len(content))
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return length + kind + content + checksum
