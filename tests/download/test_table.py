"""The table of published things: whole, consistent, and found by forgiving names."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from methods.video_deblur.config import PUBLISHED_WEIGHTS
from tests.download.packings import addresses
from utils.download import table
from utils.download.table import entries, find_entry, how_to_get, named
from utils.errors import UserError
from utils.evaluation.tables import read_tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted((ROOT / "methods").glob("*/tables.yaml"))


def test_every_name_can_be_had_or_says_why_not():
    for entry in entries().values():
        ways = [bool(entry.files), bool(entry.parts), bool(entry.made_from), entry.never_published]
        assert sum(ways) == 1, entry.name
        assert entry.page.startswith("https://") or entry.parts, entry.name
        if entry.files:
            assert entry.licence and all(file.addresses for file in entry.files), entry.name
        for part in (*entry.parts, *entry.made_from):
            assert part in entries(), entry.name
    assert all(what and where and why for what, where, why in table.not_offered())


def test_addresses_are_whole_and_stand_once():
    drive = re.compile(r"gdrive(-folder)?:[\w-]{25,}")
    seen = [row[1] for row in table.not_offered()]
    for entry in entries().values():
        for file in entry.files:
            for address in file.addresses:
                assert drive.fullmatch(address.at) or "://" in address.at, address
                folder = address.host == "gdrive-folder"  # it holds other things too
                assert folder or address.at not in seen, f"{address.at}: is it offered or not?"
            algorithm, _, digest = file.hash.partition(":")
            sizes = {"sha256": (8, 64), "md5": (32,), "": (0,)}
            assert len(digest) in sizes[algorithm], file
            assert bool(file.hash) <= bool(entry.hash_from), file


def test_layouts_lead_to_what_is_given():
    """Every replacement is below something that the entry gives, or is the entry itself."""
    for entry in entries().values():
        if entry.never_published or entry.parts or entry.made_from:
            continue
        assert not (entry.layout and len(entry.files[0].addresses) == 0)
        for pattern, target in entry.layout:
            re.compile(pattern)
            starts = {given.partition("/")[0] for given in entry.gives}
            starts |= {start[:5] for start in starts}
            assert not target or any(target.startswith(start) for start in starts), entry.name
        assert entry.layout or entry.is_single_file, f"{entry.name}: a folder needs a layout"


def test_weights_of_the_tables_and_options_have_names():
    """Published rows, --default_data, PWC-Net, LPIPS, ResNet and the detector."""
    rows = [row for path in TABLES for row in read_tables(path)]
    wanted = {row.weights.name for row in rows if row.weights}
    wanted |= {*PUBLISHED_WEIGHTS.values(), "network-default.pytorch"}
    wanted |= {"alexnet-owt-7be5be79.pth", "resnet50-0676ba61.pth"}
    wanted |= {"maskrcnn_resnet50_fpn_v2_coco.pth", "jin", "net_gopro_deblur_small.pth"}
    reasons = [what.partition(",")[0] for what, _, _ in table.not_offered()]
    assert [name for name in wanted if name not in (*entries(), *reasons)] == []
    for row in rows:
        if row.data_path:
            call = how_to_get(row.data_path, row.download)
            call = call or how_to_get(row.data_path.parent)  # gt/ alone
            assert call.startswith("`python download.py"), row.data_path


def test_the_tables_of_the_readmes_have_names():
    """Or a reason."""
    for folder, kind in (("pretrain_models", "weights"), ("dataset", "data")):
        text = (ROOT / folder / "README.md").read_text()
        text = text[text.find("## The authors' files") :] if kind == "weights" else text
        cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        names = re.findall(r"`([^`]+)`", " ".join(cells))
        paths = [table.FOLDERS[kind] / name.strip("/") for name in names]
        assert paths and [path for path in paths if not how_to_get(path)] == []


def test_torchvisions_addresses_are_torchvisions():
    """As its source has them, which is not imported: that takes seconds."""
    source = Path(find_spec("torchvision").origin).parent / "models"
    files = {
        "alexnet-owt-7be5be79.pth": "alexnet.py",
        "resnet50-0676ba61.pth": "resnet.py",
        "maskrcnn_resnet50_fpn_v2_coco.pth": "detection/mask_rcnn.py",
    }
    for name, file in files.items():
        published = entries()[name].files[0]
        address = published.addresses[0].at
        assert f'"{address}"' in (source / file).read_text()
        assert published.hash == f"sha256:{address[-12:-4]}"


def test_addresses_are_tried_in_the_stated_order():
    order = [table.HOSTS.index(address.host) for address in addresses("NAFNet-GoPro-width64.pth")]
    assert order == sorted(order) and addresses("motion_deblurring.pth")[0].host == "github-release"
    assert [address.host for address in addresses("GOPRO")] == [
        "huggingface", "http", "gdrive", "gdrive",
    ]  # fmt: skip
    assert addresses("jin")[0].host == "dropbox"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("NAFNet-GoPro-width64", "NAFNet-GoPro-width64.pth"),
        ("nafnet-gopro-WIDTH64.pth", "NAFNet-GoPro-width64.pth"),
        ("srn_lstm/", "srn_lstm"),
        ("gopro/test", "GOPRO/test"),
        ("network-default", "network-default.pytorch"),
        ("HyperCUT_B-AIST++", "HyperCUT_B-AIST++.pth"),
    ],
)
def test_names_are_forgiving(asked, found):
    assert named(asked).name == found


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match="nothing is called 'NAFNet-GoPro-width46', did you mean"):
        named("NAFNet-GoPro-width46")
    assert find_entry("nothing like it") is None


@pytest.mark.parametrize(
    ("path", "call"),
    [
        (ROOT / "dataset/GOPRO/test", "`python download.py GOPRO/test` gets it"),
        (ROOT / "dataset/DVD/test", "`python download.py DVD` gets it (about 3.7 GB, licence"),
        (ROOT / "dataset/REDS/val", "`python download.py REDS/val` gets it"),
        (ROOT / "dataset/RB2V_Hand", "`python download.py RB2V` gets it"),
        ("NAFNet-GoPro-width64", "width64.pth` gets it (272 MB, licence MIT)"),
        ("/somewhere/motion_deblurring.pth", "motion_deblurring.pth` gets it (105 MB, licence"),
        ("IRP.pth", "IRP.pth was never published as far as known"),
        (ROOT / "dataset/RSBlur/RSBlur_real_test.txt", "`python download.py RSBlur` gets it"),
        (ROOT / "dataset/CDVD_TSP_restored/DVD", "published at https://drive.google.com/drive/fo"),
        ("srn_realblur_j", "published at https://drive.google.com/file/d/16vjNQthYmjne4OtNc65cQly"),
        (ROOT / "dataset/mine", ""),
        ("mine.pth", ""),
    ],
)
def test_missing_things_say_how_to_get_them(path, call):
    assert call in how_to_get(path) and bool(call) == bool(how_to_get(path))


def test_sizes_are_words():
    assert [table.in_bytes(size) for size in (5, 1500, 68671121, 271778961, 34261573976)] == [
        "5 bytes", "2 KB", "68.7 MB", "272 MB", "34.3 GB",
    ]  # fmt: skip
    assert table.size_of(entries()["REDS"]) == "about 68.3 GB and more"
