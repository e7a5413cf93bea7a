"""Options of the sbdd commands. Times in frame intervals, lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.config import option
from utils.options import BLURRY_DIR, REPORT, RESTORED_DIR, RESULTS, SEED, SHARP_DIR, MaskKind

# Published spellings: command -> {theirs: ours}; see docs/commands.md.
ALIASES = {
    "generate": {
        "--sharp_dir": "--data_path",
        "--gopro_sharp_dir": "--data_path",
        "-ad": "--data_path",
        "-kd": "--kernel_path",
        "-kl": "--kernel_list",
        "-sd": "--mask_path",
        "-gf": "--gamma",
        "-ef": "--exponential_factor",
        "-ps": "--prob_streaks",
        "-o": "--output_dir",
        "--segmentation_dir": "--mask_path",
        "--gopro_segmentation_dir": "--mask_path",
        "--kernels_dir": "--kernel_path",
        "--kernels_list": "--kernel_list",
        "--K": "--kernel_size",
        "--max_objects_to_blur": "--max_objects",
        "--gamma_factor": "--gamma",
    },
    "test": {
        "-b": "--blurry_dir",
        "-s": "--sharp_dir",
        "--gt_dir": "--sharp_dir",
        "-r": "--restored_dir",
        "-o": "--output_dir",
        "--core": "--workers",
    },
}


@dataclass(frozen=True)
class GenerateConfig:
    """Make blurry/sharp pairs, clips, sequences or blur kernels from sharp pictures and videos.

    A sequence is a blurry picture and seven sharp frames. Under torchrun every process makes its
    shard; what is there already is kept, so a stopped run goes on where it was.
    """

    data_path: Path | None = option(
        Path("dataset/sharp"),
        "sharp pictures; for clips and sequences also video files or folders of frames; null: "
        "the embedded sample",
    )
    output_dir: Path = option(Path("dataset/generated"), RESULTS)
    what: Literal["pairs", "clips", "sequences", "kernels"] = option("pairs", "what to make")
    source: Literal["auto", "pictures", "videos"] = option(
        "auto",
        "clips, sequences: a camera moving over pictures, or exposures over videos (files, "
        "folders of numbered frames)",
    )
    seed: int = option(1, f"{SEED}; a result depends on it and on its own name alone")
    mask_path: Path | None = option(
        None,
        "segmentation of the pictures' objects, see --mask_kind; none: one blur for the whole "
        "picture",
    )
    mask_kind: MaskKind = option(
        "auto",
        "npz (detectron2), folders of masks, labels (label maps), coco or panoptic json, "
        "detector (torchvision)",
    )
    detector_weights: Path = option(
        Path("pretrain_models/maskrcnn_resnet50_fpn_v2_coco.pth"),
        "Mask R-CNN, for --mask_kind detector",
    )
    score_threshold: float = option(0.9, "objects: minimum score of the segmentation")
    min_object_area: int = option(4000, "objects: minimum area, px")
    max_objects: int = option(5, "objects: maximum per picture, the best scores first")
    random_masks: bool = option(False, "pairs: the masks of a random other picture")
    kernel_path: Path | None = option(
        None,
        "pairs: kernels (.mat with K, .npy, pictures): a folder or a list file; none: generated "
        "ones",
    )
    kernel_list: Path | None = option(
        None,
        "pairs: text file with a kernel per line, below --kernel_path or, without it, beside the "
        "file",
    )
    kernel_size: int = option(65, "pairs, kernels: side of the kernels, px", minimum=1)
    kernel_length: float | None = option(
        None, "pairs, kernels: extent of generated kernels, px; none: as they come"
    )
    kernels: int = option(1000, "kernels: how many")
    n_images: int = option(1, "pairs, and sequences from pictures: per picture", minimum=1)
    min_img_size: int = option(400, "pairs: pictures with a side of at most this are left out, px")
    strong: float = option(1.0, "pairs: fraction with the kernels as they come")
    mild: float = option(
        0.0, "pairs: fraction with kernels of at most 4 px; what is left has no blur"
    )
    gamma: float = option(2.2, "camera response: linear = picture^gamma")
    exponential_crf: bool = option(False, "exponential camera response instead")
    exponential_factor: float = option(7.0, "its factor")
    augment_illumination: bool = option(
        False, "pairs: up to three times more light, which saturates"
    )
    random_whyte_streaks: bool = option(False, "pairs: small bright lights that blur draws out")
    prob_streaks: float = option(0.5, "their probability")
    min_streaks: int = option(10, "their minimum number")
    max_streaks: int = option(100, "their number is below this")
    max_sat_increment: float = option(2000.0, "their brightest light, 255 = white")
    saturation_streaks: bool = option(
        False, "pairs: more light in clipped regions of the sharp picture before it is blurred"
    )
    sat_augmentation_in_blurry: bool = option(
        False, "pairs: blurred light of clipped regions on top of the blurry picture"
    )
    max_boost: float = option(4.0, "maximum of that light, in multiples of white")
    saturation_mask: bool = option(
        False, "published; changes nothing: the mask of clipped regions is made where it is needed"
    )
    gaussian_noise: bool = option(False, "pairs: Gaussian noise in proportion to the light")
    noise_std: float = option(0.05, "its standard deviation relative to the light")
    poisson_noise: bool = option(False, "pairs: photon noise")
    photons: float = option(1000.0, "photons at full scale")
    published: bool = option(
        False,
        "pairs: as the published program, with its defects (gamma after the exponential "
        "response, truncation)",
    )
    picture_format: Literal["png", "jpg"] = option(
        "png", "pairs: file format; jpg (quality 95) as the published sets"
    )
    only: str | None = option(None, "pairs: make this one (NAME_n) again, alone, whatever is there")
    shards: int = option(
        0, "pairs: write WebDataset tars of this many pairs instead of files; 0 = files"
    )
    exposure: float | None = option(
        None,
        "clips, sequences: time the shutter is open, in frame intervals; none: 0.8 from pictures "
        "(at most 1), 3 from videos",
    )
    stride: int = option(
        0, "from videos: frames from one exposure to the next; 0 = the exposure rounded up"
    )
    interpolate: bool = option(
        True,
        "from videos: fill the time between frames by optical flow; --no_interpolate averages "
        "whole frames",
    )
    frames: int = option(9, "clips from pictures: frames per clip", minimum=1)
    blur: list[float] = option(
        [9.0],
        "from pictures: mean length of the camera's blur, px; two: a range to draw from, short "
        "ones as often as long",
    )
    object_blur: list[float] = option(
        [9.0], "from pictures with masks: the same of the objects' own blur, px"
    )
    focal: float = option(
        0.0, "from pictures: focal length of a rotating camera, px; 0 = one that shifts"
    )
    height: int = option(
        240, "from pictures: height of the window that moves over the picture, px", minimum=1
    )
    width: int = option(320, "from pictures: its width, px", minimum=1)


@dataclass(frozen=True)
class TestConfig:
    """Score restored files of real pairs, which need registration first; no network is loaded."""

    sharp_dir: Path | None = option(
        None, f"{SHARP_DIR}; kohler: a folder or a .mat file (GroundTruth) per picture"
    )
    restored_dir: Path | None = option(
        None,
        f"{RESTORED_DIR}, paired by name (RealBlur, Koehler, GoPro and plain names are understood)",
    )
    blurry_dir: Path | None = option(None, f"{BLURRY_DIR}, for the input's figures")
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: scores.json, scores.csv, config.yaml, report.html; default "
        "RESTORED_DIR/scores",
    )
    protocol: Literal["realblur", "kohler", "image", "cdvd"] = option(
        "realblur", "how pictures are compared, see utils/evaluation/protocols.py"
    )
    workers: int = option(0, "images compared at the same time; 0 = one per core")
    report: bool = option(True, REPORT)
