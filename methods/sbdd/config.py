"""Options of the sbdd commands. Times in frame intervals, lengths in pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from methods.common.comparison_options import ComparisonOptions
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
        "-rf": "--resize_factor",
        "--core": "--workers",
    },
}


@dataclass(frozen=True)
class GenerateConfig:
    """Make blurry/sharp pairs, clips, sequences or blur kernels from sharp pictures and videos.

    A sequence is a blurry picture and seven sharp frames. Under torchrun the work is split
    between the processes. Existing results are kept, so the same command continues a stopped run.
    """

    data_path: Path | None = option(
        Path("dataset/sharp"),
        "sharp pictures; for clips and sequences also video files or folders of frames; the value "
        "null: the embedded sample",
    )
    output_dir: Path = option(Path("dataset/generated"), RESULTS)
    what: Literal["pairs", "clips", "sequences", "kernels"] = option(
        "pairs",
        "pairs: blurry and sharp pictures; clips: blurry and sharp videos; sequences: a blurry "
        "picture with seven sharp frames; kernels: blur kernels",
    )
    source: Literal["auto", "pictures", "videos"] = option(
        "auto",
        "clips, sequences: what they are made from; pictures: simulated camera motion over "
        "pictures; videos: simulated exposures, averages of the frames of videos (files, or "
        "folders of numbered frames); auto: recognised by what the folder holds",
    )
    seed: int = option(1, f"{SEED}; a result depends only on the seed and on its own name")
    mask_path: Path | None = option(
        None,
        "segmentation of the pictures' objects, see --mask_kind; default: one blur for the "
        "whole picture",
    )
    mask_kind: MaskKind = option(
        "auto",
        "npz (detectron2), folders (one folder of masks per picture), labels (label maps), coco or "
        "panoptic (json), detector (torchvision's Mask R-CNN); auto: recognised by what "
        "--mask_path holds",
    )
    detector_weights: Path = option(
        Path("pretrain_models/maskrcnn_resnet50_fpn_v2_coco.pth"),
        "--mask_kind detector: weights of Mask R-CNN",
    )
    score_threshold: float = option(0.9, "masks: minimum score of an object")
    min_object_area: int = option(4000, "masks: minimum area of an object, px")
    max_objects: int = option(
        5, "masks: maximum number of objects per picture, those with the highest scores"
    )
    random_masks: bool = option(False, "pairs: use the masks of another picture, chosen at random")
    kernel_path: Path | None = option(
        None,
        "pairs: folder of kernels (.mat with the variable K, .npy, pictures), or a text file that "
        "lists them; default: generated kernels",
    )
    kernel_list: Path | None = option(
        None,
        "pairs: text file with one kernel file per line, relative to --kernel_path or, without "
        "it, to the folder of the text file",
    )
    kernel_size: int = option(65, "pairs, kernels: side of the kernels, px", minimum=1)
    kernel_length: float | None = option(
        None, "pairs, kernels: extent of the blur of every generated kernel, px; default: random"
    )
    kernels: int = option(1000, "kernels: number of kernels to make")
    n_images: int = option(
        1, "pairs, and sequences from pictures: how many to make of each picture", minimum=1
    )
    min_img_size: int = option(400, "pairs: leave out pictures with a side of at most this, px")
    strong: float = option(1.0, "pairs: fraction of the pairs with kernels of full length")
    mild: float = option(
        0.0,
        "pairs: fraction of the pairs with kernels of at most 4 px; the rest (1 - strong - mild) "
        "has no blur",
    )
    gamma: float = option(2.2, "camera response: linear = picture^gamma")
    exponential_crf: bool = option(False, "exponential camera response instead of --gamma")
    exponential_factor: float = option(7.0, "factor of the exponential camera response")
    augment_illumination: bool = option(
        False, "pairs: up to three times more light, so that highlights saturate"
    )
    random_whyte_streaks: bool = option(
        False, "pairs: add small bright lights, which the blur turns into streaks"
    )
    prob_streaks: float = option(
        0.5, "--random_whyte_streaks: probability that a pair has such lights"
    )
    min_streaks: int = option(10, "--random_whyte_streaks: minimum number of lights")
    max_streaks: int = option(100, "--random_whyte_streaks: the number of lights is below this")
    max_sat_increment: float = option(
        2000.0, "--random_whyte_streaks: maximum brightness of a light, 255 = white"
    )
    saturation_streaks: bool = option(
        False, "pairs: brighten the clipped regions of the sharp picture before it is blurred"
    )
    sat_augmentation_in_blurry: bool = option(
        False, "pairs: add blurred light of the clipped regions to the blurry picture"
    )
    max_boost: float = option(
        4.0,
        "--saturation_streaks, --sat_augmentation_in_blurry: maximum brightness of the clipped "
        "regions, in multiples of white",
    )
    saturation_mask: bool = option(
        False,
        "option of the published program; changes nothing, because the mask of clipped regions is "
        "made whenever it is needed",
    )
    gaussian_noise: bool = option(False, "pairs: Gaussian noise proportional to the light")
    noise_std: float = option(0.05, "--gaussian_noise: standard deviation relative to the light")
    poisson_noise: bool = option(False, "pairs: photon noise")
    photons: float = option(1000.0, "--poisson_noise: number of photons at full scale")
    published: bool = option(
        False,
        "pairs: reproduce the published program with its defects (gamma after the exponential "
        "response, truncation)",
    )
    picture_format: Literal["png", "jpg"] = option(
        "png", "pairs: file format; jpg (quality 95) as in the published sets"
    )
    only: str | None = option(
        None, "pairs: make only this pair again, and overwrite it", value="NAME_n"
    )
    shards: int = option(
        0, "pairs: write WebDataset tars of this many pairs instead of files; 0 = files"
    )
    exposure: float | None = option(
        None,
        "clips, sequences: exposure time in frame intervals; default: 0.8 from pictures (where it "
        "is at most 1), 3 from videos",
    )
    stride: int = option(
        0, "from videos: number of frames from one exposure to the next; 0 = --exposure rounded up"
    )
    interpolate: bool = option(
        True,
        "from videos: fill the time between frames by optical flow; --no_interpolate averages "
        "whole frames",
    )
    frames: int = option(9, "clips from pictures: frames per clip", minimum=1)
    blur: list[float] = option(
        [9.0],
        "from pictures: mean length of the blur by camera motion, px; two values: the range of "
        "this length, drawn evenly on a logarithmic scale",
    )
    object_blur: list[float] = option(
        [9.0],
        "from pictures with masks: mean length of the blur by object motion, px; two values: its "
        "range",
    )
    focal: float = option(
        0.0, "from pictures: focal length of a camera that rotates, px; 0 = the camera shifts"
    )
    height: int = option(
        240,
        "from pictures: height of the frames, a window that moves over the picture, px",
        minimum=1,
    )
    width: int = option(320, "from pictures: width of the frames, px", minimum=1)


@dataclass(frozen=True)
class TestConfig(ComparisonOptions):
    """Score existing files against real sharp pictures after registration, without a network.

    --compare compares folders of results.
    """

    sharp_dir: Path | None = option(
        None, f"{SHARP_DIR}; kohler: a folder or a .mat file (GroundTruth) per picture"
    )
    restored_dir: Path | None = option(
        None,
        f"{RESTORED_DIR}, paired with the sharp ones by name, after the rules of RealBlur, Koehler "
        "and GoPro, else by equal names",
    )
    blurry_dir: Path | None = option(None, f"{BLURRY_DIR}, to score the input as well")
    output_dir: Path | None = option(
        None,
        f"{RESULTS}: scores.json, scores.csv, config.yaml, report.html; default: "
        "RESTORED_DIR/scores, of --compare experiment/sbdd_compare",
    )
    protocol: Literal["realblur", "kohler", "image", "cdvd"] = option(
        "realblur", "how pictures are compared, see Protocols in docs/conventions.md"
    )
    resize_factor: int = option(
        1, "realblur: enlarge the restored pictures by this factor first, bilinearly", minimum=1
    )
    workers: int = option(0, "number of threads; 0 = one per core")
    report: bool = option(True, REPORT)
