"""Photos of every kind come out with their colours and notes, or as one sentence.

tifffile, which our reader does not use, writes the TIFF files.
"""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from data.photo_catalog import find_pictures, pictures_by_name
from utils.errors import UserError
from utils.image import image_size, read_image, to_tensor
from utils.photo import Photo, read_photo, write_photo

COLOURS = [(235, 20, 20), (20, 235, 20), (20, 20, 235), (255, 255, 255), (128, 128, 128)]
COLOURS += [(0, 0, 0), (32, 32, 32), (115, 82, 68), (194, 150, 130), (98, 122, 157)]
COLOURS += [(87, 108, 67), (214, 126, 44)]
GOLDEN = Path(__file__).parents[1] / "golden"


def chart() -> np.ndarray:
    """Twelve flat patches [96,128,3] uint8."""
    return np.repeat(np.repeat(np.uint8(COLOURS).reshape(3, 4, 3), 32, 0), 32, 1)


def deep_chart() -> np.ndarray:
    return chart().astype(np.uint16) * 257


def grey_chart() -> np.ndarray:
    return chart()[..., 1]


def ramp(dtype=np.uint8) -> np.ndarray:
    """Transparency [96,128] from a fifth to all."""
    top = np.iinfo(dtype).max
    return np.broadcast_to(np.linspace(top // 5, top, 128).round().astype(dtype), (96, 128)).copy()


def off_by(pixels: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference in 8-bit levels."""
    scale = np.iinfo(pixels.dtype).max / 255
    return float(np.abs(pixels / scale - expected).max())


def restored(path: Path) -> Path:
    """What a network that changes nothing makes of a photo."""
    photo = read_photo(path)
    target = path.with_name(f"{path.stem}_restored.png")
    write_photo(target, to_tensor(photo.pixels), photo)
    return target


TIFF_KINDS = {
    "planar": {"planarconfig": "separate"},
    "planar, deflate, predictor": {
        "planarconfig": "separate",
        "compression": "zlib",
        "predictor": True,
    },
    "planar, tiles": {"planarconfig": "separate", "tile": (32, 48)},
    "planar, strips, big-endian": {
        "planarconfig": "separate",
        "rowsperstrip": 7,
        "byteorder": ">",
    },
    "planar, big": {"planarconfig": "separate", "bigtiff": True},
    "big": {"bigtiff": True},
    "strips": {"rowsperstrip": 5},
}


@pytest.mark.parametrize("kind", TIFF_KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_has_its_colours(tmp_path, kind, dtype):
    options = TIFF_KINDS[kind]
    pixels = chart() if dtype == np.uint8 else deep_chart()
    if options.get("planarconfig"):
        pixels = pixels.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    for path in (tmp_path / "a.tif", restored(tmp_path / "a.tif")):
        read = read_image(path)
        assert read.dtype == dtype and image_size(path) == (96, 128)
        assert off_by(read, chart()) < 0.5


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("associated", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_are_not_multiplied_by_the_transparency(tmp_path, dtype, associated, planar):
    alpha = ramp(dtype)
    colours = chart() if dtype == np.uint8 else deep_chart()
    stored = colours
    if associated:
        stored = np.round(colours * (alpha / np.iinfo(dtype).max)[..., None]).astype(dtype)
    stored = np.dstack((stored, alpha))
    if planar:
        stored = stored.transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        extrasamples=["assocalpha" if associated else "unassalpha"],
    )
    for path in (tmp_path / "a.tif", restored(tmp_path / "a.tif")):
        photo = read_photo(path)
        assert photo.pixels.dtype == dtype
        assert off_by(photo.pixels, chart()) < 3.5  # what rounding after multiplying costs
        assert np.array_equal(photo.alpha, alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_may_be_zero(tmp_path, dtype):
    stored = np.iinfo(dtype).max - grey_chart().astype(dtype) * (257 if dtype == np.uint16 else 1)
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(dtype), photometric="miniswhite")
    photo = read_photo(tmp_path / "a.tif")
    assert photo.grey and photo.pixels.dtype == dtype
    assert off_by(photo.pixels[..., 0], grey_chart()) < 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_is_turned_with_its_transparency(tmp_path, dtype, orientation):
    """As the one with 8 bits and PIL's own turning show it."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (6, 9, 4)).astype(np.uint8)
    shown = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.transpose(1, 0, 2),
        6: np.rot90(values, 3),
        7: np.rot90(values, 2).transpose(1, 0, 2),
        8: np.rot90(values),
    }[orientation]
    stored = values if dtype == np.uint8 else values.astype(np.uint16) * 257
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        extrasamples=["unassalpha"],
        extratags=[(274, 3, 1, orientation, True)],
    )
    photo = read_photo(tmp_path / "a.tif")
    scale = 1 if dtype == np.uint8 else 257
    assert np.array_equal(photo.pixels // scale, shown[..., :3])
    assert np.array_equal(photo.alpha // scale, shown[..., 3])
    assert image_size(tmp_path / "a.tif") == shown.shape[:2]


def test_a_file_of_several_pages_is_refused_with_their_number(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for shift in range(3):
            writer.write(np.roll(chart(), shift, 1), photometric="rgb", contiguous=False)
    for read in (read_image, read_photo, image_size):
        with pytest.raises(UserError, match="a.tif is a file of 3 pages"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_reduced_page_is_never_the_picture(tmp_path, dtype):
    pixels = chart() if dtype == np.uint8 else deep_chart()
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(pixels[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(pixels, photometric="rgb")
    assert off_by(read_image(tmp_path / "a.tif"), chart()) < 0.5
    assert image_size(tmp_path / "a.tif") == (96, 128)
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(pixels[::4, ::4], photometric="rgb", subfiletype=1)
    with pytest.raises(UserError, match="b.tif holds reduced pictures alone.*develop it first"):
        read_image(tmp_path / "b.tif")


def test_tiff_values_that_are_not_read_are_named(tmp_path, capfd):
    for pixels, options, words in (
        (chart() / np.float32(255), {"photometric": "rgb"}, "32-bit values: save it with 8 or 16"),
        (chart().astype(np.int16), {"photometric": "rgb"}, "signed or floating-point values"),
        (chart(), {"photometric": "rgb", "bigtiff": True, "byteorder": ">"}, "big-endian BigTIFF"),
        (
            np.zeros((8, 8, 4), np.uint16),
            {"photometric": "separated"},
            "4 channels with photometric interpretation 5: save it as grey or RGB",
        ),
    ):
        tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
        with pytest.raises(UserError, match=f"a.tif.*{words}"):
            read_photo(tmp_path / "a.tif")
    cv2.imwrite(str(tmp_path / "a.tif"), chart() / np.float32(255))
    with pytest.raises(UserError, match="a.tif.*floating-point values"):
        read_photo(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")  # no line of OpenCV's own


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("maximum", [65535, 1023])
@pytest.mark.parametrize("grey", [False, True])
def test_deep_portable_pictures_have_16_bits(tmp_path, grey, maximum, text):
    pixels = grey_chart() if grey else chart()
    values = np.round(pixels / 255 * maximum).astype(">u2")
    kind = {(True, True): 2, (False, True): 3, (True, False): 5, (False, False): 6}[grey, text]
    body = " ".join(map(str, values.ravel())).encode() if text else values.tobytes()
    header = f"P{kind}\n# a comment 1 2\n128 96\n{maximum}\n".encode()
    (tmp_path / "a.ppm").write_bytes(header + body)
    photo = read_photo(tmp_path / "a.ppm")
    assert photo.pixels.dtype == np.uint16 and photo.grey == grey
    expected = np.round(values / maximum * 65535)
    assert np.array_equal(photo.pixels, np.dstack([expected] * 3) if grey else expected)


def lab_tiff(path: Path) -> None:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    ImageCms.applyTransform(Image.fromarray(chart()), transform).save(path)


def test_lab_becomes_srgb_without_its_profile(tmp_path):
    lab_tiff(tmp_path / "a.tif")
    photo = read_photo(tmp_path / "a.tif")
    assert photo.profile is None
    assert off_by(photo.pixels, chart()) < 9  # a step of 8-bit Lab, in saturated colours
    assert np.abs(photo.pixels.astype(int) - chart()).mean() < 1


def test_a_profile_goes_with_the_colours_it_is_for(tmp_path):
    wide = b"\0" * 12 + b"mntrRGB XYZ " + b"\0" * 104
    for name, picture, kept in (
        ("rgb.jpg", Image.fromarray(chart()), wide),
        ("grey.jpg", Image.fromarray(grey_chart()), None),
        ("cmyk.jpg", Image.fromarray(chart()).convert("CMYK"), None),
    ):
        picture.save(tmp_path / name, icc_profile=wide, quality=95)
        assert read_photo(tmp_path / name).profile == kept
    assert Image.open(restored(tmp_path / "rgb.jpg")).info["icc_profile"] == wide


def png_with(kind: bytes, content: bytes, pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    chunk = struct.pack(">I", len(content)) + kind + content + checksum
    return file.getvalue()[:33] + chunk + file.getvalue()[33:]


@pytest.mark.parametrize(
    ("kind", "content"),
    [(b"gAMA", struct.pack(">I", 100000)), (b"cICP", bytes([9, 16, 0, 1])), (b"sRGB", b"\0")],
)
def test_what_a_png_says_of_its_colours_is_kept(tmp_path, kind, content):
    data = png_with(kind, content, chart())
    (tmp_path / "a.png").write_bytes(data)
    start = data.index(kind)
    chunk = data[start - 4 : start + len(content) + 8]
    assert chunk in restored(tmp_path / "a.png").read_bytes()
    assert off_by(read_image(tmp_path / "a_restored.png"), chart()) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resolution_and_notes_are_kept(tmp_path, dtype):
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6" dc:title="Garden"/>'
    if dtype == np.uint8:
        notes = Image.Exif()
        notes[271] = "Maker"
        notes[274] = 6
        notes[0x8769] = {33434: 0.01}
        path = tmp_path / "a.jpg"
        Image.fromarray(chart()).save(path, dpi=(300, 300), exif=notes, xmp=xmp.encode())
    else:
        path = tmp_path / "a.tif"
        tifffile.imwrite(
            path,
            deep_chart(),
            photometric="rgb",
            resolution=(300, 300),
            resolutionunit=2,
            extratags=[
                (271, 2, 0, "Maker", True),
                (274, 3, 1, 6, True),
                (700, 1, len(xmp), xmp.encode(), True),
            ],
        )
    with Image.open(restored(path)) as image:
        assert image.size == (96, 128)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        exif = image.getexif()
        assert exif[271] == "Maker" and exif.get(274, 1) == 1  # PIL looks for it in XMP, too
        assert {256, 258, 273} & set(image.getexif()) == set()  # how the TIFF's data lie
        kept = image.info["XML:com.adobe.xmp"]
        assert 'dc:title="Garden"' in kept and 'tiff:Orientation="1"' in kept
    assert read_photo(tmp_path / "a_restored.png").pixels.dtype == dtype


def exif_jpeg(exif: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(chart()).save(file, "JPEG", quality=95)
    segment = b"Exif\0\0" + exif
    data = file.getvalue()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


ORIENTATION_AS_TEXT = b"II*\0" + struct.pack("<IHHHI", 8, 1, 274, 2, 2) + b"6" + b"\0" * 7


@pytest.mark.parametrize(
    "exif",
    [
        ORIENTATION_AS_TEXT,
        b"II*\0",
        b"",
        b"not exif at all",
        b"II*\0" + struct.pack("<IH", 8, 65535),
        b"MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHII", 274, 5, 1, 10**9),
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 274, 3, 1, 77) + b"\0" * 4,
    ],
)
def test_damaged_notes_cost_the_notes_alone(tmp_path, exif):
    (tmp_path / "a.jpg").write_bytes(exif_jpeg(exif))
    (tmp_path / "b.png").write_bytes(png_with(b"eXIf", exif, chart()))
    for name in ("a.jpg", "b.png"):
        assert image_size(tmp_path / name) == (96, 128)
        pixels = read_image(restored(tmp_path / name))
        assert np.abs(pixels.astype(int) - chart()).mean() < 2


def test_damaged_xmp_is_left_out(tmp_path):
    Image.fromarray(chart()).save(tmp_path / "a.jpg", xmp=b"\xff\xfe\x80 tiff:Orientation")
    assert read_photo(tmp_path / "a.jpg").xmp is None


def test_photos_of_phones_are_read(tmp_path):
    Image.fromarray(chart()).save(tmp_path / "IMG_1.JPG", quality=95)
    Image.fromarray(chart()).save(tmp_path / "saved.jfif", "JPEG", quality=95)
    kinds = {"IMG_1", "saved"}
    if "AVIF" in Image.SAVE:
        Image.fromarray(chart()).save(tmp_path / "P.AVIF", quality=95)
        kinds.add("P")
    found = pictures_by_name(tmp_path)
    assert found.keys() == kinds
    for path in found.values():
        assert np.abs(read_image(path).astype(int) - chart()).mean() < 3


def test_heic_is_read_or_its_package_named(tmp_path, monkeypatch):
    """golden/chart.heic: the 24 patches of `make_cases.py`, of which the first is (235, 20, 20)."""
    path = tmp_path / "IMG_2.HEIC"
    path.write_bytes((GOLDEN / "chart.heic").read_bytes())
    monkeypatch.setattr("utils.decode.available", lambda: ["JPEG"])
    for read in (read_image, read_photo, image_size):
        with pytest.raises(UserError, match="IMG_2.HEIC is a HEIC/HEIF picture: pip install"):
            read(path)
    monkeypatch.undo()
    pytest.importorskip("pi_heif", reason="pip install -r requirements-heif.txt")
    assert image_size(path) == (128, 192)
    assert np.abs(read_image(path)[8:24, 8:24].mean((0, 1)) - (235, 20, 20)).max() < 6


def test_what_is_left_out_of_a_folder_is_said(tmp_path, capsys):
    for name in ("a.CR3", "b.dng", "c.dng", "d.gif", "e.txt", ".f.nef"):
        (tmp_path / name).write_bytes(b"II*\0")
    only = "3 raw files of cameras .*develop them first"
    with pytest.raises(UserError, match=f"no pictures in .* that are read here, only {only}"):
        find_pictures(tmp_path)
    Image.fromarray(chart()).save(tmp_path / "g.PNG")
    assert [path.name for path in find_pictures(tmp_path)] == ["g.PNG"]
    (tmp_path / "h.mp4").write_bytes(b"")
    find_pictures(tmp_path)
    words = "3 raw files of cameras (.cr3, .dng: develop them first), 1 .gif, 1 video"
    assert f"left out are {words}" in capsys.readouterr().out
    with pytest.raises(UserError, match="b.dng is a camera's raw file: develop it first"):
        read_image(tmp_path / "b.dng")


def test_greyness_and_transparency_stay_with_16_bits(tmp_path):
    grey = np.uint16(np.linspace(0, 65535, 96 * 128)).reshape(96, 128)
    photo = Photo(np.dstack([grey] * 3), ramp(np.uint16), grey=True)
    write_photo(tmp_path / "a.png", to_tensor(photo.pixels), photo)
    again = read_photo(tmp_path / "a.png")
    assert np.array_equal(again.pixels, photo.pixels) and np.array_equal(again.alpha, photo.alpha)
