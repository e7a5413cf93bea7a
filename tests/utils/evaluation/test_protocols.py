import numpy as np
import pytest
import torch

from utils.evaluation.protocols import PROTOCOLS
from utils.image import to_tensor


def tensors(golden, first, second):
    return [to_tensor(golden("cdvd_metrics")[key].numpy()) for key in (first, second)]


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("noise", "noise_a", "noise_b"), ("image", "image_gt", "image_blur")],
)
def test_cdvd_figures_are_the_authors(golden, name, first, second):
    sharp, restored = tensors(golden, first, second)
    expected = golden("cdvd_metrics").manifest["values"][name]
    scores = PROTOCOLS["cdvd"].score(restored, sharp)
    assert scores == {
        "psnr": pytest.approx(expected["psnr_crop4"], abs=1e-9),
        "ssim": pytest.approx(expected["ssim_crop4"], abs=1e-9),
    }
    assert PROTOCOLS["cdvd_train"].psnr(restored, sharp) == pytest.approx(
        expected["trainer_calc_psnr_shave4"], abs=1e-5
    )
    assert PROTOCOLS["image"].score(restored, sharp)["ssim"] == pytest.approx(
        expected["ssim_full"], abs=1e-9
    )


def test_identical_images():
    image = torch.rand(3, 20, 20)
    assert PROTOCOLS["cdvd"].psnr(image, image) == float("inf")
    assert PROTOCOLS["image"].psnr(image, image) == float("inf")
    assert PROTOCOLS["cdvd_train"].psnr(image, image) == 100


def test_what_is_rounded_and_clipped():
    sharp = torch.full((3, 20, 20), 1.0)
    over = sharp + 0.1
    assert PROTOCOLS["image"].psnr(over, sharp) == float("inf")
    assert PROTOCOLS["image_float"].psnr(over, sharp) == float("inf")
    assert PROTOCOLS["cdvd_train"].psnr(over, sharp) == pytest.approx(20, abs=1e-4)
    slightly = sharp - 0.4 / 255  # rounds away
    assert PROTOCOLS["image"].psnr(slightly, sharp) == float("inf")
    assert PROTOCOLS["image_float"].psnr(slightly, sharp) == pytest.approx(
        20 * np.log10(255 / 0.4), abs=1e-2
    )


def test_pixels_and_tensors_give_the_same():
    rng = np.random.default_rng(0)
    one, two = (rng.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(2))
    for name, protocol in PROTOCOLS.items():
        if protocol.unit != "images":
            continue  # scored elsewhere
        of_tensors = protocol.score(to_tensor(one), to_tensor(two))
        assert protocol.score(one, two) == pytest.approx(of_tensors, abs=1e-5), name


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="different sizes"):
        PROTOCOLS["image"].psnr(torch.zeros(3, 20, 20), torch.zeros(3, 20, 21))
    with pytest.raises(ValueError, match="cuts 4 px"):
        PROTOCOLS["cdvd"].psnr(torch.zeros(3, 8, 20), torch.zeros(3, 8, 20))
