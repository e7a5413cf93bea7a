"""What the labels are made with: restorers, and how the quality of what they give becomes one
number.

quality = (clip((PSNR - 15) / 20, 0, 1) + max(SSIM, 0)) / 2 of the restored picture against the
sharp one (protocol `image`); the label of a shot is the mean quality over the restorers. denoise:
non-local means (scikit-image) that know the sensor's noise. deblur: a network on the denoised
picture. deconvolve: an oracle, Richardson-Lucy on the denoised picture in linear light with the
blur kernels that the generator knows; it tells blur that can be undone from a picture that is
merely soft.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.fft import next_fast_len
from skimage.restoration import denoise_nl_means
from torch import Tensor

from data.synthesis.camera import STANDARD
from data.synthesis.stack import Exposure
from models import load_network
from models.blocks import ImageNetwork
from utils.device import autocast, available_memory
from utils.evaluation.metrics import ssim
from utils.evaluation.protocols import PROTOCOLS
from utils.image import to_8bit
from utils.tiling import OVERLAP, restore_tiled, tile_for

PSNR_RANGE = (15.0, 35.0)  # dB that become 0 and 1
MAX_ITERATIONS, MIN_ITERATIONS, NOISE_PER_ITERATION = (
    20,
    3,
    0.25,
)  # of Richardson-Lucy: fewer where there is more noise
DARKEST = 1e-4  # of the light, so that Richardson-Lucy never divides by nothing
MIN_FRACTION = (
    0.05  # of a pixel's light in the picture, below which Richardson-Lucy leaves it alone
)
MIN_EXTENT = 1.5  # px; shorter blur is left alone
Restorer = Callable[
    [np.ndarray, float, Exposure], np.ndarray
]  # denoised picture, its noise before, exposure -> restored [h,w,3]


def denoise(bright: np.ndarray, noise: float) -> np.ndarray:
    """A bright picture [h,w,3] in [0,1] without noise of a standard deviation."""
    patch = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
    return np.float32(denoise_nl_means(bright, h=0.8 * noise, sigma=noise, **patch))


def find_restorers(
    names: list[str], weights: list[Path], device: torch.device, dtype: torch.dtype
) -> dict[str, Restorer]:
    """Name -> restorer; of several networks each has the name of its file behind `deblur_`."""
    found: dict[str, Restorer] = {}
    for name in names:
        if name == "denoise":
            found[name] = lambda denoised, noise, exposure: denoised
        elif name == "deconvolve":
            found[name] = _deconvolve
        else:
            for path in weights:
                network = load_network(path, ImageNetwork).to(device)
                label = name if len(weights) == 1 else f"{name}_{path.stem}"
                found[label] = functools.partial(_deblur, network, device, dtype)
    return found


def quality(restored: np.ndarray, sharp: np.ndarray) -> dict[str, float]:
    """psnr, ssim and quality of a restored picture [h,w,3] in [0,1] against 8-bit pixels."""
    pixels = to_8bit(torch.from_numpy(np.float32(restored)).permute(2, 0, 1))
    protocol = PROTOCOLS["image"]
    scores = {"psnr": protocol.psnr(pixels, sharp), "ssim": ssim(pixels, sharp)}
    least, most = PSNR_RANGE
    level = float(np.clip((scores["psnr"] - least) / (most - least), 0, 1))
    return scores | {"quality": (level + max(scores["ssim"], 0)) / 2}


def deblur(
    network: ImageNetwork, device: torch.device, dtype: torch.dtype, image: Tensor
) -> Tensor:
    """The restored image [3,H,W] of one in [0,1], not clamped; in tiles where memory asks for
    it.
    """

    def restore(part: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(device, dtype):
            return network(part).float()

    tile = tile_for(
        image.shape[-2:],
        network.bytes_per_pixel,
        available_memory(device),
        OVERLAP,
        network.multiple,
    )
    return restore_tiled(restore, image[None], tile, OVERLAP, network.multiple, device)[0]


def _deblur(
    network: ImageNetwork,
    device: torch.device,
    dtype: torch.dtype,
    denoised: np.ndarray,
    noise: float,
    exposure: Exposure,
) -> np.ndarray:
    return (
        deblur(network, device, dtype, torch.from_numpy(denoised).permute(2, 0, 1))
        .permute(1, 2, 0)
        .numpy()
    )


def _deconvolve(denoised: np.ndarray, noise: float, exposure: Exposure) -> np.ndarray:
    iterations = int(
        np.clip(NOISE_PER_ITERATION / max(noise, 1e-6), MIN_ITERATIONS, MAX_ITERATIONS)
    )
    linear = STANDARD.linear(denoised)
    restored = np.zeros_like(linear)
    for kernel, weight in zip(exposure.kernels, exposure.weights):
        restored += weight[..., None] * _richardson_lucy(linear, kernel, iterations)
    return STANDARD.encoded(restored)


def _richardson_lucy(linear: np.ndarray, kernel: np.ndarray, iterations: int) -> np.ndarray:
    """Without the margins where a kernel is empty; blur shorter than MIN_EXTENT is left alone."""
    rows, columns = (np.flatnonzero(kernel.sum(axis)) for axis in (1, 0))
    if max(np.ptp(rows), np.ptp(columns)) <= MIN_EXTENT:
        return linear
    margin = len(kernel) // 2
    reach = max(margin - min(rows[0], columns[0]), max(rows[-1], columns[-1]) - margin)
    kernel = kernel[margin - reach : margin + reach + 1, margin - reach : margin + reach + 1]
    return richardson_lucy(np.maximum(linear, DARKEST), kernel, iterations)


def richardson_lucy(blurred: np.ndarray, kernel: np.ndarray, iterations: int) -> np.ndarray:
    """The picture [H,W,C] that, correlated with a kernel [K,K] (K odd), gives the blurred one;
    light above 0.

    What lies up to K/2 px outside is estimated, too, from the part of it that was blurred into the
    picture (Bertero and Boccacci, A&A 2005). scikit-image's function takes it for black instead,
    which leaves rings of twice the blur's length.
    """
    reach, size = len(kernel) // 2, blurred.shape[:2]
    padded = np.pad(
        blurred,
        ((reach, reach), (reach, reach), (0, 0)),
        "reflect" if min(size) > reach else "symmetric",
    )
    estimate = torch.from_numpy(np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32))
    inside = np.s_[..., reach : reach + size[0], reach : reach + size[1]]
    observed, seen = estimate[inside].clone(), torch.zeros(estimate.shape[1:])
    seen[inside] = 1
    shape = [next_fast_len(side + 2 * reach, real=True) for side in seen.shape]
    response = torch.fft.rfft2(torch.from_numpy(np.ascontiguousarray(kernel, np.float32)), shape)

    def filtered(image: Tensor, factor: Tensor, start: int) -> Tensor:
        whole = torch.fft.irfft2(torch.fft.rfft2(image, shape) * factor, shape).roll(
            (start, start), (-2, -1)
        )
        return whole[..., : seen.shape[0], : seen.shape[1]]

    share = filtered(seen, response, -reach).clamp(
        min=0
    )  # of a pixel's light that fell into the picture
    for _ in range(iterations):
        ratio = torch.zeros_like(estimate)
        ratio[inside] = observed / filtered(estimate, response.conj(), reach)[inside].clamp(
            min=DARKEST / 10
        )
        correction = filtered(ratio, response, -reach) / share.clamp(min=MIN_FRACTION)
        estimate = estimate * torch.where(share > MIN_FRACTION, correction, 1.0).clamp(min=0)
    return estimate[inside].clamp(0, 1).permute(1, 2, 0).numpy()
