"""The scale of the blur, strength, what is sharp, and the guard, on pictures and videos."""

import json
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.synthesis.kernels import random_kernel
from data.synthesis.pair import make_pair, to_file
from methods.image_deblur import test as image_test
from methods.image_deblur.config import TestConfig
from models.blur_length import kernel_length
from models.contracts import ImageNetwork, VideoNetwork
from restoration import ImageRestorer, VideoRestorer
from restoration.blur import BlurMap, colour_noise, measure
from restoration.scale import auto_plan, enlarged, fixed_plan, parse_scale, shrunk
from restoration.segments import Segment, segments
from utils.errors import UserError
from utils.evaluation.protocols import PROTOCOLS
from utils.evaluation.tables import AS_PUBLISHED, PublishedRow, RunRecord
from utils.image import to_tensor, write_image

CPU = torch.device("cpu")


class Sharpen(ImageNetwork):
    """Twice the detail; with whole-image statistics a change of light is added."""

    multiple = 1
    bytes_per_pixel = 100

    def __init__(self, local: float = 0.0, whole: float = 0.0):
        super().__init__()
        self.offsets = {True: local, False: whole}
        self.offset = local

    def forward(self, blurry: Tensor) -> Tensor:
        soft = nn.functional.avg_pool2d(blurry, 3, 1, 1, count_include_pad=False)
        return 2 * blurry - soft + self.offset

    def use_local_statistics(self, enabled: bool = True) -> "Sharpen":
        self.offset = self.offsets[enabled]
        return self


class SharpenVideo(VideoNetwork):
    """The same for videos."""

    context = 0
    bytes_per_pixel = 100

    def restore_clip(self, clip: Tensor) -> Tensor:
        return torch.stack([Sharpen()(frame) for frame in clip.unbind(1)], 1)


def texture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Edges of all lengths and directions, pixels [H,W,3] uint8."""
    rng = np.random.default_rng(seed)
    picture = np.full((*size, 3), 128, np.uint8)
    for _ in range(size[0] * size[1] // 500):
        centre = tuple(int(value) for value in rng.integers(0, max(size), 2))
        axes = tuple(int(value) for value in rng.integers(2, 30, 2))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
    return picture


def blurred(picture: np.ndarray, length: float, seed: int = 0) -> tuple[np.ndarray, float]:
    """(blurry pixels, smaller by the kernel; the true length in px)."""
    size = 2 * int(length) + 5
    kernel = random_kernel(np.random.default_rng(seed), size, "tremor", length)
    masks = np.zeros((0, *picture.shape[:2]), np.float32)
    pair = make_pair(picture, masks, kernel[None], np.random.default_rng(0))
    return to_file(pair.blurry), kernel_length(kernel)


def image(size: tuple[int, int] = (90, 110)) -> Tensor:
    return to_tensor(texture(size))


def psnr(first: Tensor, second: Tensor) -> float:
    return PROTOCOLS["image"].psnr(first.clamp(0, 1), second)


def test_scale_1_is_the_network_itself_bit_for_bit():
    picture = image()
    restored = ImageRestorer(Sharpen(), CPU, scale=1).restore(picture)
    assert torch.equal(restored, Sharpen()(picture[None])[0])


@pytest.mark.parametrize("scale", [0.5, 0.43, 0.9])
def test_a_scale_adds_the_enlarged_residual_of_the_shrunken_picture(scale):
    """Against OpenCV, which shrinks and enlarges in another way."""
    picture = image((88, 112))
    restored = ImageRestorer(Sharpen(), CPU, scale=scale).restore(picture)
    pixels = picture.permute(1, 2, 0).numpy()
    height, width = (round(side * scale) for side in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    residual = small - cv2.blur(small, (3, 3), borderType=cv2.BORDER_REPLICATE)
    large = cv2.resize(residual, pixels.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    change = (restored - picture).permute(1, 2, 0).numpy()
    inner = np.s_[6:-6, 6:-6]
    assert np.corrcoef(change[inner].ravel(), large[inner].ravel())[0, 1] > 0.97


def test_the_mean_is_that_of_the_residuals_at_three_scales():
    picture = image()
    single = [
        ImageRestorer(Sharpen(), CPU, scale=scale).restore(picture) for scale in (1, 0.71, 0.5)
    ]
    mean = ImageRestorer(Sharpen(), CPU, scale="mean").restore(picture)
    assert torch.allclose(mean, sum(single) / 3, atol=0.01)


def test_what_was_shrunk_and_enlarged_lies_where_it_was():
    """A ramp comes back as itself, also where sides can't be halved."""
    row = torch.linspace(0, 1, 203).expand(1, 1, 96, 203)
    padded = torch.cat((row, row.flip(-1)[..., :5]), -1)  # to a multiple of 8
    back = enlarged(shrunk(padded, 0.125), padded.shape[-2:])
    assert (back - padded)[..., 16:180].abs().max() < 0.005


def test_strength():
    picture = image()
    whole = ImageRestorer(Sharpen(), CPU).restore(picture)

    def at(strength: float) -> Tensor:
        return ImageRestorer(Sharpen(), CPU, strength=strength).restore(picture)

    assert torch.equal(at(0), picture)
    assert torch.equal(at(1), whole)
    assert torch.allclose(at(1.5) - picture, 1.5 * (whole - picture), atol=1e-6)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"scale": "half"}, "--scale half must be auto, mean, or a number above 0 and at most 1"),
        ({"scale": 1.5}, "--scale 1.5 must be"),
        ({"scale": 0.2}, r"--scale 0.2 leaves less than 32 px of a picture with 110x90 px: choose"),
        ({"strength": 1.6}, "--strength 1.6 must be at least 0 and at most 1.5"),
        ({"strength": float("nan")}, "--strength nan must be"),
    ],
)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_cannot_be_gets_a_sentence(kind, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        if kind == "image":
            ImageRestorer(Sharpen(), CPU, **settings).restore(image())
        else:
            list(VideoRestorer(SharpenVideo(), CPU, **settings).stream([image()]))


def test_the_mean_leaves_out_scales_that_leave_too_little():
    assert [part.scale for part in fixed_plan("mean", (50, 200)).parts] == [1.0, 0.71]
    assert fixed_plan("mean", (20, 20)).is_whole
    assert parse_scale("0.5") == 0.5


def test_the_length_of_a_straight_motion_is_its_length():
    kernel = random_kernel(np.random.default_rng(1), 65, "linear", 30)
    rows, columns = np.nonzero(kernel > kernel.max() / 4)
    assert kernel_length(kernel) == pytest.approx(np.hypot(np.ptp(rows), np.ptp(columns)), rel=0.1)
    assert kernel_length(np.pad([[1.0]], 3)) == 0


def test_longer_blur_is_measured_as_longer():
    """The benchmark blur_scale measures it on photos."""
    found = []
    for length in (0.1, 6, 24, 60):
        pixels, _ = blurred(texture((420, 420)), length)
        found.append(measure(to_tensor(pixels)).typical)
    assert found == sorted(found)
    assert found[0] < 2 and 3 < found[1] < 12 and 12 < found[2] < 40 and found[3] > 25


def test_the_scales_follow_the_blur():
    pixels, true = blurred(texture((480, 480)), 24)
    blur = measure(to_tensor(pixels))
    parts = auto_plan(blur, 0.0, pixels.shape[:2], tuned=True).parts
    assert all(5 < part.scale * true < 40 for part in parts), (blur.typical, true, parts)
    assert auto_plan(BlurMap(torch.ones(4, 4), 1.0, 16), 0.0, (64, 64), tuned=True).parts == []


def test_noise_of_the_colours_is_measured_and_texture_is_none():
    generator = torch.Generator().manual_seed(1)
    flat = torch.full((3, 200, 240), 0.5)
    for deviation in (0.005, 0.02):
        noisy = flat + deviation * torch.randn(flat.shape, generator=generator)
        # R-G has the noise of two channels; the smoothest tenth of the cells some 12 % less
        assert colour_noise(noisy) == pytest.approx(0.88 * 2**0.5 * deviation, rel=0.06)
    gray = torch.rand(1, 200, 240, generator=generator).expand(3, -1, -1)
    assert colour_noise(gray) == 0
    black = 0.01 * torch.rand(flat.shape, generator=generator)
    assert colour_noise(black) == 0 and colour_noise(flat[:, :12, :12]) == 0


def test_a_noisy_picture_is_not_taken_for_a_sharp_one():
    """Noise looks sharp to the meter: all of the picture is restored then. Confetti is no noise."""
    for noise, restored in ((0.017, False), (0.019, True), (0.14, True), (0.2, False)):
        plan = auto_plan(BlurMap(torch.ones(4, 4), 1.0, 16), noise, (64, 64), tuned=True)
        assert bool(plan.parts) == restored
        if restored:
            assert plan.amount == 1 and plan.parts[0].scale == 1


def test_another_network_sees_blur_up_to_40_px_as_it_is():
    for length, scale in ((39.0, 1), (50.0, 0.5)):
        blur = BlurMap(torch.full((4, 4), length), length, 64)
        (part,) = auto_plan(blur, 0.0, (256, 256), tuned=False).parts
        assert part.scale == scale and part.weight == 1


def night_sky() -> np.ndarray:
    rng = np.random.default_rng(4)
    sky = np.full((256, 320, 3), 6, np.uint8)
    for row, column in rng.integers(0, 256, (120, 2)):
        sky[row, column] = rng.integers(120, 256)
    return sky


def text() -> np.ndarray:
    page = np.full((256, 320, 3), 250, np.uint8)
    for line in range(12):
        words = f"line {line} of sharp text"
        cv2.putText(page, words, (8, 20 * line + 20), 0, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    return page


def line_art() -> np.ndarray:
    page = np.full((256, 320, 3), 255, np.uint8)
    for radius in range(10, 120, 14):
        cv2.circle(page, (160, 128), radius, (0, 0, 0), 1, cv2.LINE_AA)
    return page


NOISE = np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8)
UNBLURRED = {
    "black": np.zeros((256, 320, 3), np.uint8),
    "white": np.full((256, 320, 3), 255, np.uint8),
    "noise": NOISE,
    "texture": texture((256, 320)),
    "text": text(),
    "line art": line_art(),
    "night sky": night_sky(),
}


@pytest.mark.parametrize("name", UNBLURRED)
def test_auto_leaves_what_is_sharp(name):
    """With the shipped network: at least 40 dB to itself."""
    picture = to_tensor(UNBLURRED[name])
    restored = ImageRestorer.load(device="cpu").restore(picture)
    assert psnr(restored, picture) >= 40, measure(picture).typical


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (40, 33), (64, 64)])
def test_auto_takes_pictures_of_any_size(size):
    pixels = np.full((*size, 3), 90, np.uint8)
    assert ImageRestorer.load(device="cpu")(pixels).shape == pixels.shape


def test_only_what_is_blurred_changes():
    sharp = texture((400, 400))
    soft, _ = blurred(texture((441, 441), 1), 18)
    picture = np.concatenate((sharp, soft[:400, :400]), 1)
    restored = ImageRestorer(Sharpen(), CPU, only_blurry=True)(picture)
    assert np.array_equal(restored[:, :250], picture[:, :250])
    assert np.abs(restored[:, 550:].astype(int) - picture[:, 550:]).mean() > 0.2
    assert np.array_equal(ImageRestorer(Sharpen(), CPU, only_blurry=True)(sharp), sharp)


def test_the_guard_falls_back_to_whole_statistics_and_then_to_the_input():
    picture = image()
    tame = Sharpen()(picture[None])[0]
    options = {"guard": True, "local_statistics": True}
    restorer = ImageRestorer(Sharpen(), CPU, **options)
    assert torch.equal(restorer.restore(picture), tame)
    assert restorer.fallbacks.sentence() == ""
    restorer = ImageRestorer(Sharpen(local=0.3), CPU, **options)
    assert torch.equal(restorer.restore(picture), tame)
    assert "of 1 tiles 1 restored with whole-image statistics" in restorer.fallbacks.sentence()
    restorer = ImageRestorer(Sharpen(local=0.3, whole=float("nan")), CPU, **options)
    assert torch.equal(restorer.restore(picture), picture)
    assert "of 1 tiles 1 left unrestored" in restorer.fallbacks.sentence()
    wild = ImageRestorer(Sharpen(local=0.3), CPU).restore(picture)
    assert torch.equal(wild, Sharpen(local=0.3)(picture[None])[0])


def test_a_video_at_scale_1_is_the_network_itself():
    frames = [to_tensor(texture((60, 80), seed)) for seed in range(3)]
    restored = list(VideoRestorer(SharpenVideo(), CPU).stream(frames))
    for frame, result in zip(frames, restored, strict=True):
        assert torch.equal(result, Sharpen()(frame[None])[0])


@pytest.mark.parametrize("scale", ["mean", 0.6])
def test_a_video_has_the_scales_of_pictures(scale):
    frames = [to_tensor(texture((90, 110), seed)) for seed in range(3)]
    restored = VideoRestorer(SharpenVideo(), CPU, scale=scale, strength=0.7).stream(frames)
    picture = ImageRestorer(Sharpen(), CPU, scale=scale, strength=0.7)
    for frame, result in zip(frames, restored, strict=True):
        assert torch.allclose(result, picture.restore(frame), atol=1e-6)


def flat(values: list[float]) -> list[Tensor]:
    return [torch.full((3, 40, 40), value) for value in values]


def consumed(found: list[Segment]) -> list[tuple[float, int, int]]:
    """(scale, frames of its own, frames handed out) of every segment."""
    rows = []
    for segment in found:
        count = len(list(segment.frames))
        rows.append((segment.scale, segment.length, count))
    return rows


def test_a_segment_keeps_its_scale_until_a_lasting_change():
    by_light = {0.2: 1.0, 0.25: 2**-0.5, 0.3: 0.5}

    def decide(block: list[Tensor]) -> float:
        return by_light[round(float(block[0].mean()), 2)]

    frames = flat([0.2] * 8 + [0.25] * 8 + [0.3] * 8 + [0.2] * 3)
    assert consumed(segments(frames, decide)) == [(1.0, 16, 24), (0.5, 8, 11), (1.0, 3, 3)]
    assert consumed(segments([], decide)) == []


def test_a_change_of_scale_is_blended(monkeypatch):
    """Each frame is a mixture of both segments' results, from one to the other."""

    class Scaled(VideoRestorer):
        def _stream_segment(self, scale: float, frames: Iterator[Tensor]):
            for frame in frames:
                yield torch.full_like(frame, scale)

    scales = {0.2: 1.0, 0.3: 0.5}
    monkeypatch.setattr(
        "restoration.video.decide_scale",
        lambda block, tuned: scales[round(float(block[0].mean()), 1)],
    )
    frames = flat([0.2] * 8 + [0.3] * 10)
    restored = list(Scaled(SharpenVideo(), CPU, scale="auto").stream(frames))
    values = [float(frame.mean()) for frame in restored]
    assert len(values) == 18
    assert values[:8] == [1.0] * 8 and values[-2:] == [0.5] * 2
    assert np.allclose(np.diff(values[7:17]), -0.5 / 9, atol=1e-3)


def test_only_blurred_frames_of_a_video_change():
    soft, _ = blurred(texture((241, 241), 1), 18)
    frames = [to_tensor(pixels[:200, :200]) for pixels in (soft, texture((200, 200)), soft)]
    restored = list(VideoRestorer(SharpenVideo(), CPU, only_blurry=True).stream(frames))
    same = [torch.equal(*pair) for pair in zip(frames, restored)]
    assert same == [False, True, False]


def test_the_guard_of_a_video_leaves_frames_as_they_are():
    class Bright(SharpenVideo):
        def restore_clip(self, clip: Tensor) -> Tensor:
            return clip + 0.4

    frames = flat([0.3] * 2)
    restorer = VideoRestorer(Bright(), CPU, guard=True)
    assert all(map(torch.equal, restorer.stream(frames), frames))
    assert "of 2 frames 2 left unrestored" in restorer.fallbacks.sentence()


def test_a_published_figure_stands_beside_the_network_itself_alone():
    row = PublishedRow("GoPro", "image", "", value={"psnr": 30.0})
    assert row.objection(3, RunRecord(applied=dict(AS_PUBLISHED))) == ""
    changed = RunRecord(applied=AS_PUBLISHED | {"scale": "mean", "strength": 0.5})
    assert "--scale mean --strength 0.5" in row.objection(3, changed)
    with pytest.raises(UserError, match="--table repeats published figures.*--scale auto"):
        image_test.main(TestConfig(table="all", scale="auto"))


def test_test_py_takes_scale_1_and_records_what_else_is_asked(tmp_path):
    for name in ("blurry", "sharp"):
        write_image(tmp_path / f"pairs/{name}/a.png", texture((70, 90)))
    for scale, recorded in ((None, 1.0), ("0.5", 0.5)):
        folder = tmp_path / f"out_{scale}"
        data = tmp_path / "pairs"
        config = TestConfig(data_path=data, output_dir=folder, scale=scale, device="cpu")
        image_test.main(config)
        applied = json.loads((folder / "scores.json").read_text())["run"]["applied"]
        expected = {"scale": recorded, "strength": 1.0, "only_blurry": False, "guard": False}
        assert applied == expected
