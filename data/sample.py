"""The embedded sample: two short blurry clips with ground truth, made on first use from pictures that come with scikit-image."""

import tempfile
from pathlib import Path

import numpy as np
import skimage.data

from data.clips import write_clip
from data.synthesis.scene import picture_clip
from utils.config import ROOT

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
            for name, seed in PICTURES.items():
                picture = np.float32(getattr(skimage.data, name)()) / 255
                clip = picture_clip(picture, FRAMES, BLUR, EXPOSURE, SIZE, np.random.default_rng(seed))
                write_clip(Path(temporary, "sample"), name, ((f"{index:05d}", *pair) for index, pair in enumerate(zip(*clip))))
            Path(temporary, "sample").rename(folder)
    return folder
