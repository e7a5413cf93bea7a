"""Unsharp masking, Wiener deconvolution and Richardson-Lucy, the textbook ways to sharpen.

Deconvolution needs the kernel of the blur, one for the whole picture. Nobody knows it, so there are
two ways here:

`measured`: a Gaussian as wide as models/blur_length.py measures, which tells no direction.
`best`: of straight lines of LENGTHS and DIRECTIONS, Gaussians, and strengths those that come
nearest to the TRUE picture in its middle. This is what deconvolution could do at best with one
simple kernel, not what it does without the truth.

All work on gamma-encoded pixels, as programs do.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import scipy.fft

from data.synthesis.kernels import kernel_of_path

LENGTHS = (1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 23.0, 33.0, 47.0, 66.0)  # px
DIRECTIONS = 8  # of half a turn
NOISE = (0.004, 0.015, 0.06, 0.25, 1.0)  # of Wiener: power of the noise over the picture's
ITERATIONS = (5, 10, 20)  # of Richardson-Lucy; more only lets the noise grow
SIGMAS = (0.7, 1.2, 2.0, 4.0)  # px, of unsharp masking
AMOUNT = 0.7  # of unsharp masking
# of `measured`
USUAL_NOISE = 0.06
USUAL_ITERATIONS = 10
SIDE = 256  # px of the middle of a picture in which `best` is chosen
MARGIN = 64  # px, that a picture is continued before it is deconvolved
FLOOR = 1e-3  # of what Richardson-Lucy divides by

Restore = Callable[[np.ndarray], np.ndarray]  # an image [H,W,3] float32 in [0,1]


@dataclass(frozen=True)
class Kernel:
    """A straight motion or a Gaussian of a length in px, as models/blur_length.py defines it.

    direction: in degrees, None = a Gaussian.
    """

    length: float
    direction: float | None = None

    def pixels(self) -> np.ndarray:
        """The kernel [K,K] of sum 1."""
        if self.direction is None:
            sigma = self.length / np.sqrt(12)
            line = cv2.getGaussianKernel(2 * int(3 * sigma + 1) + 1, sigma)
            return line @ line.T
        angle = np.deg2rad(self.direction)
        along = np.linspace(-0.5, 0.5, 257) * self.length
        path = np.stack((along * np.cos(angle), along * np.sin(angle)), 1)
        return kernel_of_path(path, 2 * int(self.length / 2 + 1.5) + 1)


def unsharp(image: np.ndarray, sigma: float) -> np.ndarray:
    """The image, and AMOUNT of what a Gaussian of `sigma` px takes away, once more."""
    return image + AMOUNT * (image - cv2.GaussianBlur(image, (0, 0), sigma))


def wiener(image: np.ndarray, kernel: Kernel, noise: float) -> np.ndarray:
    """Wiener's filter with one ratio of noise to picture at all frequencies; it keeps the mean."""
    extended = _periodic(image)
    gain = _wiener_gain(kernel, noise, extended.shape[:2])
    return _filtered(extended, gain)[: image.shape[0], : image.shape[1]]


def richardson_lucy(image: np.ndarray, kernel: Kernel, iterations: int) -> np.ndarray:
    """Richardson (1972) and Lucy (1974), started from the blurry image."""
    return next(itertools.islice(_iterates(image, kernel), iterations - 1, None))


def _iterates(image: np.ndarray, kernel: Kernel) -> Iterator[np.ndarray]:
    """The image after each iteration of Richardson and Lucy, without end."""
    extended = np.maximum(_periodic(image), FLOOR)
    transfer = _transfer(kernel, extended.shape[:2])
    mirrored = np.conj(transfer)
    restored = extended
    while True:
        again = np.maximum(_filtered(restored, transfer), FLOOR)
        restored = restored * _filtered(extended / again, mirrored)
        yield restored[: image.shape[0], : image.shape[1]]


def best_unsharp(blurry: np.ndarray, sharp: np.ndarray) -> Restore:
    """Unsharp masking at the sigma that comes nearest to the truth."""
    return _best(blurry, sharp, [_with(unsharp, sigma) for sigma in SIGMAS])


def best_wiener(blurry: np.ndarray, sharp: np.ndarray) -> Restore:
    """Wiener's filter with the kernel and the noise that come nearest to the truth."""
    kernels = best_kernels(blurry, sharp)
    ways = [_with(wiener, kernel, noise) for noise, kernel in kernels.items()]
    return _best(blurry, sharp, ways)


def best_richardson_lucy(blurry: np.ndarray, sharp: np.ndarray) -> Restore:
    """Richardson-Lucy with one of the best kernels of Wiener's filter, and its iterations."""
    first, second = (_middle(image).mean(2, keepdims=True) for image in (blurry, sharp))
    errors = {}
    for kernel in set(best_kernels(blurry, sharp).values()):
        iterates = itertools.islice(_iterates(first, kernel), max(ITERATIONS))
        for number, restored in enumerate(iterates, 1):
            if number in ITERATIONS:
                errors[kernel, number] = _error(restored, second)
    return _with(richardson_lucy, *min(errors, key=errors.get))


def measured_wiener(length: float) -> Restore:
    """Wiener's filter with a Gaussian as wide as a blur of `length` px."""
    return _with(wiener, Kernel(length), USUAL_NOISE)


def measured_richardson_lucy(length: float) -> Restore:
    """Richardson-Lucy with a Gaussian as wide as a blur of `length` px."""
    return _with(richardson_lucy, Kernel(length), USUAL_ITERATIONS)


def best_kernels(blurry: np.ndarray, sharp: np.ndarray) -> dict[float, Kernel]:
    """{noise: the kernel whose Wiener filter comes nearest to the truth}, by grey values."""
    grey = [np.float32(_middle(image).mean(2)) for image in (blurry, sharp)]
    return _best_kernels(grey[0].tobytes(), grey[1].tobytes(), grey[0].shape)


@lru_cache(maxsize=1)  # two methods ask for the same
def _best_kernels(blurry: bytes, sharp: bytes, shape: tuple[int, int]) -> dict[float, Kernel]:
    """As best_kernels, of grey values as bytes of float32."""
    height, width = shape
    first, second = (np.frombuffer(grey, np.float32).reshape(*shape, 1) for grey in (blurry, sharp))
    extended = _periodic(first)
    size = extended.shape[:2]
    spectrum = scipy.fft.rfft2(extended, axes=(0, 1))
    found = {}
    for noise in NOISE:
        errors = {}
        for kernel in kernels():
            filtered = spectrum * _wiener_gain(kernel, noise, size)
            restored = scipy.fft.irfft2(filtered, size, axes=(0, 1))[:height, :width]
            errors[kernel] = _error(restored, second)
        found[noise] = min(errors, key=errors.get)
    return found


def kernels() -> Iterator[Kernel]:
    """All that `best` looks at."""
    for length in LENGTHS:
        yield Kernel(length)
        for turn in range(DIRECTIONS):
            yield Kernel(length, 180 * turn / DIRECTIONS)


def _best(blurry: np.ndarray, sharp: np.ndarray, ways: list[Restore]) -> Restore:
    middles = [_middle(image) for image in (blurry, sharp)]
    errors = [_error(way(middles[0]), middles[1]) for way in ways]
    return ways[int(np.argmin(errors))]


def _with(restore: Callable[..., np.ndarray], *settings) -> Restore:
    def applied(image: np.ndarray) -> np.ndarray:
        return restore(image, *settings)

    return applied


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(side - SIDE, 0) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])


def _error(restored: np.ndarray, sharp: np.ndarray) -> float:
    return float(np.mean((restored.clip(0, 1) - sharp) ** 2))


def _periodic(image: np.ndarray) -> np.ndarray:
    """The image [H,W,C] continued below and to the right, so that it fits to its own beginning.

    Fourier transforms take it for periodic. Its two mirror images are blended into each other.
    """
    for axis in (0, 1):
        side = image.shape[axis]
        added = scipy.fft.next_fast_len(side + 2 * MARGIN, real=True) - side
        widths = [(0, 0)] * image.ndim
        widths[axis] = (added, added)
        both = np.pad(image, widths, "symmetric")
        before, inner, after = np.split(both, (added, added + side), axis)
        shape = [1] * image.ndim
        shape[axis] = added
        weight = ((np.arange(added, dtype=np.float32) + 0.5) / added).reshape(shape)
        image = np.concatenate((inner, after + weight * (before - after)), axis)
    return image


@lru_cache(maxsize=256)
def _transfer(kernel: Kernel, size: tuple[int, int]) -> np.ndarray:
    """The Fourier transform [H,W//2+1,1] of a kernel whose middle lies at the origin."""
    pixels = kernel.pixels()
    half = len(pixels) // 2
    whole = np.zeros(size, np.float32)
    rows = np.arange(-half, half + 1) % size[0]
    columns = np.arange(-half, half + 1) % size[1]
    np.add.at(whole, np.ix_(rows, columns), pixels)
    return scipy.fft.rfft2(whole)[..., None]


def _wiener_gain(kernel: Kernel, noise: float, size: tuple[int, int]) -> np.ndarray:
    transfer = _transfer(kernel, size)
    return (1 + noise) * np.conj(transfer) / (np.abs(transfer) ** 2 + noise)


def _filtered(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    spectrum = scipy.fft.rfft2(image, axes=(0, 1)) * gain
    return scipy.fft.irfft2(spectrum, image.shape[:2], axes=(0, 1))
