"""A law of everything that decodes users' files: damage gives a result or a sentence.

Whatever bytes are changed, it is never another error.
"""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from data.sequences import read_box
from data.shards import ShardedPairs, write_shard
from data.synthesis.kernels import load_kernels
from data.synthesis.masks import find_masks
from models import build, load
from tests.commands import pattern
from tests.utils.test_video import make_file
from utils.checkpoint import load_state, save_weights
from utils.errors import UserError
from utils.evaluation.scoring import read_truth
from utils.image import encode_image, write_image
from utils.photo import read_photo
from utils.tensorflow_checkpoint import read_checkpoint
from utils.video import VideoFile

SEEDS = 32
PICTURE = pattern((20, 24))
KERNEL = np.ones((5, 5)) / 25
GOLDEN = Path(__file__).with_name("golden")


def network(path: Path) -> None:
    arguments = {"width": 4, "encoder": [1], "middle": 1, "decoder": [1]}
    save_weights(path, build("nafnet", **arguments), "nafnet", arguments, "image_deblur")


def shard(path: Path) -> None:
    content = encode_image(PICTURE, ".png")
    write_shard(path, [("a", {"blurry.png": content, "sharp.png": content})])


def read_shards(path: Path) -> list[dict]:
    pairs = ShardedPairs(path.parent, None, 0)
    return [pairs[0, index] for index in range(len(pairs))]


def tensorflow(path: Path) -> None:
    for file in GOLDEN.glob("*.model-*"):
        if file.suffix != ".index":
            path.with_name(file.name).write_bytes(file.read_bytes())
    path.write_bytes(next(GOLDEN.glob("*.index")).read_bytes())


STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}
FILES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "new.pt": (lambda path: torch.save({"state_dict": STATE}, path), load_state),
    "old.pth": (
        lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
        load_state,
    ),
    "n.safetensors": (network, load),
    "k.mat": (lambda path: savemat(path, {"K": KERNEL}), lambda path: load_kernels(path, 9)),
    "small.mat": (
        lambda path: savemat(path, {"K": KERNEL}, do_compression=True),
        lambda path: load_kernels(path, 9),
    ),
    "truth.mat": (
        lambda path: savemat(path, {"GroundTruth": np.ones((4, 4, 3, 2), np.uint8)}),
        read_truth,
    ),
    "k.npy": (lambda path: np.save(path, KERNEL), lambda path: load_kernels(path, 9)),
    "m.npz": (
        lambda path: np.savez(path, pred_masks=np.ones((1, 20, 24), bool), scores=np.ones(1)),
        lambda path: find_masks(path.parent, "npz")(path.stem, PICTURE),
    ),
    "s.tar": (shard, read_shards),
    "b.pkl": (
        lambda path: path.write_bytes(pickle.dumps({"bbox": np.array([1.0, 2, 3, 4])})),
        read_box,
    ),
    "srn_tiny.model-523000.index": (tensorflow, read_checkpoint),
    "deep.png": (lambda path: write_image(path, PICTURE.astype(np.uint16) * 257), read_photo),
    **{
        f"p{ending}": (lambda path: write_image(path, PICTURE), read_photo)
        for ending in (".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm")
    },
    "v.mp4": (
        lambda path: make_file(path, [0, 40, 80, 120], (32, 32)),
        lambda path: list(VideoFile(path)),
    ),
}


def damaged(content: bytes, seed: int) -> bytes:
    """Content cut off, or with some bytes changed: anywhere, in the beginning, or in number."""
    rng = np.random.default_rng(seed)
    changed = bytearray(content)
    start = int(rng.integers(len(changed)))
    if seed % 4 == 0:
        return bytes(changed[:start])
    if seed % 4 == 1:
        for index in rng.integers(len(changed), size=5):
            changed[index] = int(rng.integers(256))
    elif seed % 4 == 2:
        changed[int(rng.integers(min(len(changed), 400)))] = int(rng.choice([0, 1, 128, 255]))
    else:
        changed[start : start + int(rng.integers(1, 20))] = rng.bytes(int(rng.integers(20)))
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_damage_is_a_sentence_or_a_result(name, tmp_path, capfd):
    write, read = FILES[name]
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    read(path)
    sentences = []
    for seed in range(SEEDS):
        path.write_bytes(damaged(content, seed))
        try:
            read(path)
        except UserError as error:
            sentences.append(str(error))
    assert len(sentences) > SEEDS // 8
    assert all(str(tmp_path) in text and "\n" not in text for text in sentences)
