"""Every published packing: download, unpack, and the catalogue pairs the pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.catalog import find_videos
from data.photo_catalog import find_pairs
from data.sequences import find_sequences
from models import find
from tests.commands import largest_file
from tests.download.packings import PACKINGS, leftovers, png, without_hash
from utils.download.record import read_record
from utils.download.store import Options, get
from utils.download.table import entries
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fetched(server, zipped, tmp_path):
    """A function that packs files as an entry's archive, downloads it, and returns the folder."""

    def run(name: str, files: dict[str, bytes], pack=None) -> Path:
        entry = without_hash(name)
        server.put(f"/{entry.files[0].name}", (pack or zipped)(files))
        get(entry, tmp_path / "dataset", Options(mirror=server.address))
        return tmp_path / "dataset"

    return run


@pytest.mark.parametrize(
    ("name", "folder", "layout", "kinds"),
    [
        ("GOPRO", "GOPRO/test", "gopro", ["blur", "blur_gamma"]),
        ("GOPRO", "GOPRO/train", "gopro", ["blur", "blur_gamma"]),
        ("GOPRO/test", "GOPRO/test", "gopro", ["blur"]),
        ("GOPRO/train", "GOPRO/train", "gopro", ["blur"]),
        ("DVD", "DVD/test", "clips", [None]),
        ("DVD", "DVD/train", "clips", [None]),
        ("HIDE", "HIDE/test", None, [None]),
        ("RealBlur-J", "RealBlur-J", None, [None]),
    ],
)
def test_published_archives_become_pairs(fetched, name, folder, layout, kinds):
    root = fetched(name, PACKINGS[name]) / folder
    count = 2 if name == "DVD" else 4
    for kind in kinds:
        assert len(find_pairs(root, kind, need_sharp=True).pictures) == count
        if layout:
            found = find_videos(root, gopro_blur=kind or "blur", need_sharp=True)
            assert found.layout == layout and sum(len(v.sharp) for v in found.videos) == count
    if "blur_gamma" not in kinds and layout == "gopro":
        with pytest.raises(UserError, match="choose one with --blur_folder"):
            find_pairs(root, "blur_gamma", need_sharp=True)


def test_the_archives_of_reds_lie_side_by_side(fetched):
    for part in ("REDS/val/val_blur", "REDS/val/val_sharp", "REDS/val/val_blur_jpeg"):
        root = fetched(part, PACKINGS[part])
    for blur in ("blur", "blur_jpeg"):
        assert len(find_pairs(root / "REDS/val", blur, need_sharp=True).pictures) == 4
    assert find_videos(root / "REDS/val", need_sharp=True).layout == "reds"


def test_realblur_is_read_by_its_list_and_as_a_folder(fetched, tarred):
    files = {}
    lines = {"J": [], "R": []}
    for kind in "JR":
        folder = f"RealBlur-{kind}_ECC_IMCORR_centroid_itensity_ref/scene001"
        for number in (1, 2):
            pair = [f"{folder}/gt/gt_{number}.png", f"{folder}/blur/blur_{number}.png"]
            files |= {f"RealBlur/{path}": png(number) for path in pair}
            lines[kind].append(" ".join(pair))
        files[f"RealBlur/RealBlur_{kind}_test_list.txt"] = "\n".join(lines[kind]).encode()
    root = fetched("RealBlur", files, tarred)
    for kind in "JR":
        listed = root / f"RealBlur/RealBlur_{kind}_test_list.txt"
        assert len(find_pairs(listed, need_sharp=True).pictures) == 2
    assert len(find_pairs(root / "RealBlur", need_sharp=True).pictures) == 4


def test_koehlers_five_archives_become_pairs_with_trajectories(server, zipped, tmp_path):
    entry = without_hash("Kohler")
    for file in entry.files:
        number = file.name[-5]
        files = {f"Image{number}/Kernel{k}/GroundTruth{number}_{k}_{frame}.png": png(frame)
                 for k in (1, 12) for frame in range(1, 4)}  # fmt: skip
        if file.name == "BlurryImages.zip":
            files = {f"Blurry{n}_{k}.png": png(k) for n in range(1, 5) for k in (1, 12)}
        server.put(f"/{file.name}", zipped(files))
    get(entry, tmp_path, Options(mirror=server.address))
    pictures = find_pairs(tmp_path / "Kohler", need_sharp=True).pictures
    assert sorted(picture.name for picture in pictures)[:3] == ["1_1", "1_12", "2_1"]
    assert len(pictures) == 8 and all(len(list(p.sharp.iterdir())) == 3 for p in pictures)


def sequence_files(name: str, frames: int = 7) -> dict[str, bytes]:
    files = {f"{name}/00000/blur/0000.png": png(0)}
    files |= {f"{name}/00000/sharp/0000_{n}.png": png(n) for n in range(1, frames + 1)}
    row = {"id": "00000/0000", "order": "ignore", "partition": "test"}
    row |= {"blur_path": "00000/blur/0000.png"}
    row |= {f"frame{n:03d}_path": f"00000/sharp/0000_{n}.png" for n in range(1, 8)}
    content = {"name": name, "frame_per_seq": 7, "data": [row]}
    return files | {f"{name}/metadata.json": json.dumps(content).encode()}


def test_the_three_parts_of_rb2v_become_three_data_sets(call, server, zipped, tmp_path):
    packed = zipped({f"RB2V/{path}": body for name in ("Street", "Face", "Hand")
                     for path, body in sequence_files(name).items()})  # fmt: skip
    third = len(packed) // 3
    for number, part in enumerate(("RB2Vaa", "RB2Vab", "RB2Vac")):
        end = None if number == 2 else third * (number + 1)
        server.put(_parts("RB2V")[part], packed[third * number : end])
    code, said, _ = call("RB2V", "--accept_licence", "RB2V", "--output_dir", tmp_path)
    assert code == 0 and "first seen on" in said
    for name in ("RB2V_Street", "RB2V_Face", "RB2V_Hand"):
        assert len(find_sequences(tmp_path / name).of("test")) == 1
    assert leftovers(tmp_path).count("0000.png") == 3 and not (tmp_path / ".download").exists()
    assert list(read_record(tmp_path)) == ["RB2V/RB2Vaa", "RB2V/RB2Vab", "RB2V/RB2Vac"]


def _parts(name: str) -> dict[str, str]:
    return {file.name: file.addresses[0].at for file in entries()[name].files}


def test_reds_hypercut_is_made_of_the_originals(call, server, zipped, tmp_path):
    """The blurry picture is the mean of seven originals, rounded; the next begins at the eighth."""
    for number, name in enumerate(("val_orig_part0.zip", "val_orig_part1.zip")):
        files = {f"val/val_orig/{number:03}/{frame:08}.png": png(frame) for frame in range(16)}
        server.put(_parts("REDS_120fps/val")[name], zipped(files))
    code, said, errors = call("REDS_HyperCUT/val", "--output_dir", tmp_path)
    assert code == 0 and "4 sequences" in said, errors
    found = find_sequences(tmp_path / "REDS_HyperCUT")
    sequences = found.of("val")
    assert [sequence.id for sequence in sequences][:2] == ["val_000_0000", "val_000_0001"]
    frames = [cv2.imread(str(path)).astype(float) for path in sequences[1].frames]
    expected = [cv2.imdecode(np.frombuffer(png(n), np.uint8), 1) for n in range(7, 14)]
    assert np.array_equal(frames, expected)
    blurry = cv2.imread(str(sequences[1].blurry))
    assert np.array_equal(blurry, np.floor(np.mean(expected, 0) + 0.5))
    asked = len(server.asked)
    assert "is there" in call("REDS_HyperCUT/val", "--output_dir", tmp_path)[1]
    assert len(server.asked) == asked


def test_archives_are_kept_on_request_and_those_of_the_user_are_used(server, zipped, tmp_path):
    server.put("/test.zip", zipped(PACKINGS["HIDE"]))
    get(entries()["HIDE"], tmp_path / "a", Options(mirror=server.address, keep_archives=True))
    kept = tmp_path / "a/archives/HIDE/test.zip"
    assert kept.is_file() and len(find_pairs(tmp_path / "a/HIDE").pictures) == 4
    target = tmp_path / "b/archives/HIDE/test.zip"
    target.parent.mkdir(parents=True)
    kept.rename(target)
    get(entries()["HIDE"], tmp_path / "b", Options())
    assert len(server.asked) == 1 and target.is_file()
    assert len(find_pairs(tmp_path / "b/HIDE").pictures) == 4


def test_another_packing_than_expected_is_a_sentence(fetched, zipped, tmp_path):
    with pytest.raises(UserError, match=r"test\.zip is packed otherwise than expected.*a/b\.txt"):
        fetched("GOPRO/test", {"a/b.txt": b"1"})
    assert (tmp_path / "dataset/test.zip.unexpected").is_file()
    assert not (tmp_path / "dataset/GOPRO").exists()
    with pytest.raises(UserError, match=r"'\.\./out\.png', which leads out.*\.unexpected"):
        fetched("GOPRO/test", {"../out.png": b"1"})
    assert not (tmp_path / "dataset/out.png").exists() and not (tmp_path / "out.png").exists()


def test_a_disk_that_is_full_while_unpacking_keeps_the_archive_alone(server, zipped, tmp_path):
    server.put("/test.zip", zipped({"input/a.png": bytes(300_000), "target/a.png": b"1"}))
    options = Options(mirror=server.address)
    with largest_file(200_000), pytest.raises(OSError):
        get(without_hash("HIDE"), tmp_path, options)
    assert leftovers(tmp_path) == ["lock", "test.zip", "test.zip.hash.json", "test.zip.part.json"]
    get(without_hash("HIDE"), tmp_path, options)
    assert len(server.asked) == 1 and len(find_pairs(tmp_path / "HIDE/test").pictures) == 1


def test_what_the_user_has_stays(fetched, tmp_path, capsys):
    own = tmp_path / "dataset/GOPRO/test/mine.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    fetched("GOPRO", PACKINGS["GOPRO"])
    assert own.read_text() == "mine" and (tmp_path / "dataset/GOPRO/train/a_1/blur").is_dir()
    assert "was there and is kept" in capsys.readouterr().err


def test_weights_are_taken_out_of_their_archives(server, zipped, tmp_path):
    """Of DeepDeblur's epochs the last; SRN's two folders of one archive; a bare file as it is."""
    models = {f"GOPRO_L1/models/model-{epoch}.pt": b"%d" % epoch for epoch in (9, 100)}
    server.put("/GOPRO_L1.zip", zipped(models | {"GOPRO_L1/args.pt": b"no"}))
    options = Options(mirror=server.address)
    get(without_hash("deep_deblur_gopro.pt"), tmp_path, options)
    assert (tmp_path / "deep_deblur_gopro.pt").read_bytes() == b"100"
    get(without_hash("SBDD_DeepDeblur_GoPro"), tmp_path, options)
    assert find(tmp_path / "SBDD_DeepDeblur_GoPro").read_bytes() == b"100"
    golden = ROOT / "tests/golden"
    parts = {path.name.replace("srn_tiny.", "deblur."): path.read_bytes()
             for path in golden.glob("srn_tiny.model*")}  # fmt: skip
    server.put("/srndeblur_models.zip", zipped({f"{k}/{n}": b for k in ("color", "lstm", "gray")
                                                for n, b in parts.items()}))  # fmt: skip
    for name in ("srn_color", "srn_lstm"):
        get(without_hash(name), tmp_path, options)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted(parts)
    server.put("/GoPro_color.zip", zipped({f"GoPro_color/{n}": b for n, b in parts.items()}))
    get(without_hash("SBDD_SRN_GoPro"), tmp_path, options)
    assert sorted(path.name for path in (tmp_path / "SBDD_SRN_GoPro").iterdir()) == sorted(parts)
    torch.save({"a": torch.zeros(1)}, tmp_path / "bare")
    server.put("/Restormer-RSBlur.pth", (tmp_path / "bare").read_bytes())
    get(without_hash("Restormer-RSBlur.pth"), tmp_path, options)
    assert torch.load(tmp_path / "Restormer-RSBlur.pth", weights_only=True)["a"] == 0


def test_several_weights_in_one_archive_are_listed(server, zipped, tmp_path, capsys):
    files = {f"NAFNet_SBDD_models/{name}/net.pth": b"1" for name in ("gamma", "linear")}
    server.put("/NAFNet_SBDD_models.zip", zipped(files))
    entry = without_hash("SBDD_NAFNet.pth")
    get(entry, tmp_path, Options(mirror=server.address))
    said = capsys.readouterr().out
    assert "name one of them as --weights: gamma/net.pth, linear/net.pth" in said
    assert (tmp_path / "SBDD_NAFNet/gamma/net.pth").is_file()
    assert get(entry, tmp_path, Options(mirror=server.address)) is False
