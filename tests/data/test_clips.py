import numpy as np
import pytest
import torch

from data.augment import crop_and_turn
from data.catalog import find_videos
from data.clips import ClipWindows
from data.moved_pictures import MovedPictures
from utils.errors import UserError
from utils.image import read_image, to_tensor, write_image


def test_windows_do_not_cross_videos(make_videos):
    videos = find_videos(make_videos("clips", {"a": 6, "b": 7, "c": 3})).videos
    windows = ClipWindows(videos, 5, None, seed=0)
    items = [windows[0, index] for index in range(len(windows))]
    starts = [f"{item['video']} {item['frames'][0]}" for item in items]
    assert starts == ["a 00000", "a 00001", "b 00000", "b 00001", "b 00002"]
    assert torch.equal(items[1]["sharp"][2], to_tensor(read_image(videos[0].sharp[3])))
    assert len(ClipWindows(videos, 5, None, seed=0, max_frames=5)) == 2
    with pytest.raises(UserError, match="8 frames in a row"):
        ClipWindows(videos, 8, None, seed=0)


def test_patches_depend_on_seed_epoch_and_index_alone(make_videos):
    videos = find_videos(make_videos("clips")).videos
    one, two, other = (ClipWindows(videos, 5, 16, seed) for seed in (1, 1, 2))
    assert torch.equal(one[3, 2]["blurry"], two[3, 2]["blurry"])
    assert not torch.equal(one[3, 2]["blurry"], one[4, 2]["blurry"])
    assert not torch.equal(one[3, 2]["blurry"], other[3, 2]["blurry"])


def test_blurry_and_sharp_are_cut_alike():
    stack = torch.arange(5 * 3 * 12 * 14.0).view(5, 3, 12, 14)
    seen = set()
    for seed in range(60):
        one, two = crop_and_turn([stack, -stack], 8, np.random.default_rng(seed))
        assert one.shape == (5, 3, 8, 8) and torch.equal(one, -two)
        seen.add(float(one[0, 0, 0, 1] - one[0, 0, 0, 0]))
    assert seen == {1, -1, 14, -14}  # the first row runs right, left, down or up
    with pytest.raises(ValueError, match="patch of 13 px from an image of 14x12"):
        crop_and_turn([stack], 13, np.random.default_rng(0))


def test_moved_pictures_repeat_and_vary(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        write_image(tmp_path / f"{name}.png", rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    pictures = MovedPictures(tmp_path, 5, 48, seed=3)
    item = pictures[0, 1]
    assert item["blurry"].shape == item["sharp"].shape == (5, 3, 48, 48) and item["video"] == "two"
    assert torch.equal(item["blurry"], MovedPictures(tmp_path, 5, 48, seed=3)[0, 1]["blurry"])
    assert not torch.equal(item["sharp"], pictures[1, 1]["sharp"])
    for clip in (item["blurry"], item["sharp"]):
        assert clip.min() >= 0 and clip.max() <= 1 and torch.equal(clip, (clip * 255).round() / 255)
    differences = []
    for epoch in range(40):
        clip = pictures[epoch, 0]
        differences.append((clip["blurry"] - clip["sharp"]).abs().mean().item())
    assert min(differences) < 0.005 < 0.05 < max(differences)  # none, mild and strong blur
