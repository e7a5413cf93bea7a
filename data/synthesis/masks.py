"""Masks of the objects in a picture, from whatever segmentation there is.

Kinds (found by looking, or named): `npz`, detectron2 results NAME.npz with pred_masks [N,H,W] and
scores; `folders`, NAME/*.png, one mask each; `labels`, NAME.png or NAME_*.png, a label map (DAVIS,
ADE20K, BSDS500); `coco`, a COCO instance file; `panoptic`, a COCO panoptic file beside its folder
of label pictures; `detector`, a torchvision Mask R-CNN whose weights lie in pretrain_models/. NAME
is the picture's path below the picture folder, that path with underscores (GOPRxxxx_yy_zz_000047),
or its stem.
"""

import glob
import tokenize
import zipfile
from pathlib import Path

import numpy as np
import torch

from data.synthesis.coco import coco_masks, is_panoptic, panoptic_masks
from data.synthesis.objects import (
    MAX_BYTES,
    MaskSource,
    Objects,
    certain,
    check_count,
    checked,
    label_map,
    no_masks,
    stem_of,
    stored_values,
)
from utils.errors import UserError, reading
from utils.files import check_regular, files_below

KINDS = ("auto", "npz", "folders", "labels", "coco", "panoptic", "detector")
DETECTOR = "maskrcnn_resnet50_fpn_v2_coco.pth"  # torchvision's weights under a plain name
# A region of a partition that touches so many sides of the picture is ground, sky or wall.
STUFF_SIDES = 2


def find_masks(source: Path | None, kind: str = "auto", weights: Path | None = None) -> MaskSource:
    """Where the objects of a picture come from; source None: no objects at all.

    weights: of the detector. Raises UserError for a source that it can't read.
    """
    if source is None and kind != "detector":
        return no_masks
    if kind == "auto":
        kind = _detect_kind(source)
    if kind == "detector":
        return _detector(weights)
    if kind == "coco":
        return coco_masks(source)
    if kind == "panoptic":
        return panoptic_masks(source)
    return _Files(source, kind)


class _Files:
    """One file or folder per picture."""

    def __init__(self, root: Path, kind: str):
        if not root.is_dir():
            raise UserError(f"no folder of masks at {root}")
        self.root = root
        self.kind = kind

    def __call__(self, name: str, picture: np.ndarray) -> Objects:
        suffix = {"npz": ".npz", "labels": ".png", "folders": ""}[self.kind]
        stems = dict.fromkeys((name, name.replace("/", "_"), stem_of(name)))  # without repetitions
        files = [f"{stem}{suffix}" for stem in stems]
        for file in files:
            path = self.root / file
            if not path.exists() and self.kind == "labels":
                # BSDS500 has ID_coarse.png and ID_mid.png.
                variants = sorted(path.parent.glob(f"{glob.escape(path.stem)}_*.png"))
                path = variants[0] if variants else path
            if path.exists():
                return checked(_READERS[self.kind](path), picture, path)
        raise UserError(f"no masks for {name}: looked for {', '.join(files)} in {self.root}")


def _read_npz(path: Path) -> Objects:
    check_regular(path)
    with (
        reading(path, "masks", zipfile.BadZipFile, tokenize.TokenError),
        np.load(path, allow_pickle=False) as content,
    ):
        missing = {"pred_masks", "scores"} - set(content.files)
        if missing:
            raise UserError(
                f"{path} lacks {' and '.join(sorted(missing))}: detectron2 results have "
                "pred_masks and scores"
            )
        unpacked = sum(entry.file_size for entry in content.zip.infolist())
        if unpacked > MAX_BYTES:
            raise UserError(f"{path} unpacks to {unpacked:,} bytes: at most {MAX_BYTES:,} are read")
        return Objects(content["pred_masks"].astype(bool), content["scores"].astype(np.float32))


def _read_folder(path: Path) -> Objects:
    from utils.image import is_image

    files = sorted(file for file in path.iterdir() if is_image(file))
    if not files:
        raise UserError(f"no mask pictures in {path}")
    masks = [_binary_mask(stored_values(file)) for file in files]
    if len({mask.shape for mask in masks}) > 1:
        raise UserError(f"the masks in {path} are of different sizes")
    return certain(masks, masks[0])


def _binary_mask(pixels: np.ndarray) -> np.ndarray:
    """A mask [H,W] of pixels [H,W] or [H,W,C] with the values 0 and 1, or 0 and 255."""
    threshold = 127 if pixels.max() > 1 else 0
    mask = pixels > threshold
    if mask.ndim == 3:
        mask = mask.any(-1)
    return mask


def _read_labels(path: Path) -> Objects:
    """Every label but 0.

    Where 0 is no background (a partition of the picture), regions at two sides of the picture or
    more are left out.
    """
    labels = label_map(stored_values(path))
    values = np.unique(labels)
    check_count(len(values), labels, path)
    masks = [labels == value for value in values if value != 0]
    if (labels == 0).mean() < 0.25:
        masks = [mask for mask in masks if _touched_sides(mask) < STUFF_SIDES]
    return certain(masks, labels)


def _touched_sides(mask: np.ndarray) -> int:
    """How many of its picture's four sides a mask touches."""
    return sum(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


_READERS = {"npz": _read_npz, "folders": _read_folder, "labels": _read_labels}


def _detector(weights: Path | None) -> MaskSource:
    if weights is None or not weights.is_file():
        from utils.download.table import how_to_get  # it reads YAML, which kernels need not

        raise UserError(
            f"no weights of the detector at {weights}: {how_to_get(DETECTOR)}, or give masks"
        )
    from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

    from utils.checkpoint import load_state, load_strict

    network = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    load_strict(network, load_state(weights), weights)
    network.eval()

    @torch.inference_mode()
    def objects(name: str, picture: np.ndarray) -> Objects:
        pixels = np.float32(picture) / np.iinfo(picture.dtype).max
        found = network([torch.from_numpy(pixels).permute(2, 0, 1)])[0]
        return Objects((found["masks"][:, 0] > 0.5).numpy(), found["scores"].numpy())

    return objects


def _detect_kind(source: Path) -> str:
    if source.suffix == ".json":
        return "panoptic" if is_panoptic(source) else "coco"
    if not source.is_dir():
        raise UserError(f"no masks at {source}")
    if any(path.suffix == ".npz" for path in files_below(source)):
        return "npz"
    if any(path.suffix == ".png" for path in source.iterdir()) or _has_videos(source):
        return "labels"
    return "folders"


def _has_videos(source: Path) -> bool:
    """Whether a folder holds VIDEO/FRAME.png with a label map per frame.

    It is told from NAME/MASK.png by the many files with numbers for names.
    """
    folders = sorted(folder for folder in source.iterdir() if folder.is_dir())
    return bool(folders) and sum(path.stem.isdecimal() for path in folders[0].iterdir()) > 8
