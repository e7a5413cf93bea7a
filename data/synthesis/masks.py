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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from utils.errors import UserError, reading
from utils.files import below

KINDS = ("auto", "npz", "folders", "labels", "coco", "panoptic", "detector")
DETECTOR = "maskrcnn_resnet50_fpn_v2_coco.pth"  # torchvision's weights under a plain name
# A region of a partition that touches so many sides of the picture is ground, sky or wall.
STUFF_SIDES = 2


class Objects(NamedTuple):
    """masks [N,H,W] bool and how sure the segmentation is of each, 0..1."""

    masks: np.ndarray
    scores: np.ndarray

    def chosen(
        self, min_score: float = 0.9, min_area: int = 4000, max_objects: int = 5
    ) -> "Objects":
        """Those above a score and an area in px, the best scores first, at most `max_objects`."""
        suitable = (self.masks.sum((1, 2)) > min_area) & (self.scores > min_score)
        order = np.argsort(-self.scores, kind="stable")
        order = order[suitable[order]][:max_objects]
        return Objects(self.masks[order], self.scores[order])


MaskSource = Callable[[str, np.ndarray], Objects]  # (name, picture [H,W,3]) -> its objects


def find_masks(source: Path | None, kind: str = "auto", weights: Path | None = None) -> MaskSource:
    """Where the objects of a picture come from; source None: no objects at all.

    weights: of the detector. Raises UserError for a source that it can't read.
    """
    if source is None and kind != "detector":
        return _no_masks
    if kind == "auto":
        kind = _detect_kind(source)
    if kind == "detector":
        return _detector(weights)
    if kind == "coco":
        return _coco(source)
    if kind == "panoptic":
        return _panoptic(source)
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
        stems = dict.fromkeys((name, name.replace("/", "_"), _stem(name)))  # without repetitions
        files = [f"{stem}{suffix}" for stem in stems]
        for file in files:
            path = self.root / file
            if not path.exists() and self.kind == "labels":
                # BSDS500 has ID_coarse.png and ID_mid.png.
                variants = sorted(path.parent.glob(f"{glob.escape(path.stem)}_*.png"))
                path = variants[0] if variants else path
            if path.exists():
                return _checked(_READERS[self.kind](path), picture, path)
        raise UserError(f"no masks for {name}: looked for {', '.join(files)} in {self.root}")


def _read_npz(path: Path) -> Objects:
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
        return Objects(content["pred_masks"].astype(bool), content["scores"].astype(np.float32))


def _read_folder(path: Path) -> Objects:
    from utils.image import is_image

    files = sorted(file for file in path.iterdir() if is_image(file))
    if not files:
        raise UserError(f"no mask pictures in {path}")
    masks = [_binary_mask(_pixels(file)) for file in files]
    if len({mask.shape for mask in masks}) > 1:
        raise UserError(f"the masks in {path} are of different sizes")
    return _certain(masks, masks[0])


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
    labels = _label_map(_pixels(path))
    masks = [labels == value for value in np.unique(labels) if value != 0]
    if (labels == 0).mean() < 0.25:
        masks = [mask for mask in masks if _touched_sides(mask) < STUFF_SIDES]
    return _certain(masks, labels)


def _label_map(pixels: np.ndarray) -> np.ndarray:
    """Labels [H,W] of grey values, or of colours as COCO writes them: R + 256 G + 256^2 B."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = np.moveaxis(pixels[..., :3].astype(np.int64), -1, 0)
    return red + 256 * green + 65536 * blue


def _touched_sides(mask: np.ndarray) -> int:
    """How many of its picture's four sides a mask touches."""
    return sum(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


_READERS = {"npz": _read_npz, "folders": _read_folder, "labels": _read_labels}


def _coco(path: Path) -> MaskSource:
    from pycocotools import mask as rle

    content = _read_json(path, ("images", "annotations"))
    stems = {}  # by the image's id
    sizes = {}
    annotations: dict[str, list[dict]] = {}
    for image in content["images"]:
        stem = Path(image["file_name"]).stem
        stems[image["id"]] = stem
        sizes[stem] = (image["height"], image["width"])
        annotations[stem] = []
    for annotation in content["annotations"]:
        image_id = annotation["image_id"]
        if image_id not in stems:
            raise UserError(
                f"{path}: annotation {annotation.get('id')} belongs to image {image_id}, which is "
                "not listed"
            )
        annotations[stems[image_id]].append(annotation)

    def objects(name: str, picture: np.ndarray) -> Objects:
        stem = _stem(name)
        if stem not in annotations:
            raise UserError(f"{path} does not list {name}")
        masks = []
        scores = []
        for annotation in annotations[stem]:
            shape = annotation["segmentation"]
            if isinstance(shape, list):
                shape = rle.merge(rle.frPyObjects(shape, *sizes[stem]))
            elif isinstance(shape["counts"], list):
                shape = rle.frPyObjects(shape, *sizes[stem])
            masks.append(rle.decode(shape).astype(bool))
            scores.append(annotation.get("score", 1.0))
        if not masks:
            return _no_masks(name, picture)
        return _checked(Objects(np.stack(masks), np.array(scores, np.float32)), picture, path)

    return objects


def _panoptic(path: Path) -> MaskSource:
    content = _read_json(path, ("annotations",))
    things = {
        category["id"] for category in content.get("categories", ()) if category.get("isthing", 1)
    }
    folder = path.with_suffix("")
    if not folder.is_dir():
        folder = path.parent / "panoptic_examples"
    if not folder.is_dir():
        raise UserError(f"the label pictures of {path} are expected in {path.with_suffix('')}")
    annotations = {
        Path(annotation["file_name"]).stem: annotation for annotation in content["annotations"]
    }

    def objects(name: str, picture: np.ndarray) -> Objects:
        stem = _stem(name)
        if stem not in annotations:
            raise UserError(f"{path} does not list {name}")
        annotation = annotations[stem]
        file = below(folder, annotation["file_name"], path)
        if not file.is_file():
            raise UserError(f"{path} names {file}, which does not exist")
        labels = _label_map(_pixels(file))
        masks = [
            labels == segment["id"]
            for segment in annotation["segments_info"]
            if not things or segment["category_id"] in things
        ]
        if not masks:
            return _no_masks(name, picture)
        return _checked(_certain(masks, labels), picture, file)

    return objects


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
        pixels = np.float32(picture) / np.iinfo(picture.dtype).max
        found = network([torch.from_numpy(pixels).permute(2, 0, 1)])[0]
        return Objects((found["masks"][:, 0] > 0.5).numpy(), found["scores"].numpy())

    return objects


def _detect_kind(source: Path) -> str:
    if source.suffix == ".json":
        annotations = _read_json(source, ("annotations",))["annotations"]
        if annotations and "segments_info" in annotations[0]:
            return "panoptic"
        return "coco"
    if not source.is_dir():
        raise UserError(f"no masks at {source}")
    if next(source.rglob("*.npz"), None):
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


def _read_json(path: Path, keys: tuple[str, ...]) -> dict:
    with reading(path, "JSON"):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise UserError(f"{path} is no COCO file: it lacks a top level")
    missing = [key for key in keys if key not in content]
    if missing:
        raise UserError(f"{path} is no COCO file: it lacks {', '.join(missing)}")
    return content


def _stem(name: str) -> str:
    return name.rpartition("/")[2]


def _pixels(path: Path) -> np.ndarray:
    """Values as stored: palette indices, labels, or channels."""
    # Pillow; OpenCV gives a palette's colours, not its indices
    from utils.open_picture import damage_as_sentence, open_picture

    with damage_as_sentence(path), open_picture(path) as image:
        return np.asarray(image)


def _checked(objects: Objects, picture: np.ndarray, path: Path) -> Objects:
    if objects.masks.shape[1:] != picture.shape[:2]:
        _, height, width = objects.masks.shape
        raise UserError(
            f"the masks of {path} are {width}x{height}, their picture is "
            f"{picture.shape[1]}x{picture.shape[0]}"
        )
    if len(objects.scores) != len(objects.masks):
        raise UserError(f"{path} has {len(objects.masks)} masks but {len(objects.scores)} scores")
    return objects


def _certain(masks: list[np.ndarray], picture: np.ndarray) -> Objects:
    """Objects of a picture [H,W,...] that all have the score 1."""
    stacked = np.array(masks, bool).reshape(-1, *picture.shape[:2])
    return Objects(stacked, np.ones(len(masks), np.float32))


def _no_masks(name: str, picture: np.ndarray) -> Objects:
    return _certain([], picture)
