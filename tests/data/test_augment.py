import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.augment import degrade
from data.compression import jpeg
from data.motion_blur_transform import RandomMotionBlur


def test_motion_blur_is_a_transform_among_others():
    torch.manual_seed(0)
    picture = tv_tensors.Image(torch.randint(0, 256, (3, 60, 70), dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.randint(0, 5, (60, 70)))
    blurred, same = v2.Compose([v2.RandomHorizontalFlip(0), RandomMotionBlur(1.0, (8, 12))])(
        picture, mask
    )
    assert isinstance(blurred, tv_tensors.Image) and blurred.dtype == torch.uint8
    assert blurred.shape == picture.shape
    assert torch.equal(same, mask)
    assert blurred.float().std() < 0.6 * picture.float().std()
    unchanged = RandomMotionBlur(0.0)(picture)
    assert torch.equal(unchanged, picture)


def test_motion_blur_follows_torchs_seed_and_keeps_light():
    blur = RandomMotionBlur(1.0)
    flat = torch.full((2, 3, 40, 50), 0.4)
    assert torch.allclose(blur(flat), flat, atol=1e-4)
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(blur(noise))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    torch.manual_seed(3)
    kernel = blur.make_params([noise])["kernel"]
    light = noise.pow(2.2)
    padded = torch.nn.functional.pad(light[None], (32,) * 4, mode="reflect")[0]
    expected = torch.nn.functional.conv2d(padded[:, None], kernel[None, None])[:, 0]
    assert torch.allclose(results[0], expected.pow(1 / 2.2), atol=2e-3)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="lengths .5, 80. in"):
        RandomMotionBlur(0.5, (5, 80))
    with pytest.raises(ValueError, match="probability 2"):
        RandomMotionBlur(2)


def test_degradations_have_their_fractions_and_sizes():
    clip = np.full((2, 32, 32, 3), 0.5)
    plain = degrade(np.random.default_rng(0), clip, 0, 0)
    assert np.array_equal(plain, np.float32(np.full_like(clip, 128) / 255))
    noisy = [degrade(np.random.default_rng(seed), clip, 1, 0).std() for seed in range(30)]
    assert 0 <= min(noisy) < 0.004 < 0.01 < max(noisy) < 0.017


def test_compression_is_that_of_red_green_and_blue():
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    compressed = degrade(np.random.default_rng(0), pixels / 255, 0, 1)
    qualities = [np.float32(jpeg(pixels[0], quality)) / 255 for quality in range(70, 96)]
    assert any(np.array_equal(compressed[0], candidate) for candidate in qualities)
