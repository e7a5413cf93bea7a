"""Objects in COCO's two kinds of annotations: instances, and panoptic label pictures.

Shapes are checked before pycocotools, which is written in C, sees a number; run-length codes are
unpacked here. Format: https://cocodataset.org/#format-data
"""

from pathlib import Path

import numpy as np

from data.synthesis.objects import (
    MaskSource,
    Objects,
    certain,
    check_count,
    check_size,
    checked,
    label_map,
    no_masks,
    stem_of,
    stored_values,
)
from utils.errors import UserError, reading
from utils.files import below
from utils.schema import (
    LARGE_FILE,
    anything,
    either,
    fields,
    items,
    number,
    read_json,
    require,
    shown,
    text,
)

_MAX_SIDE = 65_535
_SIDE = number(1, _MAX_SIDE, whole=True)
_ID = either(number(whole=True), text())
_IMAGE = fields({"id": _ID, "file_name": text(), "height": _SIDE, "width": _SIDE})
_INSTANCES = fields({"images": items(_IMAGE), "annotations": items(fields({"image_id": _ID}))})
_CODE = fields({"counts": either(items(number(0, _MAX_SIDE**2, whole=True)), text(2**24))})
_POLYGONS = items(items(number(-_MAX_SIDE, 2 * _MAX_SIDE), minimum=6), minimum=1)
_OBJECT = fields({"segmentation": either(_CODE, _POLYGONS)}, score=number())
_SEGMENT = fields({"id": number(0, 2**24, whole=True)}, category_id=_ID)
_LABELLED = fields({"file_name": text(), "segments_info": items(_SEGMENT)})
_CATEGORY = fields({"id": _ID}, isthing=number(0, 1))
_PANOPTIC = fields({"annotations": items(_LABELLED)}, categories=items(_CATEGORY))
_FILE = fields({"annotations": items(anything)})


def is_panoptic(path: Path) -> bool:
    """Whether an annotation file is a panoptic one, by its first entry."""
    annotations = read_json(path, _FILE, LARGE_FILE)["annotations"]
    first = annotations[0] if annotations else None
    return isinstance(first, dict) and "segments_info" in first


def coco_masks(path: Path) -> MaskSource:
    """Masks of an instance file, whose polygons and run-length codes are unpacked when asked for.

    Raises UserError, which names the file, for anything that COCO does not define.
    """
    content = read_json(path, _INSTANCES, LARGE_FILE)
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
                f"{path}: annotation {annotation.get('id')!r} belongs to image {image_id!r}, which "
                "is not listed"
            )
        annotations[stems[image_id]].append(annotation)

    def objects(name: str, picture: np.ndarray) -> Objects:
        stem = stem_of(name)
        if stem not in annotations:
            raise UserError(f"{path} does not list {name}")
        own = annotations[stem]
        check_size(sizes[stem], picture, path)
        check_count(len(own), picture, path)
        masks = []
        for annotation in own:
            label = f"{path}: annotation {annotation.get('id')!r}"
            require(_OBJECT, annotation, label)
            masks.append(_mask(annotation["segmentation"], sizes[stem], label))
        if not masks:
            return no_masks(name, picture)
        scores = np.array([annotation.get("score", 1.0) for annotation in own], np.float32)
        return checked(Objects(np.stack(masks), scores), picture, path)

    return objects


def panoptic_masks(path: Path) -> MaskSource:
    """Masks of a panoptic file; its label pictures lie in the folder of its name."""
    content = read_json(path, _PANOPTIC, LARGE_FILE)
    categories = content.get("categories", ())
    things = {category["id"] for category in categories if category.get("isthing", 1)}
    folder = path.with_suffix("")
    if not folder.is_dir():
        folder = path.parent / "panoptic_examples"
    if not folder.is_dir():
        raise UserError(f"the label pictures of {path} are expected in {path.with_suffix('')}")
    annotations = {
        Path(annotation["file_name"]).stem: annotation for annotation in content["annotations"]
    }

    def objects(name: str, picture: np.ndarray) -> Objects:
        stem = stem_of(name)
        if stem not in annotations:
            raise UserError(f"{path} does not list {name}")
        annotation = annotations[stem]
        file = below(folder, annotation["file_name"], path)
        if not file.is_file():
            raise UserError(f"{path} names {file}, which does not exist")
        labels = label_map(stored_values(file))
        segments = [
            segment
            for segment in annotation["segments_info"]
            if not things or segment.get("category_id") in things
        ]
        if not segments:
            return no_masks(name, picture)
        check_count(len(segments), labels, file)
        masks = [labels == segment["id"] for segment in segments]
        return checked(certain(masks, labels), picture, file)

    return objects


def _mask(shape: list | dict, size: tuple[int, int], label: str) -> np.ndarray:
    """A mask [H,W] of polygons or of a run-length code; the label begins the error's sentence."""
    if isinstance(shape, list):
        return _polygon_mask(shape, size, label)
    height, width = size
    stated = shape.get("size", [height, width])
    if stated != [height, width]:
        raise UserError(
            f"{label}: its code is of the size {shown(stated)}, its picture of "
            f"{[height, width]} (height, width)"
        )
    counts = shape["counts"]
    if isinstance(counts, str):
        counts = unpacked_counts(counts, label)
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise UserError(
            f"{label}: its code stands for {sum(counts):,} pixels, its picture has "
            f"{height * width:,}"
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def unpacked_counts(code: str, label: str) -> list[int]:
    """Run lengths of a compressed code, alternately outside and inside, column by column.

    A character holds five bits and whether more follow; from the fourth run on it is the difference
    to the run before the last one (pycocotools: rleFrString).
    """
    counts: list[int] = []
    value = 0
    bits = 0
    for character in code:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or bits > 40:
            raise UserError(f"{label}: its code is no run-length code of COCO")
        value |= (digit & 31) << bits
        bits += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << bits
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = bits = 0
    if bits:
        raise UserError(f"{label}: its code is cut off")
    return counts


def _polygon_mask(polygons: list[list[float]], size: tuple[int, int], label: str) -> np.ndarray:
    """What lies in any of several polygons x, y, x, y, ..."""
    from pycocotools import mask as rle

    side = max(size)
    for polygon in polygons:
        if len(polygon) % 2 or not all(-side <= value <= 2 * side for value in polygon):
            raise UserError(
                f"{label}: a polygon has pairs x, y in and around its picture of "
                f"{size[1]}x{size[0]} px"
            )
    with reading(label, "a polygon"):
        codes = [rle.frPyObjects([polygon], *size)[0] for polygon in polygons]
        return rle.decode(rle.merge(codes)).astype(bool)
