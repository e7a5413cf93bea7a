"""Blur kernels: read from files, or made from the motion of a camera (odd-sized, non-negative, sum
1, float32 [K,K]).

Our own come in three kinds, in the manner of the simulated hand tremor that SBDD's kernels were
made with (exposure 0.5 s, focal length 1000 px): `tremor`, physiological tremor as band-limited
noise with a bump near 8-12 Hz; `linear`; `walk`, a uniform random walk.
"""

import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from utils.errors import UserError, reading
from utils.files import below, natural_key
from utils.matlab import read_matlab

Kind = Literal["tremor", "linear", "walk"]
KINDS: tuple[Kind, ...] = ("tremor", "linear", "walk")
MOMENTS = 512  # of an exposure
TREMOR_HZ = (8.0, 12.0)
AMPLITUDE_RAD_S = 0.03  # 0.5 s and 1000 px then give about 15 px


def load_kernels(source: Path, size: int, folder: Path | None = None) -> dict[str, np.ndarray]:
    """{file name: kernel} of a folder, of a list file or of one file, each padded to `size`.

    A list file has a path per line, below `folder` or, without it, beside the file.

    Files: .mat with a key K (as published with SBDD), .npy, and pictures of a trajectory. Raises
    UserError, naming the file, for kernels of even size, with negative values, of sum 0 or larger
    than `size`.
    """
    if source.is_dir():
        paths = sorted(
            (path for path in source.rglob("*") if _is_kernel(path)),
            key=lambda path: natural_key(str(path)),
        )
    elif source.suffix in (".txt", ".list"):
        with reading(source, "a list of files"):
            lines = source.read_text(encoding="utf-8").split("\n")
        paths = [
            below(folder or source.parent, line.strip(), source) for line in lines if line.strip()
        ]
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
    cut = [max(side - size, 0) // 2 for side in kernel.shape]
    if any(cut):  # only what is empty may be cut off
        kernel = kernel[cut[0] : kernel.shape[0] - cut[0], cut[1] : kernel.shape[1] - cut[1]]
        if kernel.sum() < 1 - 1e-6:
            raise UserError(f"{name} does not fit into {size}x{size} pixels: raise --K")
    rows, columns = ((size - side) // 2 for side in kernel.shape)
    return np.pad(kernel, ((rows, rows), (columns, columns))).astype(np.float32)


def random_kernel(
    rng: np.random.Generator,
    size: int = 65,
    kind: Kind | None = None,
    length: float | None = None,
    exposure_s: float = 0.5,
    focal: float = 1000,
) -> np.ndarray:
    """A kernel of a kind (none: any of them). length: rough extent in px; none: what the tremor
    gives, or U(2, size / 2).
    """
    kind = kind or KINDS[int(rng.integers(len(KINDS)))]
    if kind == "tremor":
        points = tremor(rng, exposure_s, focal)
    elif kind == "linear":
        angle = rng.uniform(0, 2 * np.pi)
        points = np.linspace(-0.5, 0.5, MOMENTS)[:, None] * (np.cos(angle), np.sin(angle))
        length = length or rng.uniform(2, size / 2)
    else:
        points = np.cumsum(rng.uniform(-1, 1, (MOMENTS // 8, 2)), axis=0)
        points = np.stack(
            [
                np.interp(np.linspace(0, 1, MOMENTS), np.linspace(0, 1, len(points)), column)
                for column in points.T
            ],
            1,
        )
        length = length or rng.uniform(2, size / 2)
    furthest = np.abs(points - points.mean(0)).max()  # the kernel is centred on its mean
    scale = min(length / np.ptp(points, axis=0).max() if length else 1.0, (size - 3) / 2 / furthest)
    return kernel_of_path(points * scale, size)


def tremor(rng: np.random.Generator, exposure_s: float = 0.5, focal: float = 1000) -> np.ndarray:
    """Positions [MOMENTS,2] in px of a distant point while a hand-held camera rotates: rotation
    about x and y times the focal length.

    The angular velocity is noise with an amplitude falling like 1/f and a bump at 8-12 Hz; its root
    mean square is log-normal around AMPLITUDE_RAD_S.
    """
    seconds = (
        2 * exposure_s
    )  # a longer record, so that slow drifts are not periodic within the exposure
    frequency = np.fft.rfftfreq(2 * MOMENTS, seconds / (2 * MOMENTS))
    low, high = TREMOR_HZ
    shape = 1 / np.maximum(frequency, 1 / seconds) + 0.3 * np.exp(
        -(((frequency - (low + high) / 2) / (high - low)) ** 2)
    )
    shape[(frequency == 0) | (frequency > 40)] = 0
    spectrum = (
        shape[:, None]
        * np.exp(2j * np.pi * rng.random((len(frequency), 2)))
        * rng.rayleigh(1, (len(frequency), 2))
    )
    velocity = np.fft.irfft(spectrum, axis=0)[:MOMENTS]
    amplitude = AMPLITUDE_RAD_S * np.exp(rng.normal(0, 0.6))
    velocity *= amplitude / np.sqrt((velocity**2).mean())
    return focal * np.cumsum(velocity, axis=0) * exposure_s / MOMENTS


def kernel_of_path(points: np.ndarray, size: int, weights: np.ndarray | None = None) -> np.ndarray:
    """The kernel that a path [N,2] of (x, y) in px draws, by bilinear splatting, its centre of mass
    in the middle of [size,size].

    Raises ValueError for a path that does not fit.
    """
    weights = np.full(len(points), 1 / len(points)) if weights is None else weights / weights.sum()
    position = points - weights @ points + (size - 1) / 2
    corner = np.floor(position).astype(int)
    if corner.min() < 0 or corner.max() > size - 2:
        raise ValueError(
            f"a path of {np.ptp(points, axis=0).max():.1f} px does not fit into a kernel of "
            f"{size} px"
        )
    share, kernel = position - corner, np.zeros((size, size))
    for dx in (0, 1):
        for dy in (0, 1):
            part = (share[:, 0] if dx else 1 - share[:, 0]) * (
                share[:, 1] if dy else 1 - share[:, 1]
            )
            np.add.at(kernel, (corner[:, 1] + dy, corner[:, 0] + dx), weights * part)
    return kernel.astype(np.float32)


def kernel_sheet(kernels: Sequence[np.ndarray], columns: int = 10, cell: int = 96) -> np.ndarray:
    """A picture [H,W,3] of kernels, each brightened to its own maximum."""
    cells = []
    for kernel in kernels:
        pixels = cv2.resize(
            np.sqrt(kernel / kernel.max()),
            (cell, cell),
            interpolation=cv2.INTER_AREA if len(kernel) > cell else cv2.INTER_NEAREST,
        )
        cells.append(np.pad(np.uint8(255 * pixels), 1, constant_values=64))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)]
    return np.repeat(np.vstack(rows)[..., None], 3, 2)


def _is_kernel(path: Path) -> bool:
    from utils.image import (
        is_image,
    )  # where pictures are read: the kernels themselves need no more than numpy, scipy and OpenCV

    return path.suffix in (".mat", ".npy") or (is_image(path) and path.stem != "contact_sheet")


def _read_kernel(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"no kernel at {path}")
    if path.suffix == ".mat":
        return np.float64(read_matlab(path, "K"))
    if path.suffix == ".npy":
        with reading(path, "a kernel", tokenize.TokenError):
            return np.float64(np.load(path, allow_pickle=False))
    from utils.image import read_image

    kernel = np.float64(read_image(path).mean(-1))
    missing = [1 - side % 2 for side in kernel.shape]  # drawn trajectories may have even sides
    return np.pad(kernel, ((0, missing[0]), (0, missing[1])))
