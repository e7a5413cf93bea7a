"""Spatially varying blur: a background and objects, each with its own kernel, blended by their
blurred masks (SBDD, arXiv 2209.12675).

Plain PyTorch, so that it runs on the CPU and, unchanged, on a GPU. Where the time went in the
published form, and what is done here: one transform of the image serves the background (it was one
per kernel and channel), all in float32 and at sizes the FFT likes; the valid region needs no
padding, since what wraps around lies outside it; an object and its mask are blurred inside their
own box alone.
"""

from typing import NamedTuple

import torch
from scipy.fft import next_fast_len
from torch import Tensor

EPSILON = 1e-6  # added to the sum of the masks, as published


class Box(NamedTuple):
    """Rows and columns of the output that a mask reaches."""

    top: int
    bottom: int
    left: int
    right: int


def blend(image_linear: Tensor, kernels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """(blurred [C,h,w], weights [N+1,h,w]) of an image [C,H,W]; h, w = H - K + 1, W - K + 1.

    kernels [N+1,K,K], the background's first, then one per object; masks [N,H,W] in [0,1] of the
    objects. Every mask is blurred by its own kernel, the weights are the blurred masks over their
    sum, blurred = sum of weight * (image blurred by that kernel). Kernels are laid over the image
    as they are (correlation; the published program convolves with the kernel flipped in both axes,
    which is the same).
    """
    size = kernels.shape[-1]
    if len(kernels) != len(masks) + 1 or masks.shape[1:] != image_linear.shape[1:]:
        raise ValueError(
            f"{len(kernels)} kernels, masks {tuple(masks.shape)}, image "
            f"{tuple(image_linear.shape)}: they do not fit"
        )
    if min(image_linear.shape[1:]) < size:
        raise ValueError(
            f"an image of {image_linear.shape[2]}x{image_linear.shape[1]} is smaller than the "
            f"kernel of {size}"
        )
    height, width = (side - size + 1 for side in image_linear.shape[1:])
    kernels = kernels.to(image_linear)
    masks = masks.to(image_linear)
    blurred = correlate(image_linear, kernels[0])
    weights = image_linear.new_zeros(len(kernels), height, width)
    weights[0] = 1
    if len(masks):
        boxes = [reach(mask, size) for mask in masks]
        union = reach(masks.amax(0), size)
        if union:
            background = 1 - masks.amax(0)
            weights[0][_inside(union)] = correlate(
                background[_under(union, size)][None], kernels[0]
            )[0]
        for weight, mask, kernel, box in zip(weights[1:], masks, kernels[1:], boxes):
            if box:
                weight[_inside(box)] = correlate(mask[_under(box, size)][None], kernel)[0]
        total = weights.sum(0) + EPSILON
        weights /= total
        blurred *= weights[0]
        for weight, kernel, box in zip(weights[1:], kernels[1:], boxes):
            if box:
                part = image_linear[(slice(None), *_under(box, size))]
                blurred[(slice(None), *_inside(box))] += weight[_inside(box)] * correlate(
                    part, kernel
                )
    return blurred, weights


def correlate(image: Tensor, kernel: Tensor) -> Tensor:
    """The valid part [C,H-k+1,W-k+1] of images [C,H,W] correlated with a kernel [k,k]; empty rims
    of the kernel cost nothing.
    """
    rows, columns = (kernel.sum(axis).nonzero()[:, 0] for axis in (1, 0))
    size = kernel.shape[-1]
    height, width = (side - size + 1 for side in image.shape[1:])
    top, bottom, left, right = (
        int(rows[0]),
        int(rows[-1]) + 1,
        int(columns[0]),
        int(columns[-1]) + 1,
    )
    kernel = kernel[top:bottom, left:right]
    image = image[:, top : top + height + bottom - top - 1, left : left + width + right - left - 1]
    if kernel.numel() == 1:
        return image * kernel
    shape = [next_fast_len(side, real=True) for side in image.shape[1:]]
    spectrum = torch.fft.rfft2(image, shape) * torch.fft.rfft2(kernel, shape).conj()
    return torch.fft.irfft2(spectrum, shape)[:, :height, :width]


def reach(mask: Tensor, size: int) -> Box | None:
    """The box of the output [H-size+1,W-size+1] that a mask [H,W] touches under a kernel of `size`;
    None where it does not.
    """
    sides = []
    for axis, length in ((1, mask.shape[0]), (0, mask.shape[1])):
        touched = mask.amax(axis).nonzero()[:, 0]
        if not len(touched):
            return None
        sides += [max(int(touched[0]) - size + 1, 0), min(int(touched[-1]) + 1, length - size + 1)]
    return Box(*sides) if sides[1] > sides[0] and sides[3] > sides[2] else None


def _inside(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.bottom), slice(box.left, box.right)


def _under(box: Box, size: int) -> tuple[slice, slice]:
    """What of the image lies under the kernel for the outputs of a box."""
    return slice(box.top, box.bottom + size - 1), slice(box.left, box.right + size - 1)
