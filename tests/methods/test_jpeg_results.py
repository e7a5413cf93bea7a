"""--format jpg: smaller results with the camera's notes, and a sentence where that can't be."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from methods.image_deblur.config import InferenceConfig as PhotoConfig
from methods.image_deblur.inference import main as image_deblur
from methods.video_deblur.config import InferenceConfig as VideoConfig
from methods.video_deblur.inference import main as video_deblur
from tests.commands import pattern, sentence
from tests.conftest import write_videos
from tests.utils.test_video import make_file
from utils.image import read_image, to_tensor, write_image
from utils.photo import encode_jpeg, lost_in_jpeg, read_photo, write_photo


def test_a_photo_keeps_its_notes(tmp_path):
    exif = Image.Exif()
    exif[271] = "a maker"
    exif[0x0112] = 6  # turned, which the upright result must not repeat
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">words</x:xmpmeta>'
    notes = {"exif": exif.tobytes(), "icc_profile": profile, "xmp": xmp, "dpi": (300, 300)}
    Image.fromarray(pattern()).save(tmp_path / "in.jpg", quality=98, **notes)
    options = {"format": "jpg", "quality": 90, "report": False, "device": "cpu"}
    image_deblur(PhotoConfig(tmp_path / "in.jpg", output_dir=tmp_path / "out", **options))
    assert sorted(path.suffix for path in (tmp_path / "out").glob("in.*")) == [".jpg"]
    with Image.open(tmp_path / "out/in.jpg") as image:
        assert image.size == pattern().shape[:2]  # turned by a quarter
        assert dict(image.getexif()) == {271: "a maker"}
        assert image.info["icc_profile"] == profile
        assert image.info["xmp"] == xmp
        assert image.info["dpi"] == (300, 300)


def test_quality_and_full_colours(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, ::2] = (255, 0, 0)  # red stripes, which 4:2:0 would smear
    pixels[:, 1::2] = (0, 0, 255)
    sizes = []
    for quality in (60, 95):
        data = encode_jpeg(pixels, quality)
        (tmp_path / "a.jpg").write_bytes(data)
        sizes.append(len(data))
        assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - pixels).mean() < 12
    assert sizes[0] < sizes[1]


def test_what_jpeg_can_not_hold_is_said(tmp_path, capsys):
    deep = np.full((40, 48, 3), 40_000, np.uint16)
    write_image(tmp_path / "deep.png", deep)
    photo = read_photo(tmp_path / "deep.png")
    assert lost_in_jpeg(photo) == ["16 bits (8 are left)"]
    write_photo(tmp_path / "deep.jpg", to_tensor(photo.pixels), photo)
    assert abs(read_image(tmp_path / "deep.jpg").mean() - 40_000 / 257) < 1
    source = tmp_path / "deep.png"
    image_deblur(PhotoConfig(source, output_dir=tmp_path / "out", format="jpg", device="cpu"))
    said = "note: not kept in JPEG files: 16 bits (8 are left), of 1 picture"
    assert said in capsys.readouterr().out.splitlines()
    alpha = photo._replace(alpha=deep[..., 0], exif=b"Exif\0\0" + bytes(70_000), grey=True)
    words = ["16 bits (8 are left)", "transparency", "EXIF data of more than 64 KB"]
    assert lost_in_jpeg(alpha) == words
    write_photo(tmp_path / "grey.jpg", to_tensor(alpha.pixels), alpha)
    with Image.open(tmp_path / "grey.jpg") as image:
        assert image.mode == "L" and not image.getexif()


def test_plain_srgb_of_png_is_not_missed(tmp_path):
    plain = bytes.fromhex("0000000467414d410000b18f0bfc6105")  # gAMA 0.45455
    linear = bytes.fromhex("0000000467414d41000186a031e8965f")  # gAMA 1
    write_image(tmp_path / "a.png", pattern())
    photo = read_photo(tmp_path / "a.png")
    assert lost_in_jpeg(photo._replace(colour_chunks=plain)) == []
    linear_photo = photo._replace(colour_chunks=linear)
    assert lost_in_jpeg(linear_photo) == ["colours as PNG describes them"]


def test_frames_of_a_folder(small_network, tmp_path, capsys):
    frames = write_videos(tmp_path / "frames", "frames", {"a": 3})
    options = {"weights": small_network(), "report": False, "device": "cpu"}
    for format in ("png", "jpg"):
        video_deblur(VideoConfig(frames, output_dir=tmp_path / format, format=format, **options))
    made = sorted((tmp_path / "jpg/a").iterdir())
    assert [path.name for path in made] == ["0.jpg", "1.jpg", "2.jpg"]
    for path in made:
        exact = read_image(tmp_path / f"png/a/{path.stem}.png")
        assert np.abs(read_image(path).astype(int) - exact).mean() < 4
    capsys.readouterr()
    again = VideoConfig(frames, output_dir=tmp_path / "jpg", format="jpg", **options)
    video_deblur(VideoConfig(**(vars(again) | {"skip_existing": True})))
    assert "all 3 results exist, skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--format jpg --quality 0", "--quality 0: a number from 1 on is needed"),
        ("--format jpg --quality 101", "--quality 101: a number of at most 100 is needed"),
        ("--quality 90", "--quality 90 is of JPEG: add --format jpg"),
        ("--format jpg --data_path {video}", "--format jpg is of photos and folders of frames"),
        ("--format jpg --data_path {pairs}", "--format jpg would change the scores"),
    ],
)
@pytest.mark.parametrize("method", ["image_deblur", "video_deblur"])
def test_what_can_not_be_is_one_sentence(method, words, said, run_command, tmp_path):
    video = make_file(tmp_path / "a.mp4", [0, 40])
    pairs = write_videos(tmp_path / "pairs", "clips", {"a": 3})
    given = words.format(video=video, pairs=pairs)
    out = tmp_path / "out"
    done = run_command(f"inference.py {method} --device cpu --output_dir {out} {given}")
    sentence(done, said)
