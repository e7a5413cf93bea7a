"""The embedded sample: two short blurry clips with ground truth, made on first use from pictures that come with scikit-image."""

import tempfile
from pathlib import Path

import numpy as np
import skimage.data

from data.synthesis.exposure import moved_clip
from data.synthesis.motion import smooth_trajectory
from utils.config import ROOT
from utils.image import write_image

FRAMES = 9
SIZE = (240, 320)  # height, width
BLUR = 9.0  # mean length of the blur in px; with the seeds below each frame has 7 to 11 px
EXPOSURE = 0.8  # of the frame interval
PICTURES = {"astronaut": 33, "chelsea": 58}  # name -> seed of its camera motion


def sample_folder() -> Path:
    """dataset/sample with blur/VIDEO and gt/VIDEO; written on the first call, whole or not at all."""
    folder = ROOT / "dataset" / "sample"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sample.") as temporary:
            made = Path(temporary) / "sample"
            for name, seed in PICTURES.items():
                _write_clip(made, name, seed)
            made.rename(folder)
    return folder


def _write_clip(folder: Path, name: str, seed: int) -> None:
    picture = np.float32(getattr(skimage.data, name)()) / 255
    trajectory = smooth_trajectory(np.random.default_rng(seed), FRAMES, BLUR / EXPOSURE, turn=0.01)
    blurry, sharp = moved_clip(picture, trajectory, FRAMES, EXPOSURE, SIZE)
    for kind, clip in (("blur", blurry), ("gt", sharp)):
        for index, frame in enumerate(clip):
            write_image(folder / kind / name / f"{index:05d}.png", np.round(frame * 255).astype(np.uint8))
