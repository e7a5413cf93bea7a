"""Names and help of options that several commands have, declared once (see utils/config.py)."""

from typing import Literal

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
MaskKind = Literal["auto", "npz", "folders", "labels", "coco", "panoptic", "detector"]
Cached = Literal["none", "decoded", "tiles"]
SequenceAugmentation = Literal["affine", "jitter", "noise", "turn", "flicker"]

# The largest values that make sense, of options of these names in any command; see maximum_of.
_MAXIMA = {
    "seed": 2**63 - 1,
    **dict.fromkeys(
        ("average", "still", "strong", "mild", "prob_streaks", "score_threshold", "noise_std"), 1
    ),
    "betas": 0.999_999,
    "crf": 51,
    "quality": 100,
    **dict.fromkeys(("kernel_size", "kernel_length", "blur", "object_blur"), 4095),
    **dict.fromkeys(
        ("patch_size", "image_size", "tile_size", "tile_step", "crop_size", "height", "width"),
        65_535,
    ),
    **dict.fromkeys(("gamma", "gamma_factor", "zoom", "exponential_factor"), 1000),
    **dict.fromkeys(("lr", "lr_min", "flow_lr", "fps", "resize_factor", "workers"), 1000),
    **dict.fromkeys(("frames", "clip_frames", "exposure", "accumulate", "max_objects"), 10_000),
    **dict.fromkeys(("batch_size", "warm_batch_size", "bracket"), 65_536),
    **dict.fromkeys(("n_images", "kernels", "shards", "memory", "ratio", "ratios"), 1_000_000),
    **dict.fromkeys(("min_streaks", "max_streaks", "max_boost", "focal"), 1_000_000),
}
_MAXIMUM_WHOLE = 2**31 - 1
_MAXIMUM = 1e12

# Help of options that mean the same at every command; what a command adds stands behind it.
START = "initial weights, a file or a name as in test.py, of a network with the same arguments"
SAVE = "name of the run and of its folder experiment/SAVE"
RESUME = "continue from the last checkpoint of the run"
EPOCHS = "number of epochs"
MAX_MINUTES = "save and stop after this many minutes; 0 = no limit"
NO_VALIDATION = (
    "the value null: no validation, so that --weights SAVE means the last weights, not the best"
)
WORKERS = "number of data loader processes"
CACHED = (
    "decode the data once and keep the pixels in --cache_path: as whole pictures (decoded) or in "
    "tiles, of which less is read from the disk"
)
SEED = "seed of all random numbers"
GRADIENT_NORM = "clip the norm of the gradient to this; 0 = no clipping"
ACCUMULATE = "gradient accumulation: split each batch into this many parts, to save memory"
AVERAGE = (
    "decay of the exponential moving average (EMA) of the weights, which is validated and "
    "exported; 0 = no average"
)
PROFILE = "write a trace of ten training steps, experiment/SAVE/profile.json (torch profiler)"
REPORT = "write report.html"
TABLE = (
    "compute the published figures whose data and weights are in place, and say what the others "
    "need: all, or those of a data set or of a network (a part of its name)"
)
WEIGHTS = (
    "weights file, ours or the authors', or the name of a file in pretrain_models/ or, where there "
    "is none, of a run in experiment/"
)
SKIP_EXISTING = "skip inputs whose results exist already"
PART = (
    "restore every N-th input, starting with the K-th, for N runs that know nothing of each other "
    "(Slurm arrays); the last call, without it and with --skip_existing, scores and reports"
)
RESULTS = "folder of the results"
SCORED_DEFAULT = (
    "default: experiment/{0}_test, of --compare experiment/{0}_compare; scores of existing files "
    "are written only where it is given"
)
BLURRY_DIR = "score or compare existing files: folder of blurry pictures"
SHARP_DIR = "score or compare existing files: folder of sharp pictures"
RESTORED_DIR = "score existing files: folder of restored pictures"
DEVICE = "auto (a GPU if there is one), cpu, cuda or cuda:N"
PRECISION = (
    "floating-point precision of the network; fp32: exact; tf32: products rounded to TF32 (GPU); "
    "bf16, fp16 (GPU): mixed precision"
)
AUTO_PRECISION = f"{PRECISION}; auto: bf16 on a GPU that supports it, else fp32"
AUTO_PRECISION_SHIPPED = (
    f"{PRECISION}; auto: bf16 on a GPU that supports it, with the shipped weights also on a CPU "
    "that supports it, else fp32"
)
EXACT_PRECISION = f"{PRECISION}; auto: fp32"
CRF = 14  # of x264 and x265: visually lossless
QUALITY = 95  # of JPEG
SCALES = "{auto,mean,X}"
SCALE = (
    "size at which the picture is restored, so that blur longer than the network can undo becomes "
    "shorter; a number: this factor, 1 = as it is; mean: the mean of the results at 1, 0.71 and "
    "0.5; auto: from the length of the blur"
)
STRENGTH = "strength of the restoration: 0 = none, 1 = as the network has it, at most 1.5"
ONLY_BLURRY = "restore only what is blurred by about 3 px or more; the rest keeps its pixels"
GUARD = (
    "keep the input where the network changes the mean of large areas, as it may do with pictures "
    "unlike its training data"
)
AUTO_UNLESS_PUBLISHED = "default: auto, but 1 with published weights on data with ground truth"
ON_UNLESS_PUBLISHED = "default: true, but false with published weights on data with ground truth"
LOCAL_STATISTICS = "NAFNet: average the channel attention over windows of the training size (TLC)"
SEQUENCES = "folder of sequences that holds metadata.json, or such a file"
DATASET_NAME = "the same as --data_path dataset/NAME"
METADATA = (
    "metadata file to use instead of DATA_PATH/metadata.json; without --data_path the pictures are "
    "looked for beside this file, then in dataset/NAME, where NAME is its key `name`"
)


def maximum_of(name: str, value: int | float) -> int | float:
    """The largest value of an option that is taken: 1 for fractions, 64 bits for seeds, ..."""
    if name.endswith("_fraction"):
        return 1
    return _MAXIMA.get(name, _MAXIMUM_WHOLE if isinstance(value, int) else _MAXIMUM)
