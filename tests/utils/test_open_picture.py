"""The formats of pictures that are read are those of a list, and their size is known before."""

import io
import os
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from data.synthesis.masks import find_masks
from utils.errors import UserError
from utils.image import decode_image, image_size, read_image
from utils.open_picture import FORMATS, MAX_PIXELS, decode_with_opencv, tiff_tags
from utils.photo import read_photo

PICTURE = np.random.default_rng(3).integers(0, 256, (24, 32, 3), np.uint8)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\nshowpage\n%%EOF\n"
READERS = (read_image, read_photo, image_size)
Image.init()
WRITTEN = sorted(Image.SAVE.keys() & Image.OPEN.keys())


def saved(name: str) -> bytes | None:
    """The picture in a format of Pillow's; None where Pillow can't write it so."""
    data = io.BytesIO()
    for mode in ("RGB", "L", "1"):
        try:
            Image.fromarray(PICTURE).convert(mode).save(data, name)
        except (OSError, KeyError, ValueError, AttributeError):
            continue
        return data.getvalue()
    return None


def tiff(width: int, height: int, bits: int = 16) -> bytes:
    """The header of a TIFF file in colour, and a few of its bytes."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 2, 273: 146, 277: 3, 278: height}
    tags |= {279: 64}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + bytes(136)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_format_is_read_where_it_is_listed_and_only_there(name, tmp_path):
    content = saved(name)
    if content is None:
        pytest.skip(f"this Pillow can't write {name}")
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in READERS:
        if name in FORMATS:
            read(path)
        else:
            with pytest.raises(UserError, match=r"a\.png is not an image this program can read"):
                read(path)


def test_the_lossless_formats_give_their_pixels():
    for name in ("PNG", "TIFF", "BMP", "PPM"):
        assert np.array_equal(decode_image(saved(name), name), PICTURE), name


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_postscript_starts_no_program(name, tmp_path, monkeypatch):
    helper = tmp_path / "bin" / "gs"
    helper.parent.mkdir()
    helper.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / name).write_bytes(POSTSCRIPT)
    for read in (*READERS, lambda path: find_masks(tmp_path, "labels")(path.stem, PICTURE)):
        with pytest.raises(UserError):
            read(tmp_path / name)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("suffix", [".hdr", ".ras", ".jpg", ".webp", ".bmp"])
def test_opencv_decodes_what_it_is_needed_for_alone(suffix):
    pixels = np.float32(PICTURE) if suffix == ".hdr" else PICTURE
    content = cv2.imencode(suffix, pixels)[1].tobytes()
    with pytest.raises(ValueError, match="not a PNG, TIFF, PGM or PPM file"):
        decode_with_opencv(content, cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    "side", [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (0, 9), (20_000,) * 2]
)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("read", [read_image, read_photo])
def test_a_size_is_refused_before_it_is_decoded(side, bits, read, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(*side, bits))
    with pytest.raises(UserError, match=rf"{tmp_path}/a\.tif.*({side[0]}x{side[1]}|none of)"):
        read(tmp_path / "a.tif")


def test_the_largest_size_is_decoded_when_it_is_whole():
    side = int(MAX_PIXELS**0.5)
    assert side**2 == MAX_PIXELS
    assert tiff_tags(tiff(side, side))[256] == side
    with pytest.raises(ValueError, match="no picture"):  # of its pixels there are but 64 bytes
        decode_with_opencv(tiff(1000, 1000), cv2.IMREAD_UNCHANGED)


def test_big_tiff_tags_are_read():
    data = io.BytesIO()
    Image.fromarray(PICTURE).save(data, "TIFF", big_tiff=True)
    tags = tiff_tags(data.getvalue())
    assert data.getvalue()[2:4] == b"+\0"
    assert (tags[256], tags[257]) == (32, 24)


def test_what_is_no_file_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "itself.png").symlink_to("itself.png")
    (tmp_path / "folder.png").mkdir()
    sentences = {
        "pipe": "a device or a pipe", "endless": "a device or a pipe", "folder": "is a folder",
        "itself": "can't be read", "missing": "no such image",
    }  # fmt: skip
    for name, sentence in sentences.items():
        for read in READERS:
            with pytest.raises(UserError, match=sentence):
                read(tmp_path / f"{name}.png")
