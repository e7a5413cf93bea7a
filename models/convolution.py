"""Convolutions in the forms that are fastest on a CPU.

Large kernels by Fourier transforms of small tiles (NNPACK): a 5x5 convolution of 64 channels takes
a third to a quarter of the direct one's time, and its rounding errors are smaller. Tiles of 16x16
px need 3.6 products per pixel and pair of channels instead of 25. It computes in contiguous float32
and has no gradients here.

NNPACK's own threads wait for each other's turn beside torch's: with two of them SRN took twice the
time of the direct form, and a process forked after such a call hangs in the next. So it works in
one thread, and direct convolutions are taken where torch has more than MAX_THREADS.

1x1 kernels in one thread, and convolutions of space-to-depth: PointwiseConv2d and
unshuffled_convolution.
"""

from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.errors import UserError

MIN_KERNEL = 5  # smaller kernels are computed by Winograd's algorithm, whose errors are larger
MAX_KERNEL = 15  # of tiles of 16 px
MAX_THREADS = 2  # of torch; with more of them direct convolutions win
MIN_PIXELS = 512  # below, transforming the kernels costs more than it saves

Implementation = Literal["auto", "direct", "fourier"]


def same_convolution(
    features: Tensor, weight: Tensor, bias: Tensor, impl: Implementation = "auto"
) -> Tensor:
    """Convolutions [B,D,H,W] of features [B,C,H,W] by odd kernels [D,C,K,K], zeros outside.

    impl: `direct`; `fourier`, whose result is contiguous and float32 also in mixed precision;
    `auto`, the faster of the two.
    `torch.backends.nnpack.flags(enabled=False)` keeps `auto` from `fourier`. Raises UserError where
    `fourier` can't be.
    """
    if impl not in ("auto", "direct", "fourier"):
        raise ValueError(f"impl {impl!r}: auto, direct or fourier")
    if impl == "direct":
        return F.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)
    obstacle = _obstacle(features, weight)
    if impl == "fourier" and obstacle:
        raise UserError(f"a convolution by Fourier transforms {obstacle}")
    if impl == "auto" and (obstacle or not _is_faster(features)):
        return F.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)
    _start_in_one_thread()
    weight = weight.contiguous()
    # one image at a time, which is faster than all at once
    results = [
        torch._nnpack_spatial_convolution(image, weight, bias, weight.shape[-1] // 2)
        for image in features.float().contiguous().split(1)
    ]
    return results[0] if len(results) == 1 else torch.cat(results)


@cache
def _start_in_one_thread() -> None:
    """NNPACK makes as many threads as torch has at the first call: let it be one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch._nnpack_spatial_convolution(
            torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 5, 5), None, 2
        )
    finally:
        torch.set_num_threads(threads)


def _obstacle(features: Tensor, weight: Tensor) -> str | None:
    """Why these can't be convolved by Fourier transforms, None where they can."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return "can't be compiled or exported"
    kernel_size = weight.shape[-1]
    obstacles = {
        "needs tensors on the CPU": features.device.type != "cpu" or type(features) is not Tensor,
        "needs float32": _of_another_type(features) or weight.dtype != torch.float32,
        "has no gradients": torch.is_grad_enabled(),
        f"needs kernels of {MIN_KERNEL} to {MAX_KERNEL} px, not {kernel_size}": not (
            MIN_KERNEL <= kernel_size <= MAX_KERNEL
        ),
        "needs pixels": not features.numel(),
        "needs NNPACK, which this processor or build of torch lacks": not (
            torch.backends.nnpack.is_available()
        ),
    }
    return next((reason for reason, holds in obstacles.items() if holds), None)


def _of_another_type(features: Tensor) -> bool:
    """Neither float32 nor what mixed precision makes of it."""
    if torch.is_autocast_enabled("cpu"):
        return not features.is_floating_point()
    return features.dtype != torch.float32


def _is_faster(features: Tensor) -> bool:
    if torch.is_autocast_enabled("cpu") and torch.cpu._is_amx_tile_supported():
        return False  # such processors have matrix units for bf16
    large = features.shape[-2] * features.shape[-1] >= MIN_PIXELS
    few_threads = torch.get_num_threads() <= MAX_THREADS
    return large and few_threads and torch._C._get_nnpack_enabled()


class SameConv2d(nn.Conv2d):
    """`same_convolution` as a layer, of stride 1 and any padding mode."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding_mode: str = "zeros"
    ):
        padding = kernel_size // 2
        super().__init__(
            in_channels, out_channels, kernel_size, padding=padding, padding_mode=padding_mode
        )

    def forward(self, features: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            return super().forward(features)
        return same_convolution(features, self.weight, self.bias)


def in_layout_of(features: Tensor, weight: Tensor) -> Tensor:
    """The weight in the memory format of contiguous features, which a convolution's result then
    keeps; with gradients and when compiled the weight as it is.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or not features.is_contiguous():
        return weight
    return weight.contiguous()


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution as a layer.

    In one thread torch multiplies matrices, after it has written the bias to every pixel, which
    takes half as long again as oneDNN's kernel. oneDNN gets dilated convolutions in any case, and a
    kernel of one pixel is the same with every dilation.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        return self._convolved(features, self.weight, self.bias)

    def scaled_onto(self, base: Tensor, features: Tensor, scale: Tensor) -> Tensor:
        """base + scale * convolution, with scale [1,D,1,1], of the type of `base`.

        On a CPU without gradients the weights are scaled instead of every pixel.
        """
        alike = base.dtype == features.dtype
        if torch.is_grad_enabled() or not alike or not _torch_alone(features):
            own = self(features)
            return torch.addcmul(base, own, scale.to(own.dtype))
        weight = self.weight * scale.view(-1, 1, 1, 1)
        bias = self.bias * scale.flatten()
        return self._convolved(features, weight, bias).add_(base)

    def _convolved(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if _torch_alone(features) and torch.get_num_threads() == 1:
            return F.conv2d(features, weight, bias, dilation=2)
        return F.conv2d(features, weight, bias)


def unshuffled_convolution(image: Tensor, convolution: nn.Conv2d, scale: int) -> Tensor:
    """A "same" convolution [B,D,H/s,W/s] on s x s space-to-depth of an image [B,C,H,W].

    On a CPU without gradients the pixels stay where they are: the kernels are brought to the
    image's resolution and applied at every s-th pixel, with the same products.
    """
    if torch.is_grad_enabled() or not _torch_alone(image):
        return convolution(F.pixel_unshuffle(image, scale))
    weight = F.pixel_shuffle(convolution.weight, scale)  # [D,C,K*s,K*s]
    padding = scale * (convolution.kernel_size[0] // 2)
    return F.conv2d(image, weight, convolution.bias, scale, padding)


def _torch_alone(features: Tensor) -> bool:
    """Whether this is computed right now on a CPU, not compiled or exported."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return features.device.type == "cpu" and not traced
