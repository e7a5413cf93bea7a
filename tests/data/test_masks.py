import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_rle

from data.synthesis import masks
from data.synthesis.coco import unpacked_counts
from data.synthesis.masks import Objects, find_masks
from utils.errors import UserError

PICTURE = np.zeros((20, 30, 3), np.uint8)


def box(top, bottom, left, right):
    mask = np.zeros((20, 30), bool)
    mask[top:bottom, left:right] = True
    return mask


ONE = box(2, 8, 3, 9)
TWO = box(10, 18, 12, 25)


def test_detectron_results(tmp_path):
    np.savez(
        tmp_path / "GOPR0001_000047.npz",
        pred_masks=np.stack([ONE, TWO]),
        scores=np.float32([0.95, 0.99]),
        pred_classes=[1, 1],
    )
    objects = find_masks(tmp_path)("GOPR0001/000047", PICTURE)
    assert np.array_equal(objects.masks, [ONE, TWO])
    assert objects.scores.tolist() == pytest.approx([0.95, 0.99])
    assert np.array_equal(objects.chosen(min_area=10).masks, [TWO, ONE])  # the best first
    assert len(objects.chosen(min_area=50).masks) == 1
    assert len(objects.chosen(min_area=10, max_objects=1).masks) == 1
    assert len(objects.chosen(min_score=0.97, min_area=10).masks) == 1
    with pytest.raises(UserError, match="no masks for other: looked for other.npz in"):
        find_masks(tmp_path)("other", PICTURE)
    with pytest.raises(UserError, match="are 30x20, their picture is 31x20"):
        find_masks(tmp_path)("GOPR0001_000047", np.zeros((20, 31, 3)))
    np.savez(tmp_path / "bad.npz", masks=ONE)
    with pytest.raises(UserError, match="lacks pred_masks and scores"):
        find_masks(tmp_path)("bad", PICTURE)
    np.savez(tmp_path / "evil.npz", pred_masks=np.array([{}], dtype=object), scores=[1.0])
    with pytest.raises(UserError, match="evil.npz can't be read as masks"):
        find_masks(tmp_path)("evil", PICTURE)


def test_folders_of_masks(tmp_path):
    (tmp_path / "photo").mkdir()
    Image.fromarray(np.uint8(ONE * 255)).save(tmp_path / "photo" / "0.png")
    Image.fromarray(np.uint8(TWO)).save(tmp_path / "photo" / "1.png")
    assert np.array_equal(find_masks(tmp_path)("photo", PICTURE).masks, [ONE, TWO])


def test_label_maps(tmp_path):
    labels = np.uint8(ONE) + 2 * np.uint8(TWO)
    palette = Image.fromarray(labels, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])  # DAVIS
    (tmp_path / "labels").mkdir()
    palette.save(tmp_path / "labels" / "davis.png")
    partition = np.uint8(1 + ONE + 2 * TWO)  # as BSDS500: no background label
    partition[:2] = 9  # sky, at three sides
    Image.fromarray(partition).save(tmp_path / "labels" / "bsds.png")
    source = find_masks(tmp_path / "labels")
    assert np.array_equal(source("davis", PICTURE).masks, [ONE, TWO])
    assert np.array_equal(source("bsds", PICTURE).masks, [ONE, TWO])
    (tmp_path / "labels" / "text.png").write_text("no picture")
    with pytest.raises(UserError, match="text.png is not an image this program can read"):
        source("text", PICTURE)


def test_label_maps_per_frame(tmp_path):
    (tmp_path / "video").mkdir()
    for frame in range(10):
        labels = np.uint8(np.roll(ONE, frame, 1))
        Image.fromarray(labels).save(tmp_path / "video" / f"{frame:05d}.png")
    assert np.array_equal(find_masks(tmp_path)("video/00003", PICTURE).masks, [np.roll(ONE, 3, 1)])


def test_coco_instances(tmp_path):
    from pycocotools import mask as rle

    polygon = [12, 10, 25, 10, 25, 18, 12, 18]
    packed = rle.encode(np.asfortranarray(np.uint8(ONE)))
    content = {
        "images": [
            {"id": 7, "file_name": "photo.jpg", "height": 20, "width": 30},
            {"id": 8, "file_name": "empty.jpg", "height": 20, "width": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "segmentation": [polygon], "category_id": 1},
            {
                "id": 2,
                "image_id": 7,
                "segmentation": {"size": [20, 30], "counts": packed["counts"].decode()},
                "category_id": 1,
                "score": 0.5,
            },
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    objects = find_masks(path)("train/photo", PICTURE)
    assert np.array_equal(objects.masks[1], ONE) and (objects.masks[0] == TWO).mean() > 0.95
    assert objects.scores.tolist() == [1, 0.5]
    assert len(find_masks(path)("empty", PICTURE).masks) == 0
    with pytest.raises(UserError, match="does not list missing"):
        find_masks(path)("missing", PICTURE)
    content["annotations"][0]["image_id"] = 99
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="annotation 1 belongs to image 99, which is not listed"):
        find_masks(path)
    path.write_text("{")
    with pytest.raises(UserError, match="can't be read as JSON"):
        find_masks(path)


def test_coco_panoptic(tmp_path):
    labels = np.zeros((20, 30, 3), np.uint8)
    labels[ONE] = (5, 1, 0)
    labels[TWO] = (7, 0, 2)
    labels[:1] = (9, 9, 9)
    (tmp_path / "panoptic").mkdir()
    Image.fromarray(labels).save(tmp_path / "panoptic" / "photo.png")
    content = {
        "categories": [{"id": 1, "isthing": 1}, {"id": 2, "isthing": 0}],
        "annotations": [
            {
                "file_name": "photo.png",
                "segments_info": [
                    {"id": 5 + 256, "category_id": 1},
                    {"id": 7 + 2 * 65536, "category_id": 1},
                    {"id": 9 + 9 * 256 + 9 * 65536, "category_id": 2},
                ],
            },
            {"file_name": "gone.png", "segments_info": []},
        ],
    }
    (tmp_path / "panoptic.json").write_text(json.dumps(content))
    source = find_masks(tmp_path / "panoptic.json")
    assert np.array_equal(source("photo", PICTURE).masks, [ONE, TWO])
    with pytest.raises(UserError, match="names .*gone.png, which does not exist"):
        source("gone", PICTURE)


def test_no_masks_are_no_objects(tmp_path):
    assert find_masks(None)("any", PICTURE).masks.shape == (0, 20, 30)
    assert Objects(np.zeros((0, 20, 30), bool), np.zeros(0)).chosen().masks.shape == (0, 20, 30)
    with pytest.raises(UserError, match="no masks at"):
        find_masks(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no weights of the detector"):
        find_masks(None, "detector", tmp_path / "detector.pth")


SIDES = (24, 32)
ONES = np.ones(9)
SQUARE = [2, 2, 20, 2, 20, 15, 2, 15]


def coco_file(folder: Path, *annotations: object, **image: object) -> Path:
    """An annotation file of one picture `a.png`, whose entry has other values in `image`."""
    images = [{"id": 1, "file_name": "a.png", "height": SIDES[0], "width": SIDES[1], **image}]
    path = folder / "masks.json"
    path.write_text(json.dumps({"images": images, "annotations": list(annotations)}))
    return path


def of_shape(segmentation: object, **more: object) -> dict:
    return {"id": 7, "image_id": 1, "segmentation": segmentation, **more}


def one_mask(path: Path) -> np.ndarray:
    return find_masks(path, "coco")("a", np.zeros((*SIDES, 3), np.uint8)).masks[0]


def random_masks(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    noise = [rng.random(SIDES) < density for density in rng.random(count)]
    blocks = [np.kron(mask[:6, :8], np.ones((4, 4), bool)) for mask in noise]
    return [*noise, *blocks, np.zeros(SIDES, bool), np.ones(SIDES, bool)]


def test_run_length_codes_are_those_of_pycocotools(tmp_path):
    for mask in random_masks(20):
        code = coco_rle.encode(np.asfortranarray(mask))
        code["counts"] = code["counts"].decode()
        assert np.array_equal(one_mask(coco_file(tmp_path, of_shape(code))), mask)
        runs = unpacked_counts(code["counts"], "a")
        assert sum(runs) == mask.size
        plain = of_shape({"counts": runs, "size": list(SIDES)})
        assert np.array_equal(one_mask(coco_file(tmp_path, plain)), mask)


def test_polygons_are_those_of_pycocotools(tmp_path):
    polygons = [SQUARE, [10, 10, 31, 12, 25, 23], [-3, -3, 5, -1, 3, 6]]
    expected = coco_rle.decode(coco_rle.merge(coco_rle.frPyObjects(polygons, *SIDES)))
    assert np.array_equal(one_mask(coco_file(tmp_path, of_shape(polygons))), expected)
    assert expected.sum() > 300


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        ("x", r"annotations\[0\] is 'x', not a mapping"),
        ({"id": 1}, "not a mapping with image_id"),
        (of_shape(None), "annotation 7: segmentation is None"),
        (of_shape([]), "segmentation is a list of 0"),
        (of_shape([[1, 2]]), r"segmentation\[0\] is a list of 2"),
        (of_shape([[1, 2, 3, 4]]), r"segmentation\[0\] is a list of 4"),
        (of_shape([[1, 2, 3, 4, 5, 6, 7]]), "a polygon has pairs"),
        (of_shape([["a", "b"] * 4]), "is 'a', not a number"),
        (of_shape([[float("nan")] * 8]), "is nan, not a number"),
        (of_shape([[0, 0, 10**9, 0, 10**9, 10**9]]), "is 1000000000, not a number"),
        (of_shape([[0, 0, 65, 0, 5, 5]]), "in and around its picture of 32x24"),
        (of_shape([SQUARE], score="high"), "score is 'high'"),
        (of_shape([SQUARE], score=float("nan")), "score is nan"),
        (of_shape({"size": SIDES}), "segmentation is a mapping of 1"),
        (of_shape({"counts": [4 * 10**9] * 2, "size": SIDES}), "stands for 8,000,000,000 pixels"),
        (of_shape({"counts": [-5, 773], "size": SIDES}), "segmentation is a mapping of 2"),
        (of_shape({"counts": [0, 769], "size": SIDES}), "stands for 769 pixels"),
        (of_shape({"counts": [], "size": SIDES}), "stands for 0 pixels"),
        (of_shape({"counts": "o" * 20, "size": SIDES}), "no run-length code"),
        (of_shape({"counts": "X", "size": SIDES}), "cut off"),
        (of_shape({"counts": "\u00e9\u4e00", "size": SIDES}), "no run-length code"),
        (of_shape({"counts": "0" * 10, "size": [2**31 - 1] * 2}), "of the size a list of 2"),
        (of_shape({"counts": [768], "size": 5}), "of the size 5"),
    ],
)
def test_an_annotation_that_coco_does_not_define(tmp_path, annotation, sentence):
    with pytest.raises(UserError, match=rf"masks\.json: .*{sentence}"):
        one_mask(coco_file(tmp_path, annotation))


@pytest.mark.parametrize("side", [0, -5, 2.5, "a", None, 10**6, 2**70])
def test_a_picture_of_no_size(tmp_path, side):
    with pytest.raises(UserError, match=r"masks\.json.*(images\[0\].height|digits)"):
        one_mask(coco_file(tmp_path, of_shape([SQUARE]), height=side))


def test_a_large_picture_is_not_made(tmp_path):
    path = coco_file(tmp_path, of_shape({"counts": [9] * 9}), height=60_000, width=60_000)
    with pytest.raises(UserError, match="are 60000x60000, their picture is 32x24"):
        one_mask(path)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"pred_masks": np.ones(SIDES), "scores": np.ones(1)}, "masks of shape"),
        ({"pred_masks": np.array(5), "scores": np.ones(1)}, "masks of shape"),
        ({"pred_masks": np.ones((1, *SIDES)), "scores": np.ones((1, 3))}, "scores of shape"),
        ({"pred_masks": np.ones((1, *SIDES)), "scores": np.array(["x"])}, "can't be read as masks"),
        ({"pred_masks": np.ones((1, 9, 9)), "scores": np.ones(1)}, "are 9x9"),
    ],
)
def test_arrays_of_another_shape(tmp_path, arrays, sentence):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=rf"a\.npz.*{sentence}"):
        find_masks(tmp_path, "npz")("a", np.zeros((*SIDES, 3), np.uint8))


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", pred_masks=np.zeros((9, *SIDES), bool), scores=ONES)
    assert find_masks(tmp_path, "npz")("a", np.zeros((*SIDES, 3), np.uint8)).masks.shape[0] == 9
    monkeypatch.setattr(masks, "MAX_BYTES", 5000)
    with pytest.raises(UserError, match=r"a\.npz unpacks to 7,\d+ bytes: at most 5,000"):
        find_masks(tmp_path, "npz")("a", np.zeros((*SIDES, 3), np.uint8))


def test_labels_with_transparency_are_their_grey_values(tmp_path):
    labels = np.zeros((*SIDES, 2), np.uint8)
    labels[4:9, 5:20, 0] = 3
    labels[..., 1] = 255
    Image.fromarray(labels, "LA").save(tmp_path / "a.png")
    found = find_masks(tmp_path, "labels")("a", np.zeros((*SIDES, 3), np.uint8))
    assert np.array_equal(found.masks, labels[None, ..., 0] == 3)


def test_a_photo_is_no_label_map(tmp_path):
    photo = np.random.default_rng(1).integers(0, 256, (400, 500, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="masks of 500x400: .*a photo in place of labels"):
        find_masks(tmp_path, "labels")("a", photo)
