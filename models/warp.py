"""Backward warping of images by optical flow.

warped(p) = image(p + flow(p)), flow = (dx, dy) in pixels of its own resolution (PWC-Net, Sun et
al., CVPR 2018, eq. 1). The sampling convention is that of the published CDVD-TSP and PWC-Net
weights: -1 and 1 are the centres of the corner pixels (`align_corners=True`), so that zero flow is
the identity. `align_corners=False` reads the same grid with the modern default (position
(p + flow) * size / (size - 1) - 1/2); it exists for parity with published programs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# fraction of the bilinear support inside the image from which a warped pixel counts as valid
VALID = 0.999


def warp(
    image: Tensor,
    flow: Tensor,
    padding_mode: str = "border",
    align_corners: bool = True,
    valid: float = VALID,
) -> tuple[Tensor, Tensor]:
    """(warped [B,C,H,W], mask [B,1,H,W]): the image [B,C,H,W] sampled at p + flow(p).

    flow: [B,2,H,W] in pixels. The mask is 1 where at least the fraction `valid` of the bilinear
    support lies inside the image, else 0; `warped` is NOT yet multiplied by it. Outside the image
    lies its border pixel (`padding_mode="border"`) or 0 (`"zeros"`). Sampling always runs in
    float32 (half precision `grid_sample` is wrong on CPU); the image's dtype comes back. Raises
    ValueError if flow and image differ in size.
    """
    if image.shape[-2:] != flow.shape[-2:] or flow.shape[1] != 2:
        raise ValueError(
            f"warp needs flow [B,2,H,W] of the image's size, got {tuple(flow.shape)} for "
            f"{tuple(image.shape)}"
        )
    height, width = image.shape[-2:]
    with torch.autocast(image.device.type, enabled=False):
        flow = flow.float()
        columns = torch.arange(width, device=flow.device, dtype=torch.float32)
        rows = torch.arange(height, device=flow.device, dtype=torch.float32)[:, None]
        x = _scaled(columns + flow[:, 0], width)  # [B,H,W]
        y = _scaled(rows + flow[:, 1], height)
        grid = torch.stack((x, y), -1)  # [B,H,W,2]
        warped = F.grid_sample(
            image.float(), grid, "bilinear", padding_mode, align_corners=align_corners
        )
        support = _support(x, width, align_corners).mul_(_support(y, height, align_corners))
        mask = support >= valid
    return warped.to(image.dtype), mask[:, None].to(image.dtype)


def _scaled(position: Tensor, size: int) -> Tensor:
    """2 position / (size - 1) - 1, -1 .. 1 inside the image; in the memory of `position`."""
    return position.mul_(2).div_(max(size - 1, 1)).sub_(1)


@torch.no_grad()
def _support(coordinate: Tensor, size: int, align_corners: bool) -> Tensor:
    """Fraction of the linear interpolation's weight that falls on pixels 0 .. size-1 of an axis.

    coordinate: grid_sample's, -1 .. 1 inside the image.
    """
    if align_corners:
        position = (coordinate + 1).div_(2).mul_(size - 1)
    else:
        position = (coordinate + 1).mul_(size).sub_(1).div_(2)
    return torch.minimum(position + 1, position.neg_().add_(size)).clamp_(0, 1)
