"""Masks of the objects in a picture, from whatever segmentation there is.

Kinds (found by looking, or named): `npz`, detectron2 results NAME.npz with pred_masks [N,H,W] and
scores; `folders`, NAME/*.png, one mask each; `labels`, NAME.png or NAME_*.png, a label map (DAVIS,
ADE20K, BSDS500); `coco`, a COCO instance file; `panoptic`, a COCO panoptic file beside its folder
of label pictures; `detector`, a torchvision Mask R-CNN whose weights lie in pretrain_models/. NAME
is the picture's path below the picture folder, that path with underscores (GOPRxxxx_yy_zz_000047),
or its stem.
"""

import glob
import json
import tokenize
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from utils.errors import UserError, reading
from utils.files import below

KINDS = ("auto", "npz", "folders", "labels", "coco", "panoptic", "detector")
DETECTOR = "maskrcnn_resnet50_fpn_v2_coco.pth"  # torchvision's weights under a plain name
STUFF_SIDES = (
    2  # a region of a partition that touches so many sides of the picture is ground, sky or wall
)


class Objects(NamedTuple):
    """masks [N,H,W] bool and how sure the segmentation is of each, 0..1."""

    masks: np.ndarray
    scores: np.ndarray

    def chosen(self, min_score: float = 0.9, min_area: int = 4000, most: int = 5) -> "Objects":
        """Those above a score and an area in px, the best scores first, at most `most`."""
        large = self.masks.sum((1, 2)) > min_area
        order = [
            index
            for index in np.argsort(-self.scores, kind="stable")
            if large[index] and self.scores[index] > min_score
        ]
        return Objects(self.masks[order[:most]], self.scores[order[:most]])


MaskSource = Callable[[str, np.ndarray], Objects]  # (name, picture [H,W,3]) -> its objects


def find_masks(source: Path | None, kind: str = "auto", weights: Path | None = None) -> MaskSource:
    """Where the objects of a picture come from; None: no objects at all. Raises UserError for a
    source it can't read.
    """
    if source is None and kind != "detector":
        return lambda name, picture: _none(picture)
    if kind == "auto":
        kind = _detect_kind(source)
    if kind == "detector":
        return _detector(weights)
    if kind in ("coco", "panoptic"):
        return _COCO[kind](source)
    return _Files(source, kind)


class _Files:
    """One file or folder per picture."""

    def __init__(self, root: Path, kind: str):
        if not root.is_dir():
            raise UserError(f"no folder of masks at {root}")
        self.root, self.kind = root, kind

    def __call__(self, name: str, picture: np.ndarray) -> Objects:
        suffix = {"npz": ".npz", "labels": ".png", "folders": ""}[self.kind]
        tried = dict.fromkeys((name, name.replace("/", "_"), name.rpartition("/")[2]))
        for candidate in tried:
            path = self.root / f"{candidate}{suffix}"
            if (
                not path.exists() and self.kind == "labels"
            ):  # BSDS500 has ID_coarse.png and ID_mid.png
                path = next(iter(sorted(path.parent.glob(f"{glob.escape(path.stem)}_*.png"))), path)
            if path.exists():
                objects = _READERS[self.kind](path)
                return _checked(objects, picture, path)
        raise UserError(
            f"no masks for {name}: looked for "
            f"{', '.join(f'{candidate}{suffix}' for candidate in tried)} in {self.root}"
        )


def _read_npz(path: Path) -> Objects:
    with (
        reading(path, "masks", zipfile.BadZipFile, tokenize.TokenError),
        np.load(path, allow_pickle=False) as content,
    ):
        if missing := {"pred_masks", "scores"} - set(content.files):
            raise UserError(
                f"{path} lacks {' and '.join(sorted(missing))}: detectron2 results have "
                "pred_masks and scores"
            )
        return Objects(content["pred_masks"].astype(bool), content["scores"].astype(np.float32))


def _read_folder(path: Path) -> Objects:
    from utils.image import is_image

    files = sorted(file for file in path.iterdir() if is_image(file))
    if not files:
        raise UserError(f"no mask pictures in {path}")
    masks = [
        _pixels(file) > 127 if _pixels(file).max() > 1 else _pixels(file) > 0 for file in files
    ]
    if len({mask.shape for mask in masks}) > 1:
        raise UserError(f"the masks in {path} are of different sizes")
    return Objects(
        np.stack([mask if mask.ndim == 2 else mask.any(-1) for mask in masks]),
        np.ones(len(masks), np.float32),
    )


def _read_labels(path: Path) -> Objects:
    """Every label but 0; where 0 is no background (a partition of the picture), without the regions
    at two sides or more.
    """
    labels = _pixels(path)
    if labels.ndim == 3:
        labels = labels[..., 0].astype(np.int64) + 256 * labels[..., 1] + 65536 * labels[..., 2]
    values = np.unique(labels)
    masks = [labels == value for value in values if value != 0]
    if (labels == 0).mean() < 0.25:
        masks = [
            mask
            for mask in masks
            if sum(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
            < STUFF_SIDES
        ]
    return Objects(
        np.stack(masks) if masks else np.zeros((0, *labels.shape), bool),
        np.ones(len(masks), np.float32),
    )


_READERS = {"npz": _read_npz, "folders": _read_folder, "labels": _read_labels}


def _coco(path: Path) -> MaskSource:
    from pycocotools import mask as rle

    content = _read_json(path, ("images", "annotations"))
    images = {image["id"]: image for image in content["images"]}
    of_image: dict[str, list[dict]] = {
        Path(image["file_name"]).stem: [] for image in content["images"]
    }
    for annotation in content["annotations"]:
        if annotation["image_id"] not in images:
            raise UserError(
                f"{path}: annotation {annotation.get('id')} belongs to image "
                f"{annotation['image_id']}, which is not listed"
            )
        of_image[Path(images[annotation["image_id"]]["file_name"]).stem].append(annotation)
    sizes = {
        Path(image["file_name"]).stem: (image["height"], image["width"])
        for image in content["images"]
    }

    def objects(name: str, picture: np.ndarray) -> Objects:
        stem = name.rpartition("/")[2]
        if stem not in of_image:
            raise UserError(f"{path} does not list {name}")
        masks = []
        for annotation in of_image[stem]:
            shape = annotation["segmentation"]
            if isinstance(shape, list):
                shape = rle.merge(rle.frPyObjects(shape, *sizes[stem]))
            elif isinstance(shape["counts"], list):
                shape = rle.frPyObjects(shape, *sizes[stem])
            masks.append(rle.decode(shape).astype(bool))
        scores = np.array(
            [annotation.get("score", 1.0) for annotation in of_image[stem]], np.float32
        )
        return (
            _checked(Objects(np.stack(masks), scores), picture, path) if masks else _none(picture)
        )

    return objects


def _panoptic(path: Path) -> MaskSource:
    content = _read_json(path, ("annotations",))
    things = {
        category["id"] for category in content.get("categories", ()) if category.get("isthing", 1)
    }
    folder = next(
        (
            folder
            for folder in (path.with_suffix(""), path.parent / "panoptic_examples")
            if folder.is_dir()
        ),
        None,
    )
    if folder is None:
        raise UserError(f"the label pictures of {path} are expected in {path.with_suffix('')}")
    of_image: dict[str, dict] = defaultdict(dict)
    for annotation in content["annotations"]:
        of_image[Path(annotation["file_name"]).stem] = annotation

    def objects(name: str, picture: np.ndarray) -> Objects:
        stem = name.rpartition("/")[2]
        if stem not in of_image:
            raise UserError(f"{path} does not list {name}")
        file = below(folder, of_image[stem]["file_name"], path)
        if not file.is_file():
            raise UserError(f"{path} names {file}, which does not exist")
        red, green, blue = np.moveaxis(_pixels(file).astype(np.int64)[..., :3], -1, 0)
        labels = red + 256 * green + 65536 * blue
        segments = [
            segment["id"]
            for segment in of_image[stem]["segments_info"]
            if not things or segment["category_id"] in things
        ]
        masks = [labels == segment for segment in segments]
        return (
            _checked(Objects(np.stack(masks), np.ones(len(masks), np.float32)), picture, file)
            if masks
            else _none(picture)
        )

    return objects


_COCO = {"coco": _coco, "panoptic": _panoptic}


def _detector(weights: Path | None) -> MaskSource:
    if weights is None or not weights.is_file():
        raise UserError(
            f"no weights of the detector at {weights}: put torchvision's Mask R-CNN v2 file "
            "there, or give masks"
        )
    from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

    from utils.checkpoint import load_state, load_strict

    network = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    load_strict(network, load_state(weights), weights)
    network.eval()

    @torch.inference_mode()
    def objects(name: str, picture: np.ndarray) -> Objects:
        found = network(
            [torch.from_numpy(np.float32(picture) / np.iinfo(picture.dtype).max).permute(2, 0, 1)]
        )[0]
        return Objects((found["masks"][:, 0] > 0.5).numpy(), found["scores"].numpy())

    return objects


def _detect_kind(source: Path) -> str:
    if source.suffix == ".json":
        content = _read_json(source, ("annotations",))
        return (
            "panoptic"
            if any("segments_info" in annotation for annotation in content["annotations"][:1])
            else "coco"
        )
    if not source.is_dir():
        raise UserError(f"no masks at {source}")
    if next(source.rglob("*.npz"), None):
        return "npz"
    return (
        "labels"
        if any(path.suffix == ".png" for path in source.iterdir()) or _has_videos(source)
        else "folders"
    )


def _has_videos(source: Path) -> bool:
    """VIDEO/FRAME.png with a label map per frame, told from NAME/MASK.png by the many files with
    numbers for names.
    """
    first = next((folder for folder in sorted(source.iterdir()) if folder.is_dir()), None)
    return first is not None and sum(path.stem.isdecimal() for path in first.iterdir()) > 8


def _read_json(path: Path, keys: tuple[str, ...]) -> dict:
    with reading(path, "JSON"):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or (missing := [key for key in keys if key not in content]):
        raise UserError(
            f"{path} is no COCO file: it lacks "
            f"{', '.join(missing) if isinstance(content, dict) else 'a top level'}"
        )
    return content


def _pixels(path: Path) -> np.ndarray:
    """Values as stored: palette indices, labels, or channels."""
    from PIL import Image  # OpenCV gives a palette's colours, not its indices

    with reading(path, "a mask", Image.DecompressionBombError), Image.open(path) as image:
        return np.asarray(image)


def _checked(objects: Objects, picture: np.ndarray, path: Path) -> Objects:
    if objects.masks.shape[1:] != picture.shape[:2]:
        size, own = (f"{shape[1]}x{shape[0]}" for shape in (objects.masks.shape[1:], picture.shape))
        raise UserError(f"the masks of {path} are {size}, their picture is {own}")
    if len(objects.scores) != len(objects.masks):
        raise UserError(f"{path} has {len(objects.masks)} masks but {len(objects.scores)} scores")
    return objects


def _none(picture: np.ndarray) -> Objects:
    return Objects(np.zeros((0, *picture.shape[:2]), bool), np.zeros(0, np.float32))
