"""Spatially varying blur of a background and objects, each with its own kernel.

They are blended by their blurred masks (SBDD, arXiv 2209.12675). Plain PyTorch, so that it runs on
the CPU and, unchanged, on a GPU. Unlike the published form, one transform of the image serves the
background (not one per kernel and channel), all in float32 and at sizes that suit the FFT; the
valid region needs no padding, since what wraps around lies outside it; an object and its mask are
blurred inside their own box alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
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
    which is the same). Raises ValueError for shapes that do not fit.
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
    kernels = kernels.to(image_linear)
    masks = masks.to(image_linear)
    blurred = correlate(image_linear, kernels[0])  # [C,h,w]
    weights = image_linear.new_zeros(len(kernels), *blurred.shape[1:])
    weights[0] = 1
    if not len(masks):
        return blurred, weights
    boxes = [reach(mask, size) for mask in masks]
    _blur_masks(masks, kernels, boxes, weights)
    weights /= weights.sum(0) + EPSILON
    blurred *= weights[0]
    for weight, kernel, box in zip(weights[1:], kernels[1:], boxes):
        if box:
            rows, columns = _inside(box)
            rows_under, columns_under = _under(box, size)
            object_blurred = correlate(image_linear[:, rows_under, columns_under], kernel)
            blurred[:, rows, columns] += weight[rows, columns] * object_blurred
    return blurred, weights


def blend_arrays(
    image_linear: np.ndarray, kernels: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`blend` on the CPU of an array [H,W,3]: blurred [h,w,3] and weights [N+1,h,w]."""
    planes = torch.from_numpy(np.ascontiguousarray(image_linear.transpose(2, 0, 1)))
    kernel_tensor = torch.from_numpy(np.float32(kernels))
    mask_tensor = torch.from_numpy(np.float32(masks))
    with torch.inference_mode():
        blurred, weights = blend(planes, kernel_tensor, mask_tensor)
    return blurred.permute(1, 2, 0).numpy(), weights.numpy()


def correlate(image: Tensor, kernel: Tensor) -> Tensor:
    """The valid part [C,H-k+1,W-k+1] of images [C,H,W] correlated with a kernel [k,k].

    Empty rims of the kernel cost nothing.
    """
    size = kernel.shape[-1]
    height = image.shape[1] - size + 1
    width = image.shape[2] - size + 1
    rows = kernel.sum(1).nonzero()[:, 0]
    columns = kernel.sum(0).nonzero()[:, 0]
    top = int(rows[0])
    bottom = int(rows[-1]) + 1
    left = int(columns[0])
    right = int(columns[-1]) + 1
    kernel = kernel[top:bottom, left:right]
    image = image[:, top : height + bottom - 1, left : width + right - 1]
    if kernel.numel() == 1:
        return image * kernel
    shape = [next_fast_len(side, real=True) for side in image.shape[1:]]
    spectrum = torch.fft.rfft2(image, shape) * torch.fft.rfft2(kernel, shape).conj()
    return torch.fft.irfft2(spectrum, shape)[:, :height, :width]


def reach(mask: Tensor, size: int) -> Box | None:
    """The box of the output that a mask [H,W] touches under a kernel of `size`, None for nowhere.

    The output has the size [H-size+1,W-size+1].
    """
    rows = mask.amax(1).nonzero()[:, 0]
    columns = mask.amax(0).nonzero()[:, 0]
    if not len(rows):
        return None
    box = Box(
        top=max(int(rows[0]) - size + 1, 0),
        bottom=min(int(rows[-1]) + 1, mask.shape[0] - size + 1),
        left=max(int(columns[0]) - size + 1, 0),
        right=min(int(columns[-1]) + 1, mask.shape[1] - size + 1),
    )
    if box.bottom <= box.top or box.right <= box.left:
        return None
    return box


def _blur_masks(
    masks: Tensor, kernels: Tensor, boxes: Sequence[Box | None], weights: Tensor
) -> None:
    """Write the blurred masks of the background and the objects into `weights` [N+1,h,w]."""
    size = kernels.shape[-1]
    union = reach(masks.amax(0), size)
    if union:
        background = 1 - masks.amax(0)[_under(union, size)]
        weights[0][_inside(union)] = correlate(background[None], kernels[0])[0]
    for weight, mask, kernel, box in zip(weights[1:], masks, kernels[1:], boxes):
        if box:
            weight[_inside(box)] = correlate(mask[_under(box, size)][None], kernel)[0]


def _inside(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.bottom), slice(box.left, box.right)


def _under(box: Box, size: int) -> tuple[slice, slice]:
    """What of the image lies under the kernel for the outputs of a box."""
    return slice(box.top, box.bottom + size - 1), slice(box.left, box.right + size - 1)
