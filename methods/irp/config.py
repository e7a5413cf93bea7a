"""Options of the irp doors. Lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option
from utils.options import DEVICE, PRECISION, Precision

STACKS = "exposure stacks with labels (SCENE/{ratio}.png, IRP_label/); see data/irp.py"


@dataclass(frozen=True)
class GenerateConfig:
    """Make exposure stacks from sharp pictures and videos, restore every shot, and label it by how good it became.

    Under torchrun every process makes its share; what is there already is kept, so a stopped run goes on where it was.
    """

    data_path: Path = option(Path("dataset/sharp"), "sharp pictures and video files; folders of frames with --source videos")
    output_dir: Path = option(Path("dataset/IRPDataset"), "results go here")
    source: Literal["auto", "pictures", "videos"] = option("auto", "auto: pictures and video files; videos: also folders of frames")
    n_images: int = option(1, "scenes per picture or video")
    ratios: list[float] | None = option(None, "exposure ratios; none: the published eleven, 1 to 75")
    height: int = option(256, "height of the shots, px")
    width: int = option(256, "width of the shots, px")
    blur: list[float] = option([2.0, 40.0], "pictures: extent of the motion at ratio 1, px: LEAST MOST, short ones as often as long")
    still: float = option(0.1, "pictures: share of scenes without motion")
    exposure: list[float] = option([2.0, 6.0], "videos: exposure time of ratio 1 in frame intervals: LEAST MOST")
    photons: list[float] = option([500.0, 20000.0], "electrons at full scale for ratio 1: LEAST MOST, few as often as many")
    read_noise: float = option(2.0, "read noise of the sensor, electrons")
    kernel_size: int = option(65, "side of the blur kernels, px")
    mask_path: Path | None = option(None, "pictures: segmentation of their objects, see --mask_kind; none: the camera alone moves")
    mask_kind: Literal["auto", "npz", "folders", "labels", "coco", "panoptic", "detector"] = option("auto", "its kind, as in sbdd")
    max_objects: int = option(2, "objects: most per picture, each of which costs a deconvolution")
    restorers: list[Literal["denoise", "deblur", "deconvolve"]] = option(
        ["denoise", "deblur", "deconvolve"], "what the labels are made with; deconvolve knows the blur kernels"
    )
    weights: list[str] = option(["image_deblur"], "deblur: networks, by file or by name in pretrain_models/")
    seed: int = option(1, "seed; a scene depends on it and on its source alone")
    device: str = option("auto", DEVICE)
    precision: Precision = option("auto", PRECISION)
