import json

import numpy as np
import pytest
from PIL import Image

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
