"""Decoded pixels kept in a file: the same samples, and what disturbs the making of the file."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data import pixel_cache
from data.augment import crop_and_turn
from data.catalog import find_videos
from data.clips import ClipWindows, used_frames
from data.pairs import FolderPairs, Variation
from data.photo_catalog import find_pairs
from data.pixel_cache import open_cache
from data.pixel_file import TILE
from methods.image_deblur import train as image_train
from methods.image_deblur.config import TrainConfig
from methods.video_deblur import train as video_train
from methods.video_deblur.config import TrainConfig as VideoConfig
from tests.commands import largest_file
from utils.config import ROOT, parse
from utils.errors import UserError
from utils.image import read_image, to_tensor, write_image
from utils.sampling import StepSampler, endless_loader

SIZE = (300, 530)  # several tiles, the last of a row and a column smaller
KINDS = ("decoded", "tiles")
DAMAGED = "are damaged or cut off: delete .* and run again"


@pytest.fixture
def root(tmp_path):
    """Three pairs of noise, one of another size."""
    rng = np.random.default_rng(0)
    for name, size in {"a": SIZE, "b": SIZE, "c": (TILE + 1, 2 * TILE)}.items():
        for kind in ("input", "target"):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            write_image(tmp_path / "set" / kind / f"{name}.png", pixels)
    return tmp_path / "set"


def pictures_of(root):
    return find_pairs(root, need_sharp=True).pictures


def files_of(root):
    return [path for pair in pictures_of(root) for path in (pair.blurry, pair.sharp)]


def pixel_file(folder):
    (found,) = folder.glob("*/pixels")
    return found


def whole_first(data, epoch, index):
    """A sample the plain way: all pixels as floating point, the tile, then crops and turns."""
    picture, (top, left) = data.items[index]
    side = data.tile or 10_000
    images = []
    for path in (data.pictures[picture].blurry, data.pictures[picture].sharp):
        image = to_tensor(read_image(path))
        images.append(image[:, top : top + side, left : left + side])
    rng = np.random.default_rng((data.seed, epoch, index))
    return data.vary(images, data.size, rng)


VARIATIONS = [
    {}, {"mirror": True}, {"turn": True}, {"colour": True}, {"noise": True},
    {"mirror": True, "turn": True, "colour": True, "noise": True},
]  # fmt: skip


@pytest.mark.parametrize("words", VARIATIONS, ids=lambda words: "+".join(words) or "plain")
@pytest.mark.parametrize(("size", "tile"), [(40, 0), (257, 0), (48, 64), (200, 280)])
def test_samples_are_those_of_the_files(root, tmp_path, words, size, tile):
    pictures = pictures_of(root)
    sets = []
    for kind in ("none", *KINDS):
        cache = open_cache(files_of(root), tmp_path / "cache", kind)
        sets.append(FolderPairs(pictures, size, 5, Variation(**words), tile, 100, cache))
    assert sets[0].items == sets[1].items == sets[2].items
    for epoch in range(3):
        for index in range(len(sets[0])):
            expected = whole_first(sets[0], epoch, index)
            for data in sets:
                sample = data[epoch, index]
                assert torch.equal(sample["blurry"], expected[0])
                assert torch.equal(sample["sharp"], expected[1])
                assert sample["name"] == pictures[sets[0].items[index][0]].name


def test_samples_of_16_bits_are_unchanged_and_never_kept(root, tmp_path):
    rng = np.random.default_rng(1)
    for name, kind in (("c", "target"), ("a", "input")):
        path = root / kind / f"{name}.png"
        size = read_image(path).shape
        write_image(path, rng.integers(0, 65536, size, dtype=np.uint16))
        with pytest.raises(UserError, match=f"{name}.png has 16 bits .* leave --cached out"):
            open_cache(files_of(root), tmp_path / "cache", "tiles")
        assert not list(tmp_path.glob("cache/*/pixels*"))
    data = FolderPairs(pictures_of(root), 100, 5, Variation(turn=True))
    for index in range(3):
        blurry, sharp = whole_first(data, 2, index)
        assert torch.equal(data[2, index]["blurry"], blurry)
        assert torch.equal(data[2, index]["sharp"], sharp)


@pytest.mark.parametrize("size", [None, 32, 270])
def test_clips_are_those_of_the_files(make_videos, tmp_path, size):
    videos = find_videos(make_videos("clips", {"a": 6, "b": 3}, size=SIZE)).videos
    windows = [ClipWindows(videos, 3, size, 1, max_frames=4)]
    for kind in KINDS:
        cache = open_cache(used_frames(videos, 4), tmp_path / "cache", kind)
        windows.append(ClipWindows(videos, 3, size, 1, 4, cache))
    assert len(windows[0]) == 3
    for epoch in range(3):
        for index in range(3):
            video, start = windows[0].windows[index]
            clips = []
            for paths in (video.blurry, video.sharp):
                frames = [to_tensor(read_image(path)) for path in paths[start : start + 3]]
                clips.append(torch.stack(frames))
            if size:
                clips = crop_and_turn(clips, size, np.random.default_rng((1, epoch, index)))
            for data in windows:
                assert torch.equal(data[epoch, index]["blurry"], clips[0])
                assert torch.equal(data[epoch, index]["sharp"], clips[1])


def test_every_window_can_be_read(root, tmp_path):
    path = root / "input/a.png"
    pixels = read_image(path)
    for kind in KINDS:
        cache = open_cache(files_of(root), tmp_path, kind)
        assert cache.size(path) == SIZE
        for top in (0, 1, 255, 256, 299):
            for left in (0, 255, 256, 300, 512):
                for bottom in {top + 1, 300}:
                    window = np.s_[top:bottom, left : left + 18]
                    assert np.array_equal(cache.picture(path)[window], pixels[window])


def test_workers_and_other_processes_read_the_same(root, tmp_path):
    """A pickled cache opens its file again, as a started process does."""
    cache = open_cache(files_of(root), tmp_path, "tiles")
    data = FolderPairs(pictures_of(root), 64, 1, Variation(turn=True), 128, 100, cache)
    again = pickle.loads(pickle.dumps(data))
    sampler = StepSampler(len(data), 4, seed=0)
    batches = zip(endless_loader(data, sampler, 0), endless_loader(again, sampler, 2), strict=True)
    for _, (one, other) in zip(range(6), batches):
        assert torch.equal(one["blurry"], other["blurry"]) and one["name"] == other["name"]


def count_reads(monkeypatch, stop_after=10_000):
    """The pictures that are decoded from now on; Ctrl-C comes after some."""
    seen = []

    def read(path):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(path)
        return read_image(path)

    monkeypatch.setattr(pixel_cache, "read_image", read)
    return seen


def test_a_build_that_was_interrupted_goes_on(root, tmp_path, monkeypatch):
    files = files_of(root)
    open_cache(files, tmp_path / "whole", "tiles")
    monkeypatch.setattr(pixel_cache, "BATCH", 2)
    monkeypatch.setattr(pixel_cache, "MAX_THREADS", 1)
    # the first one is read twice, to see its kind
    count_reads(monkeypatch, stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        open_cache(files, tmp_path / "parts", "tiles")
    assert not list(tmp_path.glob("parts/*/pixels"))
    seen = count_reads(monkeypatch)
    open_cache(files, tmp_path / "parts", "tiles")
    assert seen == files[3:]
    whole = pixel_file(tmp_path / "whole").read_bytes()
    assert pixel_file(tmp_path / "parts").read_bytes() == whole
    seen.clear()
    open_cache(files, tmp_path / "parts", "tiles")
    assert seen == []


BUILD = """
import sys, time
from pathlib import Path
from data import pixel_cache
from utils.image import read_image

root, folder, log, wait = sys.argv[1:]
pixel_cache.BATCH = 1
def read(path):
    with open(log, "a") as file:
        file.write(f"{path}\\n")
    time.sleep(float(wait))
    return read_image(path)
pixel_cache.read_image = read
print("ready", flush=True)
sys.stdin.readline()
pixel_cache.open_cache(sorted(Path(root).rglob("*.png")), Path(folder), "decoded")
"""


def build(*words):
    """A process that makes a file: folder of pictures, cache, list of decoded files, delay (s).

    It waits for a line.
    """
    command = [sys.executable, "-c", BUILD, *map(str, words)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_build_that_was_killed_goes_on(root, tmp_path):
    log = tmp_path / "log"
    first = build(root, tmp_path / "cache", log, 0.3)
    print(file=first.stdin, flush=True)
    while not log.exists() or log.read_text().count("\n") < 5:
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    read = log.read_text().splitlines()
    log.unlink()
    second = build(root, tmp_path / "cache", log, 0)
    second.communicate("\n")
    assert second.returncode == 0
    files = sorted(map(str, root.rglob("*.png")))
    # the one that was being decoded is decoded again, whole ones are not; the first was read twice
    again = log.read_text().splitlines()
    assert again == files[-len(again) :] and len(files) - len(again) in (
        len(read) - 2,
        len(read) - 1,
    )
    cache = open_cache(sorted(root.rglob("*.png")), tmp_path / "cache", "decoded")
    for file in files:
        assert np.array_equal(cache.picture(Path(file))[:, :], read_image(file))


def test_two_processes_at_once_build_it_once(root, tmp_path):
    log = tmp_path / "log"
    both = [build(root, tmp_path / "cache", log, 0.2) for _ in range(2)]
    for process in both:
        print(file=process.stdin, flush=True)
    said = sorted(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said[0].startswith("6 pictures are decoded once into")
    assert said[1].startswith("waiting for another process") and said[1].count("\n") == 1
    files = sorted(map(str, root.rglob("*.png")))
    assert log.read_text().splitlines() == [files[0], *files]


def test_changed_pictures_are_read_anew(root, tmp_path, monkeypatch, capsys):
    files = files_of(root)
    old = open_cache(files, tmp_path, "tiles")
    window = np.s_[0:50, 0:50]
    before = old.picture(files[2])[window]
    write_image(files[2], np.zeros((*SIZE, 3), np.uint8))
    assert np.array_equal(old.picture(files[2])[window], before)  # of a run that goes on
    new = open_cache(files, tmp_path, "tiles")
    assert not new.picture(files[2])[window].any()
    assert "pictures have changed since" in capsys.readouterr().out
    os.utime(files[0], ns=(1, 1))  # the time alone
    seen = count_reads(monkeypatch)
    open_cache(files, tmp_path, "tiles")
    assert set(seen) == set(files)


def test_pictures_that_change_during_an_interruption_are_read_anew(root, tmp_path, monkeypatch):
    files = files_of(root)
    monkeypatch.setattr(pixel_cache, "MAX_THREADS", 1)
    count_reads(monkeypatch, stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        open_cache(files, tmp_path / "cache", "decoded")
    write_image(files[0], np.zeros((SIZE[0] + 5, SIZE[1], 3), np.uint8))
    count_reads(monkeypatch)
    cache = open_cache(files, tmp_path / "cache", "decoded")
    assert cache.size(files[0]) == (305, 530)
    for file in files:
        assert np.array_equal(cache.picture(file)[:, :], read_image(file))


def test_data_sets_never_mix(root, tmp_path):
    """Another set, other pictures of it, the same names elsewhere, another kind: own folders."""
    other = shutil.copytree(root, tmp_path / "copy/set")
    lists = [files_of(root), files_of(root)[:2], files_of(other), files_of(root)[::-1]]
    for files in lists:
        for kind in KINDS:
            open_cache(files, tmp_path / "cache", kind)
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert len(names) == 8
    assert all("set" in name and ("tiles" in name or "decoded" in name) for name in names)


@pytest.mark.parametrize("what", ["cut", "longer", "empty", "pixel", "header", "start", "flag"])
def test_damage_is_one_sentence(root, tmp_path, what):
    files = files_of(root)
    layout = open_cache(files, tmp_path, "tiles").layout
    path = pixel_file(tmp_path)
    content = bytearray(path.read_bytes())
    places = {"pixel": layout.offsets[1] + 7, "header": 60, "start": 3, "flag": layout.flags + 2}
    if what in places:
        content[places[what]] ^= 1
    lengths = {"cut": layout.size - 1, "longer": layout.size + 1, "empty": 0}
    length = lengths.get(what, layout.size)
    path.write_bytes((bytes(content) + b"\0")[:length])
    with pytest.raises(UserError, match=DAMAGED):
        cache = open_cache(files, tmp_path, "tiles")
        for picture in pictures_of(root):
            assert np.array_equal(cache.picture(picture.blurry)[:, :], read_image(picture.blurry))
            assert np.array_equal(cache.picture(picture.sharp)[:, :], read_image(picture.sharp))
    shutil.rmtree(path.parent)
    open_cache(files, tmp_path, "tiles")


def test_a_file_cut_off_while_it_is_read_is_a_sentence(root, tmp_path):
    files = files_of(root)
    cache = open_cache(files, tmp_path, "tiles")
    cache.picture(files[-1])[:, :]  # checked already
    os.truncate(pixel_file(tmp_path), cache.layout.size - 1000)
    with pytest.raises(UserError, match=DAMAGED):
        cache.picture(files[-1])[:, :]


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(root, tmp_path, monkeypatch):
    files = files_of(root)
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 5000, 5000))
        with pytest.raises(UserError, match=r"take 0\.0027 GB, .* has 5e-06 GB: .*--cache_path"):
            open_cache(files, tmp_path / "cache", "tiles")
    assert not list(tmp_path.glob("cache/*/pixels*"))
    with largest_file(100_000), pytest.raises(UserError, match="File too large: .* take 0.0027"):
        open_cache(files, tmp_path / "cache", "tiles")
    assert not list(tmp_path.glob("cache/*/pixels*"))
    open_cache(files, tmp_path / "cache", "tiles")


def test_need_of_disk_and_memory_is_said(root, tmp_path, monkeypatch, capsys):
    open_cache(files_of(root), tmp_path / "one", "tiles")
    said = capsys.readouterr().out
    assert "6 pictures are decoded once into" in said and said.endswith(": 0.0027 GB\n")
    monkeypatch.setattr(pixel_cache, "available_memory", lambda device: 10**6)
    open_cache(files_of(root), tmp_path / "two", "tiles")
    assert "more than the 0.001 GB of memory that are free" in capsys.readouterr().out


def test_a_damaged_picture_is_named_and_the_others_stay(root, tmp_path, monkeypatch):
    files = files_of(root)
    content = files[4].read_bytes()
    files[4].write_bytes(content[: len(content) // 2])
    monkeypatch.setattr(pixel_cache, "MAX_THREADS", 1)
    for _ in range(2):
        with pytest.raises(UserError, match=f"{files[4].name} can't be read"):
            open_cache(files, tmp_path / "cache", "tiles")
    assert not list(tmp_path.glob("cache/*/pixels"))
    files[4].write_bytes(content)
    open_cache(files, tmp_path / "cache", "tiles")


def network_of(folder):
    return torch.load(folder / "last.pt", weights_only=True)["network"]


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def test_training_is_the_same_with_and_without(root, tmp_path, monkeypatch):
    monkeypatch.setattr(image_train, "ROOT", tmp_path)
    words = ["--config", "tiny", "--data_path", str(root), "--augment", "turn", "noise"]
    words += ["--tile_size", "128", "--tile_step", "100", "--cache_path", str(tmp_path / "cache")]
    config = parse(TrainConfig, "image_deblur", "train", words)
    for kind in ("none", *KINDS):
        image_train.main(replace(config, save=kind, cached=kind))
    image_train.main(replace(config, save="parts", cached="tiles", steps=2, schedule="constant"))
    constant = replace(config, schedule="constant")
    image_train.main(replace(constant, save="parts", cached="tiles", resume=True))
    image_train.main(replace(constant, save="constant"))
    experiments = tmp_path / "experiment"
    networks = {path.name: network_of(path) for path in experiments.iterdir()}
    assert equal(networks["none"], networks["decoded"])
    assert equal(networks["none"], networks["tiles"])
    assert equal(networks["constant"], networks["parts"])
    assert not equal(networks["constant"], networks["none"])
    with pytest.raises(UserError, match="--cached tiles is for --source pairs, .* as pictures"):
        image_train.DeblurTask(replace(config, cached="tiles", source="pictures"))


def test_training_on_clips_is_the_same_with_and_without(make_videos, tmp_path, monkeypatch):
    monkeypatch.setattr(video_train, "ROOT", tmp_path)
    root = make_videos("clips", {"a": 6, "b": 7}, size=(72, 88))
    words = ["--config", "tiny", "--data_path", str(root), "--cache_path", str(tmp_path / "cache")]
    config = parse(VideoConfig, "video_deblur", "train", words)
    for kind in ("none", *KINDS):
        video_train.main(replace(config, save=kind, cached=kind))
    networks = [network_of(tmp_path / "experiment" / kind) for kind in ("none", *KINDS)]
    assert equal(networks[0], networks[1]) and equal(networks[0], networks[2])
    with pytest.raises(UserError, match="--cached decoded is for --source clips"):
        video_train.VideoTask(replace(config, cached="decoded", source="pictures"))
