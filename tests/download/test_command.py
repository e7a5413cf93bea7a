"""download.py: its list, its licences, its mistakes, and its report on addresses."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.download.packings import addresses
from utils.download import check, table
from utils.download.table import entries

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_is_instant_and_whole():
    check = (
        "import runpy, sys\nsys.argv = ['download.py']\n"
        "try:\n    runpy.run_path('download.py', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'cv2', 'requests', 'gdown', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [name for name in entries() if f" {name} " not in done.stdout] == []
    assert all(where in done.stdout for _, where, _ in table.not_offered())


def test_what_is_there_is_marked(call, tmp_path):
    (tmp_path / "MIMO-UNet.pkl").write_bytes(b"1")
    (tmp_path / "REDS/val/val_blur").mkdir(parents=True)
    (tmp_path / "REDS/val/val_sharp").mkdir(parents=True)
    lines = call("--output_dir", tmp_path)[1].splitlines()
    starred = [line.split()[1] for line in lines if line.startswith("  *")]
    assert starred == ["MIMO-UNet.pkl", "REDS/val", "REDS/val/val_blur", "REDS/val/val_sharp"]


def test_dry_run_says_what_from_where_how_large_which_licence(call, server, tmp_path):
    code, said, _ = call("motion_deblurring", "RB2V", "--dry_run", "--output_dir", tmp_path)
    assert code == 0 and server.asked == [] and list(tmp_path.iterdir()) == []
    assert "motion_deblurring.pth from https://github.com/swz30/Restormer/releases" in said
    assert "105 MB" in said and "research or education only" in said and "RB2Vac" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["NAFNet-GoPro-width46"], "did you mean NAFNet-GoPro-width64"),
        (["IRP"], "IRP.pth was never published as far as known; its authors' page: https://"),
        (["GOPRO", "--mirror", "moon", "--dry_run"], "--mirror moon: one of github-release"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate (python download.py --help)"),
        (["MIMO-UNet"], "without consent to the licence: add --accept_licence none-stated"),
    ],
)
def test_mistakes_are_one_sentence(call, server, tmp_path, words, said):
    code, _, errors = call(*words, "--output_dir", tmp_path)
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    assert said in errors and server.asked == []


def test_licences_are_shown_and_accepted_by_name_or_on_a_terminal(
    call, server, tmp_path, monkeypatch
):
    for address in addresses("MIMO-UNet.pkl"):
        server.put(f"https://drive.google.com/uc?export=download&id={address.at[7:]}", b"w")
    code, said, _ = call(
        "MIMO-UNet", "--output_dir", tmp_path / "a", "--accept_licence", "none-stated"
    )
    assert code == 0 and "licence of MIMO-UNet.pkl: no licence is stated" in said
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    assert call("MIMO-UNet", "--output_dir", tmp_path / "b")[0] == 0
    monkeypatch.setattr("builtins.input", lambda question: "")
    assert call("MIMO-UNet", "--output_dir", tmp_path / "c")[0] == 2
    assert not (tmp_path / "c").exists()


def test_one_failure_does_not_end_the_others(call, server, tmp_path):
    server.put("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", status=404)
    server.put(addresses("NAFNet-GoPro-width32.pth")[1].at, b"other weights than known")
    code, said, errors = call(
        "alexnet-owt-7be5be79", "NAFNet-GoPro-width32", "--output_dir", tmp_path
    )
    assert code == 2 and "1 of 2 downloads failed" in errors and "answers 404 Not Found" in errors
    assert "NAFNet-GoPro-width32.pth" in said and "first seen on" in said
    assert (tmp_path / "NAFNet-GoPro-width32.pth").is_file()


def test_all_weights_are_all_that_were_published(call, tmp_path):
    said = call("--all_weights", "--dry_run", "--output_dir", tmp_path)[1]
    published = [e.name for e in entries().values() if e.kind == "weights" and e.files]
    assert [name for name in published if f"\n{name}: " not in f"\n{said}"] == []
    assert "IRP.pth" not in said and "GOPRO: " not in said


def test_check_asks_every_address_and_writes_a_report(call, server, tmp_path):
    best, second = addresses("NAFNet-GoPro-width32.pth")[:2]
    server.put(best.at, b"weights")
    server.put(second.at, b"<html>", kind="text/html")
    code, said, _ = call("--check", "NAFNet-GoPro-width32", "--output_dir", tmp_path)
    assert code == 0 and "1 of 3 addresses answer with a file" in said
    rows = (tmp_path / "download_check.tsv").read_text().splitlines()
    answers = [row.split("\t")[4] for row in rows]
    assert answers == ["answer", "file", "a page", "Google Drive answers 404"]
    server.close()
    code, said, _ = call("--check", "MIMO-UNet", "resnet50-0676ba61", "--output_dir", tmp_path)
    assert code == 1 and "0 of 2 addresses" in said
    assert "\tno connection\t" in (tmp_path / "download_check.tsv").read_text()


def test_no_address_is_left_out_of_the_check(server, tmp_path):
    """Of the whole table, with nobody answering; Baidu's pages need a browser."""
    answered, asked = check.check(entries().values(), tmp_path / "report.tsv")
    offered = [a for e in entries().values() for f in e.files for a in f.addresses]
    assert answered == 0 and asked == sum(a.host != "baidu" for a in offered)
