"""The embedded samples: blurry clips with ground truth, sharp pictures, and sequences.

They are made on first use from pictures that come with scikit-image.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data

from data import sequences
from data.clips import write_clip
from data.sequences import FrameSequences, collect_metadata, find_sequences, write_sequence
from data.synthesis.camera import STANDARD
from data.synthesis.motion import smooth_trajectory
from data.synthesis.scene import Scene, picture_clip
from utils.config import ROOT
from utils.image import write_image

FRAMES = 9  # of a clip
SIZE = (240, 320)  # height, width
BLUR = 9.0  # mean length of the blur in px; with the seeds below each frame has 7 to 11 px
EXPOSURE = 0.8  # of the frame interval
PICTURES = {"astronaut": 33, "chelsea": 58}  # name -> seed of its camera motion
# Name -> partition.
SEQUENCE_PICTURES = {"astronaut": "test", "chelsea": "test", "coffee": "val", "rocket": "train"}
SEQUENCES = 2  # per picture, with camera motions from the seeds 0 and 1
SEQUENCE_BLUR = 14.0  # px


def sample_folder() -> Path:
    """dataset/sample with blur/VIDEO and gt/VIDEO, written on the first call."""
    return _made_once("sample", _write_clips)


def sample_sequences() -> Path:
    """dataset/sample_sequences, HyperCUT's folder: a camera that moves over pictures.

    Written on the first call.
    """
    return _made_once("sample_sequences", _write_sequences)


def sample_pictures() -> Path:
    """dataset/sample_pictures, four sharp pictures; written on the first call."""
    folder = ROOT / "dataset" / "sample_pictures"
    for name in SEQUENCE_PICTURES:
        if not (folder / f"{name}.png").is_file():
            write_image(folder / f"{name}.png", getattr(skimage.data, name)())
    return folder


def pairs_or_sample(data_path: Path | None) -> Path:
    """The folder that is given, else that of the embedded clips."""
    return data_path or _announced(sample_folder())


def pictures_or_sample(data_path: Path | None) -> Path:
    """The folder that is given, else the four sharp pictures."""
    return data_path or _announced(sample_pictures())


def sequences_or_sample(
    data_path: Path | None, dataset_name: str | None = None, metadata: Path | None = None
) -> FrameSequences:
    """data.sequences.find_sequences, and without anything given the embedded sample."""
    if not (data_path or dataset_name or metadata):
        data_path = _announced(sample_sequences())
    return find_sequences(data_path, dataset_name, metadata)


def _announced(folder: Path) -> Path:
    print(f"no --data_path: the embedded sample {folder}")
    return folder


def _made_once(name: str, write: Callable[[Path], None]) -> Path:
    """dataset/NAME, which write(folder) fills on the first call, whole or not at all."""
    folder = ROOT / "dataset" / name
    if folder.exists():
        return folder
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sample.") as temporary:
        made = Path(temporary, name)
        write(made)
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():  # it does where another process has just made the same
                raise
    return folder


def _write_clips(root: Path) -> None:
    for name, seed in PICTURES.items():
        picture = np.float32(getattr(skimage.data, name)()) / 255
        rng = np.random.default_rng(seed)
        blurry, sharp = picture_clip(picture, FRAMES, BLUR, EXPOSURE, SIZE, rng)
        names = [f"{index:05d}" for index in range(FRAMES)]
        write_clip(root, name, zip(names, blurry, sharp))


def _write_sequences(root: Path) -> None:
    for name in SEQUENCE_PICTURES:
        for seed in range(SEQUENCES):
            _write_sequence(root, name, seed)
    collect_metadata(root, SEQUENCE_PICTURES)


def _write_sequence(root: Path, name: str, seed: int) -> None:
    picture = STANDARD.linear(getattr(skimage.data, name)())
    camera = smooth_trajectory(np.random.default_rng(seed), 3, SEQUENCE_BLUR, turn=0.01)
    blurry, frames = Scene(picture, camera).expose(1, 1.0, SIZE, sequences.FRAMES)
    write_sequence(
        root,
        f"{name}_{seed}",
        STANDARD.encoded(blurry),
        [STANDARD.encoded(frame) for frame in frames],
    )
