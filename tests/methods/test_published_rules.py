"""Rules of the authors' programs that our training and scoring follow, each against its fact."""

from dataclasses import replace
from itertools import permutations

import cv2
import numpy as np
import pytest
import torch
from scipy.io import savemat
from skimage.color import hsv2rgb, rgb2hsv

from data.blur2vid import jittered
from data.pairs import FolderPairs, NoBlurPairs, Variation
from data.photo_catalog import Picture, find_pairs, matching
from data.synthesis.kernels import load_kernels
from methods.image_deblur import train
from methods.image_deblur.config import TrainConfig as PhotoConfig
from methods.image_deblur.inference import _blur_taken
from methods.sbdd import test as sbdd_test
from methods.sbdd.config import TestConfig as ScoreConfig
from models import build
from restoration.image import ImageRestorer
from tests.commands import pattern
from utils.config import parse
from utils.errors import UserError
from utils.image import write_image
from utils.sampling import StepSampler


def recipe(model: str, *words: str) -> PhotoConfig:
    return parse(PhotoConfig, "image_deblur", "train", ["--model", model, *words])


def test_sbdds_kernel_list_names_the_folder_that_is_given(tmp_path):
    """Its lines read train/kernel0000.mat, and --kernels_dir ends with train."""
    folder = tmp_path / "ks65_texp05_F1000/train"
    folder.mkdir(parents=True)
    savemat(folder / "kernel0000.mat", {"K": np.eye(9)})
    (tmp_path / "blur_kernels_train.txt").write_text("train/kernel0000.mat\n")
    listed = load_kernels(tmp_path / "blur_kernels_train.txt", 65, folder)
    assert list(listed) == ["kernel0000"]
    again = load_kernels(tmp_path / "blur_kernels_train.txt", 65, folder.parent)
    assert np.array_equal(again["kernel0000"], listed["kernel0000"])
    (tmp_path / "outside.txt").write_text("train/../../secret.mat\n")
    with pytest.raises(UserError):
        load_kernels(tmp_path / "outside.txt", 65, folder)


def test_no_blurs_six_gaussians(tmp_path):
    """(5,5) sigma 5; (9,9); (3,3) 20; (5,5); (3,3) 20; (11,11): the same for a picture's tiles.

    Each tile is one of the six by the published steps, written out here.
    """
    rng = np.random.default_rng(0)
    for name in range(12):
        write_image(tmp_path / f"{name}.png", rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    data = NoBlurPairs(tmp_path, 128, 1, Variation())
    published = ((5, 5), (9, 0), (3, 20), (5, 0), (3, 20), (11, 0))
    chosen = set()
    for picture in range(12):
        found = []
        pixels = cv2.imread(str(tmp_path / f"{picture}.png"))
        pixels = cv2.resize(pixels, (800, 600))  # bilinear
        for row, column in ((0, 0), (2, 3)):
            tile = pixels[200 * row : 200 * row + 200, 200 * column : 200 * column + 200]
            item = data[3, 12 * picture + 4 * row + column]
            expected = []
            for side, sigma in published:
                blurred = cv2.GaussianBlur(tile, (side, side), sigma)
                _, kept = cv2.imencode(".jpg", blurred)  # quality 95
                expected.append(cv2.resize(cv2.imdecode(kept, 1), (128, 128))[..., ::-1])
            ours = (item["blurry"].permute(1, 2, 0).numpy() * 255).round()
            errors = [np.abs(ours - other).max() for other in expected]
            assert min(errors) == 0
            found.append(published[int(np.argmin(errors))])
        assert found[0] == found[1]
        chosen.add(found[0])
    assert len(chosen) >= 4


def test_deep_deblurs_saturation_is_clipped_as_rgb():
    """As scikit-image's HSV gives it: a saturation above 1 sends the weaker colours below 0."""
    vivid = np.random.default_rng(0).random((40, 40, 3)) ** 3
    image = torch.from_numpy(np.float32(vivid)).permute(2, 0, 1)

    class Factor:
        def permutation(self, count):
            return np.arange(count)

        def uniform(self, low, high):
            return 1.5

    blurry, sharp = Variation(colour=True).recolour([image, image], Factor())
    hsv = rgb2hsv(vivid)
    hsv[..., 1] *= 1.5
    expected = hsv2rgb(hsv).clip(0, 1)
    assert np.abs(blurry.permute(1, 2, 0).numpy() - expected).max() < 1e-4
    assert torch.equal(blurry, sharp)
    hsv[..., 1] = hsv[..., 1].clip(0, 1)
    early = np.abs(hsv2rgb(hsv) - expected) > 1 / 255
    assert early.mean() > 0.2  # what clipping before the conversion would change


@pytest.mark.parametrize(
    ("model", "steps", "total"), [("SRN", 131, 524_000), ("DeepDeblur", 131, 131_000)]
)
def test_steps_per_epoch_of_gopro(model, steps, total):
    """2,103 pairs in batches of 16 without the last, smaller one."""
    config = recipe(model)
    sampler = StepSampler(2103, config.batch_size, 1, drop_last=config.drop_last)
    assert sampler.steps_per_epoch == steps
    assert config.epochs * steps == total
    assert config.val_every % steps == 0
    seen = [batch for batch, _ in zip(sampler, range(2 * steps))]
    assert {len(batch) for batch in seen} == {16}
    assert {epoch for epoch, _ in seen[steps - 1]} == {0}
    assert {epoch for epoch, _ in seen[steps]} == {1}
    assert StepSampler(5, 16, 1, drop_last=True).steps_per_epoch == 1  # the only batch stays


def test_srns_gates_start_small():
    torch.manual_seed(0)
    weight = build("srn", variant="lstm").lstm.gates.weight.detach()
    assert weight.abs().max() <= 2e-3
    # a normal distribution cut at two deviations keeps 0.88 of its deviation
    assert float(weight.std()) == pytest.approx(0.88e-3, rel=0.02)


def test_restormers_patch_is_drawn_from_a_crop_of_384(tmp_path):
    """A tile of 512, a crop of 384 in it, a patch of 128 in that: the middle is seen more often."""
    assert recipe("Restormer").crop_size == 384
    ramp = np.zeros((512, 512, 3), np.uint8)
    ramp[..., 0] = np.arange(512) // 2
    write_image(tmp_path / "1.png", ramp)
    pictures = [Picture("1", tmp_path / "1.png", tmp_path / "1.png")]

    def lefts(crop: int) -> np.ndarray:
        data = FolderPairs(pictures, 128, 1, Variation(), 512, 256, None, crop)
        data.read = lambda path: ramp
        red = [float(data[epoch, 0]["blurry"][0, 0, 0]) for epoch in range(400)]
        return np.array(red) * 510

    published = lefts(384)
    plain = lefts(0)
    # the sum of U(0,128) and U(0,256) against U(0,384)
    assert published.std() == pytest.approx(np.hypot(128, 256) / 12**0.5, rel=0.1)
    assert plain.std() == pytest.approx(384 / 12**0.5, rel=0.1)
    assert published.mean() == pytest.approx(192, abs=12)


def test_keras_adam_of_no_blur(make_videos):
    pairs = make_videos("gopro_flat", {"a": 1})
    small = {"network": {"width": 2}, "patch_size": 16}
    task = train.DeblurTask(replace(recipe("NoBlur"), data_path=pairs, val_path=None, **small))
    assert task.optimizer.defaults["eps"] == 1e-7
    assert recipe("MIMO-UNet+").epsilon == 1e-8


def test_hypercuts_four_colour_changes_come_in_random_order():
    """Every result is that of one of the 24 orders, and over many draws of many of them."""
    from torchvision.transforms.v2 import functional as transform

    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))

    def contrast(pictures, factor):
        mean = transform.rgb_to_grayscale(pictures).mean()
        return (mean + (pictures - mean) * factor).clamp(0, 1)

    orders = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        amounts = [1 + rng.uniform(-size, size) for size in (0.4, 0.3, 0.2)]
        amounts.append(rng.uniform(-0.2, 0.2))
        changes = [
            transform.adjust_brightness,
            contrast,
            transform.adjust_saturation,
            transform.adjust_hue,
        ]
        ours = jittered(images, np.random.default_rng(seed))
        found = None
        for order in permutations(range(4)):
            result = images
            for index in order:
                result = changes[index](result, amounts[index])
            if torch.allclose(result, ours, atol=1e-6):
                found = order
        assert found is not None
        orders.add(found)
    assert len(orders) > 10


def test_the_restored_pictures_may_be_smaller_by_a_factor(golden, tmp_path):
    """-rf F of SBDD's evaluation enlarges the restored picture bilinearly before it registers."""
    images = golden("sbdd_ecc")
    sharp = images["gt"].numpy()
    small = images["small_restored"].numpy()[::2, ::2]
    write_image(tmp_path / "gt/a.png", sharp)
    write_image(tmp_path / "half/a.png", small)
    height, width = sharp.shape[:2]
    enlarged = cv2.resize(np.float32(small), (width, height), interpolation=cv2.INTER_LINEAR)
    write_image(tmp_path / "whole/a.png", np.uint8(enlarged.round()))
    config = parse(
        ScoreConfig, "sbdd", "test", ["-s", str(tmp_path / "gt"), "-r", str(tmp_path), "-rf", "2"]
    )
    assert config.resize_factor == 2
    half = sbdd_test.main(replace(config, restored_dir=tmp_path / "half"))
    whole = sbdd_test.main(replace(config, restored_dir=tmp_path / "whole", resize_factor=1))
    assert half.mean["psnr"] == pytest.approx(whole.mean["psnr"], abs=0.05)
    with pytest.raises(UserError, match="a.png is 130x120"):
        sbdd_test.main(replace(config, restored_dir=tmp_path / "half", resize_factor=1))
    with pytest.raises(UserError, match="--resize_factor 2 belongs to --protocol realblur"):
        sbdd_test.main(replace(config, protocol="kohler"))


def test_nafnets_300_pictures_of_reds(tmp_path):
    """Of the 3,000, those whose names match *9.*: frames 9, 19, ..., 99 of 30 videos."""
    for kind in ("val_blur_jpeg", "val_sharp"):
        for frame in range(30):
            write_image(tmp_path / f"{kind}/000/{frame:08d}.png", np.zeros((8, 8, 3), np.uint8))
    found = matching(find_pairs(tmp_path, "blur_jpeg"), "*9.*")
    assert [picture.name for picture in found.pictures] == [f"000_{n:08d}" for n in (9, 19, 29)]
    assert found.remark == "*9.*: 3 of 30"
    with pytest.raises(UserError, match="no file is called"):
        matching(found, "*x.*")


def test_mimo_unets_ensemble_is_the_mean_over_four_flips(weights):
    network = ImageRestorer.load(weights(), "cpu", "fp32").network
    image = torch.rand(3, 20, 28, generator=torch.Generator().manual_seed(0))
    device = torch.device("cpu")
    four = ImageRestorer(network, device, ensemble=True, ensemble_views=4).restore(image)
    slow = torch.zeros_like(image)
    with torch.no_grad():
        for axes in ((), (-1,), (-2,), (-1, -2)):
            slow += network(image[None].flip(axes))[0].flip(axes)
    assert (four - slow / 4).abs().max() < 1e-5
    eight = ImageRestorer(network, device, ensemble=True).restore(image)
    assert (four - eight).abs().max() > 1e-5


def test_input_folders_do_not_say_how_their_blur_was_made(make_videos):
    """GoPro's repackaging holds the linear blur: it must not be scored as blur_gamma unsaid."""
    root = make_videos("gopro_flat", {"a": 1})
    found = find_pairs(root, "blur_gamma", need_sharp=True)
    assert "blurry pictures from input/, which need not be blur_gamma" in found.remark
    assert _blur_taken(PhotoConfig(blur_folder="blur_gamma"), found) == "input"
    assert _blur_taken(PhotoConfig(), find_pairs(root)) == "blur"
    flat = root.parent / "flat"
    for kind in ("blur", "sharp"):
        write_image(flat / kind / "1.png", pattern((20, 20)))
    assert find_pairs(flat).blur_folder == "blur"
    with pytest.raises(UserError, match="holds the blurry folders blur: choose one"):
        find_pairs(flat, "blur_gamma")
