"""The motion inside a blurry image in closed form, where the sharp centre frame is known.

A blurry image is the mean of the sharp one shifted along the motion v of its exposure. To second
order that is

    blurry - sharp = (vx^2 Ixx + 2 vx vy Ixy + vy^2 Iyy) / 24                                    (1)

with the sharp image's second derivatives, in linear light: three unknowns per pixel, solved by
least squares over a Gaussian window. The principal axis of the tensor v v^T is v up to its sign,
which no blurry image tells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.tiling import pad_to_multiple

STEP = 2  # derivatives are taken at half the resolution
SMOOTHING = 1.0  # of the images, before the derivatives: standard deviation at that resolution, px
WINDOW = 8.0  # of the least squares: standard deviation at that resolution, px
PULL = 1e-3  # weight of the whole image's solution, which decides where there is no texture
GAMMA = 2.2


@torch.no_grad()
def blur_motion(blurry: Tensor, centre: Tensor, axis: Tensor | None = None) -> Tensor:
    """Motion [B,2,H,W] = (dx, dy) in px over the exposure.

    blurry, centre: blurry images and their sharp centre frames [B,3,H,W], RGB in [0,1]. axis
    [B,2,1,1]: the signs are those along it; of the parts of one image it must be the same. None:
    motion_axis. Always in float32.
    """
    with torch.autocast(blurry.device.type, enabled=False):
        height, width = blurry.shape[-2:]
        terms = _terms(blurry, centre)
        products = (terms[:, :, None] * terms[:, None]).flatten(1, 2)  # [B,16,h,w]
        windowed = _smoothed(products, WINDOW).unflatten(1, (4, 4)).permute(0, 3, 4, 1, 2)
        whole = _whole(terms)
        motion = _principal(_solved(windowed + PULL * whole)) * STEP  # [B,2,h,w]
        if axis is None:
            axis = _principal(_solved(whole))
        motion = torch.where((motion * axis).sum(1, keepdim=True) < 0, -motion, motion)
        return F.interpolate(motion, scale_factor=STEP, mode="bilinear")[..., :height, :width]


@torch.no_grad()
def motion_axis(blurry: Tensor, centre: Tensor) -> Tensor:
    """The principal axis [B,2,1,1] of a whole image's motion, which points to the right.

    Arguments as of blur_motion.
    """
    with torch.autocast(blurry.device.type, enabled=False):
        return _principal(_solved(_whole(_terms(blurry, centre))))


def _terms(blurry: Tensor, centre: Tensor) -> Tensor:
    """The factors of vx^2, vx vy and vy^2 in eq. 1 without the 24, and its left side, [B,4,h,w].

    h, w = H / STEP, W / STEP, rounded up.
    """
    lights = [_light(pad_to_multiple(image.float(), STEP)) for image in (blurry, centre)]
    blurred, sharp = _smoothed(torch.cat(lights, 1), SMOOTHING).chunk(2, 1)  # [B,1,h,w]
    horizontal, vertical = _derivatives(sharp)
    xx, xy = _derivatives(horizontal)
    _, yy = _derivatives(vertical)
    return torch.cat((xx, 2 * xy, yy, blurred - sharp), 1)


def _whole(terms: Tensor) -> Tensor:
    """The normal equations of the whole image, [B,1,1,4,4]."""
    flat = terms.flatten(2)
    return (flat @ flat.transpose(1, 2) / flat.shape[-1])[:, None, None]


def _light(image: Tensor) -> Tensor:
    """Mean linear light [B,1,H/STEP,W/STEP] of images [B,3,H,W]."""
    return F.avg_pool2d((image.clamp(0, 1) ** GAMMA).mean(1, keepdim=True), STEP)


def _solved(products: Tensor) -> Tensor:
    """The tensor (vx^2, vx vy, vy^2) [B,h,w,3] of the normal equations [B,h,w,4,4].

    Their last row and column hold the right side.
    """
    matrix = products[..., :3, :3]
    right = products[..., :3, 3]
    mean = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    floor = 1e-6 * mean + 1e-20  # keeps flat images solvable
    return 24 * torch.linalg.solve(matrix + floor * torch.eye(3, device=matrix.device), right)


def _principal(tensor: Tensor) -> Tensor:
    """The principal axis [B,2,h,w] of symmetric tensors [B,h,w,3], pointing to the right.

    It is as long as the root of its eigenvalue.
    """
    a, b, c = tensor.unbind(-1)
    length = ((a + c) / 2 + torch.hypot((a - c) / 2, b)).clamp(min=0).sqrt()
    angle = 0.5 * torch.atan2(2 * b, a - c)  # -90 .. 90 degrees
    return torch.stack((length * torch.cos(angle), length * torch.sin(angle)), 1)


def _derivatives(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of [B,C,h,w] along x and y, edges repeated."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    horizontal = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    vertical = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return horizontal, vertical


def _smoothed(image: Tensor, deviation: float) -> Tensor:
    """Gaussian filter of [B,C,h,w], edges repeated; deviation in px."""
    channels = image.shape[1]
    reach = round(3 * deviation)
    offsets = torch.arange(-reach, reach + 1, device=image.device)
    weights = torch.exp(-0.5 * (offsets / deviation) ** 2)
    weights = weights / weights.sum()
    row = weights.expand(channels, 1, 1, -1)
    column = weights[:, None].expand(channels, 1, -1, 1)
    image = F.pad(image, (reach, reach, 0, 0), mode="replicate")
    image = F.conv2d(image, row, groups=channels)
    image = F.pad(image, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(image, column, groups=channels)
