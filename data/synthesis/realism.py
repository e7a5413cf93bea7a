"""What makes a synthesised photo like a real one: which steps a sample goes through, and how."""

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from data.synthesis.camera import NO_RESPONSE, STANDARD, add_streaks
from data.synthesis.development import Camera, brightened_highlights, draw_camera
from data.synthesis.shake import Layer, blur_length, draw_poses, exposed, random_blob

MILD_PX = 2.0  # blur below this is mild: the picture is nearly sharp
MARGIN = 8  # px around the window that the layers show before they are mirrored


@dataclass(frozen=True)
class Realism:
    """Fractions of the samples (0..1) that go through each step, and the ranges of what is drawn.

    unblurred, mild: samples without blur, and with 0-2 px; the rest has 2 px to `max_length`, by
    its logarithm. clean: of the unblurred and mild samples, without noise and compression, so that
    smoothing what is sharp is never right. camera: developed by a random camera with noise in its
    mosaic (data/synthesis/development.py), of these `sharpening` and `noise_reduction`; shot_noise:
    the range of its noise. srgb: averaged in sRGB space, as GoPro's `blur`; neither: in light of
    gamma 2.2. highlights: light beyond what the picture holds is kept until after the average, up
    to max_highlight times. night: dark, with lights. turning: blur varies over the frame (rotation,
    zoom). layers: something nearer moves by more, or by itself. jpeg: compressed with a quality
    from jpeg_quality and 4:2:0. h264: clips compressed with a crf from the range. sharp_neighbours:
    clips in which frames beside the middle are sharp or much less blurred than it.
    """

    unblurred: float = 0.12
    mild: float = 0.13
    clean: float = 0.5
    max_length: float = 50.0
    camera: float = 0.4
    shot_noise: tuple[float, float] = (1e-4, 0.006)
    srgb: float = 0.4
    sharpening: float = 0.4
    noise_reduction: float = 0.4
    highlights: float = 0.25
    max_highlight: float = 6.0
    night: float = 0.06
    turning: float = 0.4
    layers: float = 0.25
    jpeg: float = 0.4
    jpeg_quality: tuple[float, float] = (30, 95)
    h264: float = 0.4
    crf: tuple[float, float] = (18, 34)
    sharp_neighbours: float = 0.35

    def __post_init__(self) -> None:
        """Raises ValueError for a fraction outside 0..1 and a range that is none."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (tuple, list)):
                good = len(value) == 2 and 0 < value[0] <= value[1]
                wanted = "two numbers above 0, the smaller first"
            elif field.name.startswith("max_"):
                good = 1 < value < 1000
                wanted = "a number in 1..1000"
            else:
                good = 0 <= value <= 1
                wanted = "a fraction in 0..1"
            if not good:
                raise ValueError(f"{field.name} is {value}: {wanted} is expected")
        if self.unblurred + self.mild > 1 or self.camera + self.srgb > 1:
            raise ValueError("unblurred and mild, camera and srgb: each two together at most 1")
        if self.max_length < MILD_PX:
            raise ValueError(f"max_length is {self.max_length}: at least {MILD_PX} px are expected")


@dataclass(frozen=True)
class Developed:
    """A pair [S,S,3] in [0,1] before compression, and the length of its blur in px.

    clean: it has no noise and is not to be compressed.
    """

    blurry: np.ndarray
    sharp: np.ndarray
    length: float
    clean: bool


def draw_length(rng: np.random.Generator, realism: Realism) -> float:
    """A length of blur in px."""
    kind = rng.random()
    if kind < realism.unblurred:
        return 0.0
    if kind < realism.unblurred + realism.mild:
        return rng.uniform(0, MILD_PX)
    return math.exp(rng.uniform(math.log(MILD_PX), math.log(realism.max_length)))


def draw_clean(rng: np.random.Generator, realism: Realism, length: float) -> bool:
    """Whether a sample with blur of `length` px is spared noise and compression."""
    return length <= MILD_PX and rng.random() < realism.clean


def without_noise(realism: Realism) -> Realism:
    """The same, without cameras, whose noise is part of them, and compression."""
    return replace(realism, camera=0.0, jpeg=0.0, h264=0.0)


def draw_camera_of(rng: np.random.Generator, realism: Realism) -> Camera:
    """What turns light into the sample's pixels: a camera, sRGB space as it is, or gamma 2.2."""
    kind = rng.random()
    if kind < realism.camera:
        sharpened = rng.random() < realism.sharpening
        denoised = rng.random() < realism.noise_reduction
        return draw_camera(rng, sharpened, denoised, realism.shot_noise)
    if kind < realism.camera + realism.srgb:
        return Camera(NO_RESPONSE)
    return Camera(STANDARD)


def side_needed(size: int) -> int:
    """Side in px of the pictures that `developed_pair` takes for a pair of `size` px."""
    return size + 2 * MARGIN


def developed_pair(
    rng: np.random.Generator,
    picture: np.ndarray,
    other: np.ndarray,
    size: int,
    realism: Realism,
    length: float | None = None,
) -> Developed:
    """A pair of a sharp picture and another one of which something nearer is made.

    Both are [side_needed(size),side_needed(size),3] uint8. length: of the blur, none: drawn.
    """
    if length is None:
        length = draw_length(rng, realism)
    clean = draw_clean(rng, realism, length)
    if clean:
        realism = without_noise(realism)
    camera = draw_camera_of(rng, realism)
    light = camera.light(picture)
    side = len(picture)
    if rng.random() < realism.night:
        light = add_streaks(light * np.float32(rng.uniform(0.05, 0.3)), rng, 5, 40, 8.0, 2)
    elif rng.random() < realism.highlights:
        light = brightened_highlights(light, rng.uniform(1, realism.max_highlight))
    varying = rng.random() < realism.turning
    turning, zooming = rng.uniform(0, 1, 2) if varying else (0.0, 0.0)
    poses = draw_poses(rng, length, turning, zooming, side)
    layers = [Layer(light, poses)]
    if rng.random() < realism.layers:
        layers = _with_object(rng, layers[0], camera.light(other), length)
    centre = tuple(rng.uniform(-1.5 * size, 1.5 * size, 2)) if varying else (0.0, 0.0)
    blurred, sharp = exposed(layers, size, centre)
    blurry = camera.developed(blurred.clip(0), rng)
    sharp = camera.curve.encoded(sharp)
    longest = max(blur_length(layer.poses) for layer in layers)
    return Developed(blurry, sharp, longest, clean)


def _with_object(
    rng: np.random.Generator, background: Layer, light: np.ndarray, length: float
) -> list[Layer]:
    """The background and a part of another picture before it, which moves differently.

    It follows the camera by more (it is nearer), moves by itself, or moves before a still
    background.
    """
    alpha = random_blob(rng, len(light), rng.uniform(0.1, 0.5))
    kind = rng.random()
    poses = background.poses
    if kind < 0.4:
        poses = poses * np.array([rng.uniform(1.2, 2), rng.uniform(1.2, 2), 1, 1])
    else:
        own = draw_poses(rng, max(length, 1), 0, 0, len(light))
        times = np.linspace(0, len(own) - 1, len(poses))
        columns = [np.interp(times, np.arange(len(own)), column) for column in own.T]
        poses = np.stack(columns, 1)
        if kind < 0.7:
            background = Layer(background.light, np.zeros_like(poses))
    return [background, Layer(light * alpha[..., None], poses, alpha)]
