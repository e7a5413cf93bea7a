import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from utils.errors import UserError
from utils.image import image_size, read_image, resize_to, to_8bit, to_tensor, write_image
from utils.tiling import pad_to_multiple

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_lossless_round_trip(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", RGB)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_kept(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", RGB16)
    pixels = read_image(tmp_path / f"a{suffix}")
    assert pixels.dtype == np.uint16 and np.array_equal(pixels, RGB16)
    assert to_tensor(pixels).max() == RGB16.max() / 65535


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_round_trip_is_close(tmp_path, suffix):
    smooth = cv2.resize(RGB, (70, 50), interpolation=cv2.INTER_CUBIC)
    write_image(tmp_path / f"a{suffix}", smooth)
    assert np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - smooth).mean() < 6


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = Image.fromarray(RGB).convert(mode)
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    scene = np.zeros((24, 40, 3), np.uint8)
    scene[:8, :16] = 255  # a mark in the upper left corner of the upright picture
    stored = {1: scene, 2: scene[:, ::-1], 3: scene[::-1, ::-1], 4: scene[::-1]}.get(orientation)
    if stored is None:
        turned = scene.transpose(1, 0, 2)
        others = {5: turned, 6: turned[::-1], 7: turned[::-1, ::-1], 8: turned[:, ::-1]}
        stored = others[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.jpg", exif=exif, quality=100)
    pixels = read_image(tmp_path / "a.jpg")
    assert pixels.shape == scene.shape and image_size(tmp_path / "a.jpg") == scene.shape[:2]
    assert np.abs(pixels.astype(int) - scene).max() < 30


@pytest.mark.parametrize(
    ("suffix", "dtype"), [("png", np.uint8), ("png", np.uint16), ("jpg", np.uint8)]
)
def test_truncated_files_are_named(tmp_path, suffix, dtype):
    path = tmp_path / f"cut.{suffix}"
    write_image(path, RNG.integers(0, 65536, (64, 64, 3)).astype(dtype))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"{path.name} can't be read.*truncated"):
        read_image(path)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no such image.*none.png"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UserError, match="text.png is not an image"):
        read_image(tmp_path / "text.png")


def test_rounding_is_the_authors(golden):
    vectors = golden("cdvd_metrics")
    assert np.array_equal(to_8bit(vectors["quant_in"][0]), vectors["quant_out"].numpy())


def test_rounding_by_hand():
    values = torch.tensor([-0.3, 0.5 / 255, 1.5 / 255, 2.4 / 255, 1.2])
    pixels = to_8bit(values.expand(3, 1, 5))
    assert pixels[0, :, 0].tolist() == [0, 0, 2, 2, 255]  # halves to even


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8), (13, 31)])
def test_padding_reflects_again_and_again(size):
    image = torch.arange(float(size[0] * size[1])).view(1, 1, *size)
    padded = pad_to_multiple(image, 8)
    assert all(side % 8 == 0 for side in padded.shape[-2:])
    missing = [(0, -side % 8) for side in size]
    expected = np.pad(image[0, 0].numpy(), missing, mode="reflect")
    assert np.array_equal(padded[0, 0].numpy(), expected)


def test_shrinking_keeps_the_proportions():
    assert resize_to(np.zeros((480, 1280, 3), np.uint8), 640).shape == (240, 640, 3)
    assert resize_to(RGB, 640) is RGB
