"""The embedded samples, made on first use from pictures that come with scikit-image: blurry clips
with ground truth, and sequences.
"""

import tempfile
from pathlib import Path

import numpy as np
import skimage.data

from data.clips import write_clip
from data.sequences import FRAMES as MOMENTS
from data.sequences import Sequences, collect_metadata, find_sequences, write_sequence
from data.synthesis.camera import STANDARD
from data.synthesis.motion import smooth_trajectory
from data.synthesis.scene import Scene, picture_clip
from utils.config import ROOT
from utils.image import write_image

FRAMES = 9
SIZE = (240, 320)  # height, width
BLUR = 9.0  # mean length of the blur in px; with the seeds below each frame has 7 to 11 px
EXPOSURE = 0.8  # of the frame interval
PICTURES = {"astronaut": 33, "chelsea": 58}  # name -> seed of its camera motion
SEQUENCE_PICTURES = {
    "astronaut": "test",
    "chelsea": "test",
    "coffee": "val",
    "rocket": "train",
}  # name -> partition
SEQUENCES = 2  # per picture, with camera motions from the seeds 0 and 1
SEQUENCE_BLUR = 14.0  # px


def sample_folder() -> Path:
    """dataset/sample with blur/VIDEO and gt/VIDEO; written on the first call, whole or not at
    all.
    """
    folder = ROOT / "dataset" / "sample"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sample.") as temporary:
            for name, seed in PICTURES.items():
                picture = np.float32(getattr(skimage.data, name)()) / 255
                clip = picture_clip(
                    picture, FRAMES, BLUR, EXPOSURE, SIZE, np.random.default_rng(seed)
                )
                write_clip(
                    Path(temporary, "sample"),
                    name,
                    ((f"{index:05d}", *pair) for index, pair in enumerate(zip(*clip))),
                )
            _put_in_place(Path(temporary, "sample"), folder)
    return folder


def sample_pictures() -> Path:
    """dataset/sample_pictures, four sharp pictures; written on the first call."""
    folder = ROOT / "dataset" / "sample_pictures"
    for name in SEQUENCE_PICTURES:
        if not (folder / f"{name}.png").is_file():
            write_image(folder / f"{name}.png", getattr(skimage.data, name)())
    return folder


def pictures_or_sample(data_path: Path | None) -> Path:
    """The folder that is given, else the four sharp pictures."""
    if data_path is None:
        data_path = sample_pictures()
        print(f"no --data_path: the embedded sample {data_path}")
    return data_path


def sample_sequences() -> Path:
    """dataset/sample_sequences, HyperCUT's folder: a camera that moves over pictures; written on
    the first call, whole or not at all.
    """
    folder = ROOT / "dataset" / "sample_sequences"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sample.") as temporary:
            root = Path(temporary, folder.name)
            for name in SEQUENCE_PICTURES:
                picture = STANDARD.linear(getattr(skimage.data, name)())
                for seed in range(SEQUENCES):
                    camera = smooth_trajectory(
                        np.random.default_rng(seed), 3, SEQUENCE_BLUR, turn=0.01
                    )
                    blurry, moments = Scene(picture, camera).expose(1, 1.0, SIZE, MOMENTS)
                    write_sequence(
                        root,
                        f"{name}_{seed}",
                        STANDARD.encoded(blurry),
                        [STANDARD.encoded(moment) for moment in moments],
                    )
            collect_metadata(root, SEQUENCE_PICTURES)
            _put_in_place(root, folder)
    return folder


def sequences_or_sample(
    data_path: Path | None, dataset_name: str | None = None, metadata: Path | None = None
) -> Sequences:
    """data.sequences.find_sequences, and without anything given the embedded sample."""
    if not (data_path or dataset_name or metadata):
        data_path = sample_sequences()
        print(f"no --data_path: the embedded sample {data_path}")
    return find_sequences(data_path, dataset_name, metadata)


def _put_in_place(made: Path, folder: Path) -> None:
    """Give a whole sample its name; it is no error if another process has just made the same."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
