"""Names and help of options that several commands have, declared once (see utils/config.py)."""

from typing import Literal

Precision = Literal["auto", "fp32", "bf16", "fp16"]
MaskKind = Literal["auto", "npz", "folders", "labels", "coco", "panoptic", "detector"]
Cached = Literal["none", "decoded", "tiles"]
SequenceAugmentation = Literal["affine", "jitter", "noise", "turn", "flicker"]

# Help of options that mean the same at every command; what a command adds stands behind it.
START = "start from the weights of a network of the same shape"
SAVE = "name of the run"
RESUME = "go on from the run's last checkpoint"
EPOCHS = "epochs"
MAX_MINUTES = "save and stop after this many minutes; 0 = no limit"
WORKERS = "loader processes"
CACHED = (
    "decode once and keep the pixels in --cache_path: as whole pictures (decoded) or in tiles, of "
    "which less is read from the disk"
)
SEED = "seed of all randomness"
GRADIENT_NORM = "clip the norm of the gradient to this; 0 = no clipping"
ACCUMULATE = "parts a batch is worked through in, to save memory"
AVERAGE = "decay of the moving average of the weights that is validated and exported; 0 = none"
REPORT = "write report.html"
TABLE = (
    "run the rows of tables.yaml whose data and weights are in place (all, or those of one "
    "data set or network)"
)
PRINT_TABLE = "print the published figures and what repeating them needs"
WEIGHTS = "weights file, ours or the authors', or the name of one in pretrain_models/"
SKIP_EXISTING = "leave alone what has its results already"
RESULTS = "results go here"
BLURRY_DIR = "score files: folder of blurry pictures"
SHARP_DIR = "score files: folder of sharp pictures"
RESTORED_DIR = "score files: folder of restored pictures"
DEVICE = "auto (the GPU where there is one), cpu, cuda or cuda:N"
PRECISION = "arithmetic of the network; auto: bf16 on a GPU that has it, else fp32"
SEQUENCES = "folder of sequences with its metadata.json, or such a file; none: the embedded sample"
DATASET_NAME = "the same as --data_path dataset/NAME"
METADATA = (
    "another metadata file for these pictures; without --data_path its pictures lie "
    "beside it or in dataset/, below its `name`"
)
