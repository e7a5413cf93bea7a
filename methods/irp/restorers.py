"""What the labels are made with: restorers, and the quality of what they give as one number.

quality = (clip((PSNR - 15) / 20, 0, 1) + max(SSIM, 0)) / 2 of the restored picture against the
sharp one (protocol `image`); the label of a shot is the mean quality over the restorers. denoise:
non-local means (scikit-image) that know the sensor's noise. deblur: a network on the denoised
picture. deconvolve: an oracle, Richardson-Lucy on the denoised picture in linear light with the
blur kernels that the generator knows; it tells blur that can be undone from a picture that is
merely soft.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.fft import next_fast_len
from skimage.restoration import denoise_nl_means
from torch import Tensor

from data.synthesis.camera import STANDARD
from data.synthesis.stack import Exposure
from restoration.image import ImageRestorer
from utils.evaluation.metrics import ssim
from utils.evaluation.protocols import PROTOCOLS
from utils.image import to_8bit

PSNR_RANGE = (15.0, 35.0)  # dB that become 0 and 1
# Richardson-Lucy: ITERATIONS_TIMES_NOISE / noise iterations within these bounds
ITERATIONS_TIMES_NOISE = 0.25
MIN_ITERATIONS = 3
MAX_ITERATIONS = 20
MIN_LIGHT = 1e-4  # so that Richardson-Lucy never divides by nothing
MIN_FRACTION = 0.05  # of a pixel's light in the picture; Richardson-Lucy leaves it alone below
MIN_EXTENT = 1.5  # px; shorter blur is left alone
# (denoised picture, its noise before, exposure) -> restored [h,w,3]
Restorer = Callable[[np.ndarray, float, Exposure], np.ndarray]


def denoise(bright: np.ndarray, noise: float) -> np.ndarray:
    """A bright picture [h,w,3] in [0,1] without its noise, given as a standard deviation."""
    patch = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
    return np.float32(denoise_nl_means(bright, h=0.8 * noise, sigma=noise, **patch))


def find_restorers(
    names: list[str], weights: list[Path], device: str, precision: str
) -> dict[str, Restorer]:
    """Name -> restorer; of several networks each has the name of its file behind `deblur_`."""
    found: dict[str, Restorer] = {}
    for name in names:
        if name == "denoise":
            found[name] = _keep
        elif name == "deconvolve":
            found[name] = _deconvolve
        else:
            for path in weights:
                label = name if len(weights) == 1 else f"{name}_{path.stem}"
                restorer = ImageRestorer.load(path, device, precision, scale=1, guard=False)
                found[label] = Deblur(restorer)
    return found


def quality(restored: np.ndarray, sharp: np.ndarray) -> dict[str, float]:
    """psnr, ssim and quality of a restored picture [h,w,3] in [0,1] against 8-bit pixels."""
    pixels = to_8bit(torch.from_numpy(np.float32(restored)).permute(2, 0, 1))
    protocol = PROTOCOLS["image"]
    scores = {"psnr": protocol.psnr(pixels, sharp), "ssim": ssim(pixels, sharp)}
    lowest, highest = PSNR_RANGE
    level = float(np.clip((scores["psnr"] - lowest) / (highest - lowest), 0, 1))
    return scores | {"quality": (level + max(scores["ssim"], 0)) / 2}


@dataclass(frozen=True)
class Deblur:
    """A network on the denoised picture."""

    restorer: ImageRestorer

    def __call__(self, denoised: np.ndarray, noise: float, exposure: Exposure) -> np.ndarray:
        image = torch.from_numpy(denoised).permute(2, 0, 1)
        return self.restorer.restore(image).permute(1, 2, 0).numpy()


def _keep(denoised: np.ndarray, noise: float, exposure: Exposure) -> np.ndarray:
    return denoised


def _deconvolve(denoised: np.ndarray, noise: float, exposure: Exposure) -> np.ndarray:
    wanted = ITERATIONS_TIMES_NOISE / max(noise, 1e-6)
    iterations = int(np.clip(wanted, MIN_ITERATIONS, MAX_ITERATIONS))
    linear = STANDARD.linear(denoised)
    restored = np.zeros_like(linear)
    for kernel, weight in zip(exposure.kernels, exposure.weights):
        restored += weight[..., None] * _deconvolve_one(linear, kernel, iterations)
    return STANDARD.encoded(restored)


def _deconvolve_one(linear: np.ndarray, kernel: np.ndarray, iterations: int) -> np.ndarray:
    """richardson_lucy without the kernel's empty margins; blur below MIN_EXTENT is left alone."""
    rows = np.flatnonzero(kernel.sum(1))
    columns = np.flatnonzero(kernel.sum(0))
    if max(np.ptp(rows), np.ptp(columns)) <= MIN_EXTENT:
        return linear
    centre = len(kernel) // 2
    reach = max(centre - min(rows[0], columns[0]), max(rows[-1], columns[-1]) - centre)
    inner = slice(centre - reach, centre + reach + 1)
    return richardson_lucy(np.maximum(linear, MIN_LIGHT), kernel[inner, inner], iterations)


def richardson_lucy(blurred: np.ndarray, kernel: np.ndarray, iterations: int) -> np.ndarray:
    """The picture [H,W,C] that, correlated with a kernel [K,K] (K odd), gives the blurred one.

    Its light must be above 0. What lies up to K/2 px outside is estimated, too, from the part of it
    that was blurred into the picture (Bertero and Boccacci, A&A 2005). scikit-image's function
    takes it for black instead, which leaves rings of twice the blur's length.
    """
    height, width = blurred.shape[:2]
    reach = len(kernel) // 2
    border = "reflect" if min(height, width) > reach else "symmetric"
    padded = np.pad(blurred, ((reach, reach), (reach, reach), (0, 0)), border)
    estimate = torch.from_numpy(np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32))
    inside = np.s_[..., reach : reach + height, reach : reach + width]
    observed = estimate[inside].clone()  # [C,H,W]
    seen = torch.zeros(estimate.shape[1:])
    seen[inside] = 1
    shape = [next_fast_len(side + 2 * reach, real=True) for side in seen.shape]
    response = torch.fft.rfft2(torch.from_numpy(np.ascontiguousarray(kernel, np.float32)), shape)

    def filtered(image: Tensor, factor: Tensor, shift: int) -> Tensor:
        whole = torch.fft.irfft2(torch.fft.rfft2(image, shape) * factor, shape)
        whole = whole.roll((shift, shift), (-2, -1))
        return whole[..., : seen.shape[0], : seen.shape[1]]

    # of each pixel's light, the fraction that fell into the picture
    fraction = filtered(seen, response, -reach).clamp(min=0)
    for _ in range(iterations):
        predicted = filtered(estimate, response.conj(), reach)[inside]
        ratio = torch.zeros_like(estimate)
        ratio[inside] = observed / predicted.clamp(min=MIN_LIGHT / 10)
        correction = filtered(ratio, response, -reach) / fraction.clamp(min=MIN_FRACTION)
        estimate = estimate * torch.where(fraction > MIN_FRACTION, correction, 1.0).clamp(min=0)
    return estimate[inside].clamp(0, 1).permute(1, 2, 0).numpy()
