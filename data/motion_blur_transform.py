"""Motion blur as a transform of torchvision, for pipelines of one's own.

A file of its own, since torchvision takes a second to import.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.synthesis.blend import correlate
from data.synthesis.camera import GAMMA
from data.synthesis.kernels import KINDS, Kind, random_kernel


class RandomMotionBlur(v2.Transform):
    """A torchvision transform: blurs by one random camera motion with a probability.

    Takes pictures and videos [...,C,H,W]. Averages in linear light (gamma 2.2), edges repeated by
    reflection; integer types are rounded and keep their type. Masks, boxes and labels pass
    unchanged, since the kernels are centred. length: extent of the motion in px, drawn from this
    range. Randomness comes from torch's generator, as in every transform.
    """

    _transformed_types = (tv_tensors.Image, tv_tensors.Video, v2.functional._utils.is_pure_tensor)

    def __init__(
        self,
        probability: float = 0.5,
        length: tuple[float, float] = (1.0, 20.0),
        kinds: tuple[Kind, ...] = KINDS,
        size: int = 65,
    ):
        super().__init__()
        if not 0 <= probability <= 1 or not 0 < length[0] <= length[1] <= size - 3:
            raise ValueError(
                f"probability {probability} must lie in 0..1 and lengths {length} in (0, "
                f"{size - 3}]"
            )
        self.probability = probability
        self.length = length
        self.kinds = kinds
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        if torch.rand(()) >= self.probability:
            return {"kernel": None}
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        kernel = random_kernel(rng, self.size, kind, float(rng.uniform(*self.length)))
        return {"kernel": torch.from_numpy(kernel)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        kernel = params["kernel"]
        if kernel is None:
            return inpt
        image = inpt.as_subclass(Tensor).float()
        if inpt.is_floating_point():
            result = _blurred(image, kernel).to(inpt.dtype)
        else:
            full_scale = torch.iinfo(inpt.dtype).max
            result = (_blurred(image / full_scale, kernel) * full_scale).round().to(inpt.dtype)
        if isinstance(inpt, tv_tensors.TVTensor):
            return tv_tensors.wrap(result, like=inpt)
        return result


def _blurred(image: Tensor, kernel: Tensor) -> Tensor:
    """Images [...,H,W] blurred in linear light by a kernel [K,K], of the same size."""
    kernel = _without_empty_rim(kernel).to(image.device)  # [k,k]
    margin = kernel.shape[-1] // 2
    planes = image.clamp(min=0).pow(GAMMA).reshape(1, -1, *image.shape[-2:])  # [1,N,H,W]
    border = "reflect"
    if margin >= min(image.shape[-2:]):
        border = "replicate"
    planes = F.pad(planes, (margin,) * 4, mode=border)[0]  # [N,H+k-1,W+k-1]
    blurred = correlate(planes, kernel)  # [N,H,W]
    return blurred.clamp(min=0).pow(1 / GAMMA).reshape(image.shape)


def _without_empty_rim(kernel: Tensor) -> Tensor:
    """The smallest square [k,k] around the middle of a kernel [K,K] that holds all of it."""
    middle = kernel.shape[-1] // 2
    rows = (kernel.sum(1) > 0).nonzero()[:, 0]
    columns = (kernel.sum(0) > 0).nonzero()[:, 0]
    reach = int(max((rows - middle).abs().max(), (columns - middle).abs().max()))
    inner = slice(middle - reach, middle + reach + 1)
    return kernel[inner, inner]
