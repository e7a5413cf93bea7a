"""What generate.py irp writes of each scene of an exposure stack, and the features in it."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.irp import Shot
from data.shot_features import Features, auxiliary_targets_of, detail_of, label_features_of
from utils.errors import UserError
from utils.image import read_image
from utils.schema import both, fields, items, number, read_json, text, values

RECORDS = "records"
_RATIO = number(1, 1e6)
_LABEL = number(0, 1)
_SHOT = fields({"ratio": _RATIO, "label": _LABEL, "input_psnr": number(), "input_ssim": number()})
# what generate.py irp writes of a scene
RECORD = fields(
    {
        "source": text(),
        "number": number(0, whole=True),
        "photons": number(1e-3),
        "shots": items(both(_SHOT, values(number())), minimum=1),
    },
    extent_px=items(number(0), minimum=1),
)


def read_features(root: Path, shots: Sequence[Shot]) -> Features | None:
    """The features of shots from the metadata in records/ and the pictures in sharp/.

    None for a data set that generate.py irp did not make.
    """
    known = {}  # scene -> its record, the detail of its sharp picture
    for scene in {shot.scene for shot in shots}:
        sharp_path = root / "sharp" / f"{scene}.png"
        if not (record_path(root, scene).is_file() and sharp_path.is_file()):
            return None
        known[scene] = read_record(root, scene), detail_of(read_image(sharp_path))
    targets = []
    label_features = []
    for shot in shots:
        record, detail = known[shot.scene]
        photons = record["photons"]
        extent = record.get("extent_px", [math.nan])[0]
        measured = {row["ratio"]: row for row in record["shots"]}.get(shot.ratio)
        if measured is None:
            raise UserError(
                f"{record_path(root, shot.scene)} tells of no shot of the ratio {shot.ratio:g}"
            )
        quality = measured["input_psnr"], measured["input_ssim"]
        targets.append(auxiliary_targets_of(photons, extent, shot.ratio, detail))
        label_features.append(label_features_of(shot.ratio, photons, detail, *quality))
    return Features(np.stack(targets), np.stack(label_features))


def source_of(root: Path, scene: str) -> str:
    """The picture or video that generate.py irp made a scene of."""
    return read_record(root, scene)["source"]


def read_record(root: Path, scene: str) -> dict:
    """What generate.py irp wrote of a scene; raises UserError for anything else."""
    return read_json(record_path(root, scene), RECORD)


def record_path(root: Path, scene: str) -> Path:
    """The file of a scene's record."""
    return root / RECORDS / f"{scene}.json"
