"""The closed-form motion finds known motions, up to their sign.

No blur, flat pictures and odd sizes are harmless.
"""

import math

import cv2
import numpy as np
import pytest
import torch

from models import build
from models.blur_motion import GAMMA, blur_motion, motion_axis
from utils.evaluation.sequence_scores import score_frames

WITH_CLOSED_FORM = {
    "width": 4,
    "flow_channels": [2, 4, 4],
    "sampling": "plain",
    "refine": True,
    "closed_form": True,
    "values": "imagenet_rgb",
}


def moving_texture(length, angle_deg, size=(96, 120)):
    """(blurry [1,3,H,W], seven sharp frames [7,3,H,W]) of a smooth texture.

    It moves evenly along a line, `length` px over the exposure.
    """
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.random((160, 200)).astype(np.float32), (0, 0), 4)
    texture = 0.1 + 0.8 * (texture - texture.min()) / np.ptp(texture)
    direction = np.array(unit_vector(angle_deg))

    def view(time):  # -0.5 .. 0.5; what was at p is at p + direction * length * time
        x, y = np.array([40.0, 32.0]) - direction * length * time
        matrix = np.float32([[1, 0, x], [0, 1, y]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(texture, matrix, size[::-1], flags=flags)

    times = (np.arange(70) + 0.5) / 70 - 0.5
    light = np.stack([view(time) for time in times])
    images = np.concatenate((light.mean(0)[None], light[5::10])) ** (1 / GAMMA)
    images = torch.from_numpy(images).float()[:, None].repeat(1, 3, 1, 1)
    return images[:1], images[1:]


def unit_vector(angle_deg):
    return [math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))]


@pytest.mark.parametrize(
    ("length", "angle_deg"), [(4, 0), (8, 30), (8, -60), (12, 89), (12, 170), (6, 250)]
)
def test_known_motions_are_found(length, angle_deg):
    blurry, frames = moving_texture(length, angle_deg)
    motion = blur_motion(blurry, frames[3:4])[0, :, 20:-20, 20:-20]
    expected = torch.tensor(unit_vector(angle_deg)) * length
    if expected[0] < 0:
        expected = -expected  # to the right
    assert (motion.median(2).values.median(1).values - expected).norm() < 0.15 * length
    assert (motion - expected[:, None, None]).norm(dim=0).mean() < 0.3 * length


def test_parts_of_an_image_agree_on_the_direction():
    """They take the whole image's axis; else a vertical motion could point up here, down there."""
    blurry, frames = moving_texture(12, 90, size=(96, 160))
    axis = motion_axis(blurry, frames[3:4])
    whole = blur_motion(blurry, frames[3:4])
    for left in range(0, 160, 40):
        part = np.s_[..., left : left + 40]
        found = blur_motion(blurry[part], frames[3:4][part], axis)
        assert (found * whole[part]).sum() > 0.8 * (whole[part] ** 2).sum()


def test_no_blur_is_no_motion():
    _, frames = moving_texture(8, 20)
    assert blur_motion(frames[3:4], frames[3:4]).abs().max() < 1e-2


def test_flat_and_tiny_pictures_and_odd_sizes():
    for shape in ((1, 3, 16, 16), (2, 3, 17, 23), (1, 3, 1, 1)):
        flat = torch.full(shape, 0.5)
        motion = blur_motion(flat, flat)
        assert motion.shape == (shape[0], 2, *shape[2:])
        assert torch.isfinite(motion).all()
        assert motion.abs().max() < 1e-2
    noise = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(blur_motion(noise, noise.flip(-1))).all()


def test_mixed_precision_changes_nothing():
    blurry, frames = moving_texture(8, 30)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = blur_motion(blurry, frames[3:4])
    assert torch.equal(mixed, blur_motion(blurry, frames[3:4]))


@torch.inference_mode()
def test_a_fresh_network_starts_at_the_closed_form():
    """Frames are the centre moved on by its fraction of the motion.

    Before any training they are 2 dB better than the blurry picture.
    """
    blurry, frames = moving_texture(10, 40)
    torch.manual_seed(0)
    network = build("purohit", **WITH_CLOSED_FORM)
    inputs = network.seen(blurry), network.seen(frames[3:4])
    flows = network.flows(*inputs)[-1][0]
    motion = blur_motion(blurry, frames[3:4])[0]
    assert (flows[6] + motion * 3 / 7).abs().max() < 1e-3
    assert flows[3].abs().max() < 1e-6
    predicted = network.shown(network(*inputs))[0]
    ours = score_frames(predicted, frames, ssim=False)
    repeated = score_frames(blurry.expand_as(frames), frames, ssim=False)
    assert ours["ppsnr_1"] > repeated["ppsnr_1"] + 2
    assert ours["ppsnr_7"] > repeated["ppsnr_7"] + 2


def test_gradients_reach_the_network_but_not_the_closed_form():
    blurry, frames = moving_texture(6, 10)
    network = build("purohit", **WITH_CLOSED_FORM)
    scales, _ = network.forward_scales(network.seen(blurry), network.seen(frames[3:4]))
    (scales[0][0] - network.seen(frames)).square().mean().backward()
    assert network.decoder.outputs[-1].weight.grad.abs().max() > 0
