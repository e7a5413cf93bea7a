"""Blur kernels: read from files, or made from the motion of a camera.

They are odd-sized, non-negative, of sum 1, float32 [K,K]. Our own come in three kinds, in the
manner of the simulated hand tremor that SBDD's kernels were made with: `tremor`, physiological
tremor as band-limited noise with a bump near 8-12 Hz; `linear`; `walk`, a uniform random walk.
"""

import io
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from utils.errors import UserError, reading
from utils.files import below, files_below, natural_key, read_regular
from utils.matlab import read_matlab
from utils.schema import SMALL_FILE

Kind = Literal["tremor", "linear", "walk"]
KINDS: tuple[Kind, ...] = ("tremor", "linear", "walk")
PATH_POINTS = 512  # of a camera's path during an exposure
TREMOR_HZ = (8.0, 12.0)
EXPOSURE_S = 0.5  # with the focal length as for SBDD's kernels
FOCAL_PX = 1000
AMPLITUDE_RAD_S = 0.03  # gives about 15 px


def load_kernels(source: Path, size: int, folder: Path | None = None) -> dict[str, np.ndarray]:
    """{file name: kernel} of a folder, of a list file or of one file, each padded to `size`.

    A list file has a path per line, below `folder` or, without it, beside the file. As SBDD's list
    has it (`train/kernel0000.mat` in the folder of the kernels itself), the first folder of a line
    does not count where there is no such file.

    Files: .mat with a key K (as published with SBDD), .npy, and pictures of a trajectory. Raises
    UserError, naming the file, for kernels of even size, with negative values, of sum 0 or larger
    than `size`.
    """
    if source.is_dir():
        files = list(filter(_is_kernel, files_below(source)))
        paths = sorted(files, key=lambda path: natural_key(str(path)))
    elif source.suffix in (".txt", ".list"):
        with reading(source, "a list of files"):
            words = read_regular(source, SMALL_FILE).decode("utf-8-sig")
            lines = words.replace("\r\n", "\n").split("\n")
        names = [line.strip() for line in lines if line.strip()]
        paths = [_listed(folder or source.parent, name, source) for name in names]
    else:
        paths = [source]
    if not paths:
        raise UserError(f"no kernels (.mat, .npy, pictures) in {source}")
    return {path.stem: fit_kernel(_read_kernel(path), size, str(path)) for path in paths}


def fit_kernel(kernel: np.ndarray, size: int, name: str = "the kernel") -> np.ndarray:
    """The kernel in the middle of [size,size], sum 1; see load_kernels for what is refused."""
    if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape):
        raise UserError(f"{name} has shape {kernel.shape}: a blur kernel has two odd sides")
    if not np.isfinite(kernel).all() or kernel.min() < 0 or kernel.sum() <= 0:
        raise UserError(
            f"{name} is no blur kernel: its values must be finite and not negative, its sum not 0"
        )
    kernel = kernel / kernel.sum()
    height, width = kernel.shape
    top = max(height - size, 0) // 2
    left = max(width - size, 0) // 2
    if top or left:  # only what is empty may be cut off
        kernel = kernel[top : height - top, left : width - left]
        if kernel.sum() < 1 - 1e-6:
            raise UserError(f"{name} does not fit into {size}x{size} pixels: raise --K")
    rows = (size - kernel.shape[0]) // 2
    columns = (size - kernel.shape[1]) // 2
    return np.pad(kernel, ((rows, rows), (columns, columns))).astype(np.float32)


def random_kernel(
    rng: np.random.Generator,
    size: int = 65,
    kind: Kind | None = None,
    length: float | None = None,
) -> np.ndarray:
    """A kernel of a kind (none: any of them).

    length: rough extent in px; none: what the tremor gives, or U(2, size / 2).
    """
    kind = kind or KINDS[int(rng.integers(len(KINDS)))]
    points = _path(rng, kind)
    if kind != "tremor" and not length:
        length = rng.uniform(2, size / 2)
    scale = 1.0
    if length:
        scale = length / np.ptp(points, axis=0).max()
    furthest = np.abs(points - points.mean(0)).max()  # the kernel is centred on its mean
    max_scale = (size - 3) / 2 / furthest
    return kernel_of_path(points * min(scale, max_scale), size)


def random_path(rng: np.random.Generator, length: float) -> np.ndarray:
    """Positions [PATH_POINTS,2] in px along a random motion of about `length` px."""
    points = _path(rng, KINDS[int(rng.integers(len(KINDS)))])
    return points * (length / np.ptp(points, axis=0).max())


def tremor(rng: np.random.Generator) -> np.ndarray:
    """Positions [PATH_POINTS,2] in px of a distant point while a hand-held camera rotates.

    They are the rotation about x and y times the focal length. The angular velocity is noise with
    an amplitude falling like 1/f and a bump at 8-12 Hz; its root mean square is log-normal around
    AMPLITUDE_RAD_S.
    """
    # A longer record, so that slow drifts are not periodic within the exposure.
    seconds = 2 * EXPOSURE_S
    frequency = np.fft.rfftfreq(2 * PATH_POINTS, seconds / (2 * PATH_POINTS))
    low, high = TREMOR_HZ
    bump = np.exp(-(((frequency - (low + high) / 2) / (high - low)) ** 2))
    envelope = 1 / np.maximum(frequency, 1 / seconds) + 0.3 * bump
    envelope[(frequency == 0) | (frequency > 40)] = 0
    phase = np.exp(2j * np.pi * rng.random((len(frequency), 2)))
    magnitude = rng.rayleigh(1, (len(frequency), 2))
    velocity = np.fft.irfft(envelope[:, None] * phase * magnitude, axis=0)[:PATH_POINTS]
    amplitude = AMPLITUDE_RAD_S * np.exp(rng.normal(0, 0.6))
    velocity *= amplitude / np.sqrt((velocity**2).mean())
    return FOCAL_PX * np.cumsum(velocity, axis=0) * EXPOSURE_S / PATH_POINTS


def resampled_path(path: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The positions [N,2] of a path [M,2] at times [N] in 0 (its start) .. 1 (its end)."""
    path_times = np.linspace(0, 1, len(path))
    x = np.interp(times, path_times, path[:, 0])
    y = np.interp(times, path_times, path[:, 1])
    return np.stack([x, y], 1)


def kernel_of_path(points: np.ndarray, size: int) -> np.ndarray:
    """The kernel [size,size] that a path [N,2] of (x, y) in px draws, by bilinear splatting.

    Its centre of mass lies in the middle. Raises ValueError for a path that does not fit.
    """
    weights = np.full(len(points), 1 / len(points))
    position = points - weights @ points + (size - 1) / 2
    corner = np.floor(position).astype(int)
    if corner.min() < 0 or corner.max() > size - 2:
        raise ValueError(
            f"a path of {np.ptp(points, axis=0).max():.1f} px does not fit into a kernel of "
            f"{size} px"
        )
    fraction = position - corner
    factors = (1 - fraction, fraction)  # of the pixel at the corner and of the next, [N,2] each
    kernel = np.zeros((size, size))
    for dx in (0, 1):
        for dy in (0, 1):
            part = factors[dx][:, 0] * factors[dy][:, 1]
            np.add.at(kernel, (corner[:, 1] + dy, corner[:, 0] + dx), weights * part)
    return kernel.astype(np.float32)


def kernel_sheet(kernels: Sequence[np.ndarray], columns: int = 10, cell: int = 96) -> np.ndarray:
    """A picture [H,W,3] of kernels, each brightened to its own maximum."""
    cells = []
    for kernel in kernels:
        interpolation = cv2.INTER_AREA if len(kernel) > cell else cv2.INTER_NEAREST
        bright = np.sqrt(kernel / kernel.max())
        pixels = cv2.resize(bright, (cell, cell), interpolation=interpolation)
        cells.append(np.pad(np.uint8(255 * pixels), 1, constant_values=64))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)]
    return np.repeat(np.vstack(rows)[..., None], 3, 2)


def _path(rng: np.random.Generator, kind: Kind) -> np.ndarray:
    """Positions [PATH_POINTS,2] along a motion of a kind, of any extent."""
    if kind == "tremor":
        return tremor(rng)
    if kind == "linear":
        angle = rng.uniform(0, 2 * np.pi)
        return np.linspace(-0.5, 0.5, PATH_POINTS)[:, None] * (np.cos(angle), np.sin(angle))
    return _random_walk(rng)


def _random_walk(rng: np.random.Generator) -> np.ndarray:
    corners = np.cumsum(rng.uniform(-1, 1, (PATH_POINTS // 8, 2)), axis=0)
    return resampled_path(corners, np.linspace(0, 1, PATH_POINTS))


def _listed(folder: Path, line: str, source: Path) -> Path:
    """The file that a line of a list means, see load_kernels."""
    path = below(folder, line, source)
    first, _, rest = line.partition("/")
    if path.is_file() or not rest:
        return path
    shorter = below(folder, rest, source)
    return shorter if shorter.is_file() else path


def _is_kernel(path: Path) -> bool:
    # Imported here: making kernels needs no more than numpy, scipy and OpenCV.
    from utils.image import is_image

    return path.suffix in (".mat", ".npy") or (is_image(path) and path.stem != "contact_sheet")


def _read_kernel(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"no kernel at {path}")
    if path.suffix == ".mat":
        return np.float64(read_matlab(path, "K"))
    if path.suffix == ".npy":
        with reading(path, "a kernel", tokenize.TokenError):
            content = io.BytesIO(read_regular(path, SMALL_FILE))
            return np.float64(np.load(content, allow_pickle=False))
    from utils.image import read_image

    kernel = np.float64(read_image(path).mean(-1))
    height, width = kernel.shape  # drawn trajectories may have even sides
    return np.pad(kernel, ((0, 1 - height % 2), (0, 1 - width % 2)))
