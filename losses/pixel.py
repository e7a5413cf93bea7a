"""Losses on pixels: how far a restored image [B,C,H,W] lies from the sharp one."""

import torch
from torch import Tensor


def l1(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean absolute error."""
    return (restored - sharp).abs().mean()


def mse(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean squared error."""
    return (restored - sharp).square().mean()


def fft_l1(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean absolute error of the full 2-D Fourier transforms, real and imaginary parts as separate
    numbers, not normalised (MIMO-UNet).
    """
    difference = torch.fft.fft2(restored.float() - sharp.float())
    return torch.view_as_real(difference).abs().mean()


def charbonnier(restored: Tensor, sharp: Tensor, epsilon: float = 0.02) -> Tensor:
    """Mean sqrt(error^2 + epsilon^2), epsilon in [0,1] units.

    For networks that start at the identity: pixels that are right already do not pin the output
    there, as L1's kink does.
    """
    return ((restored - sharp) ** 2 + epsilon**2).sqrt().mean()


def negative_psnr(restored: Tensor, sharp: Tensor, floor: float = 1e-3) -> Tensor:
    """Mean over the batch of 10 log10(mean squared error + floor), the PSNR of [0,1] images with
    the sign turned (dB).

    Every sample counts by its own decibels, so that spoiling an almost sharp one costs as much as
    improving a blurry one gains. floor: squared errors far below it count little (1e-3 = 30 dB;
    NAFNet, arXiv 2204.04676, takes 1e-8). With 1e-4 and many unblurred samples these outweigh the
    blurred ones thirty to one, and nothing is learned but the identity.
    """
    return 10 * ((restored - sharp).square().flatten(1).mean(1) + floor).log10().mean()


def hard_example_mining(
    restored: Tensor, sharp: Tensor, random_mask: Tensor, hard_fraction: float = 0.5
) -> Tensor:
    """L1 on hard pixels (HEM, as published with CDVD-TSP): mean |restored - sharp| * mask over ALL
    elements.

    The mask [B,1,H,W] holds the `hard_fraction` of pixels whose error, summed over the channels, is
    largest (strictly above the value at index floor(fraction*H*W) of the descending sort), united
    with `random_mask` (see random_pixels; zeros for none).
    """
    error = (restored - sharp).abs()
    mask = torch.maximum(hard_pixels(error, hard_fraction), random_mask)
    return (error * mask).mean()


def hard_pixels(error: Tensor, fraction: float) -> Tensor:
    """Mask [B,1,H,W] of the pixels with the largest channel sum of `error` [B,C,H,W]; no
    gradient.
    """
    total = error.detach().sum(1, keepdim=True)
    rank = int(fraction * total[0].numel())
    threshold = total.flatten(1).sort(1, descending=True).values[:, rank]
    return (total > threshold.view(-1, 1, 1, 1)).to(error.dtype)


def random_pixels(error: Tensor, fraction: float, generators: list[torch.Generator]) -> Tensor:
    """Mask [B,1,H,W] of exactly floor(fraction*H*W) random pixels per sample for an image batch
    [B,C,H,W]; a CPU generator per sample.
    """
    batch, _, height, width = error.shape
    pixels = height * width
    mask = torch.zeros(batch, pixels, pin_memory=error.is_cuda and torch.cuda.is_available())
    for row, generator in zip(mask, generators, strict=True):
        row[torch.randperm(pixels, generator=generator)[: int(fraction * pixels)]] = 1
    mask = mask.view(batch, 1, height, width)
    return mask.to(error.device, error.dtype, non_blocking=True)
