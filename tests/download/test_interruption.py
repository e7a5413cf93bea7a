"""Calls that are interrupted, killed, or made twice at a time."""

import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.download.packings import leftovers, without_hash
from utils.download import store
from utils.download.store import Options, get
from utils.download.table import Licence, entries

ROOT = Path(__file__).resolve().parents[2]


def started(server, folder: Path, *words: str) -> subprocess.Popen:
    """download.py in a process of its own, from the server."""
    command = [sys.executable, "download.py", *words, "--output_dir", str(folder)]
    return subprocess.Popen(
        [*command, "--mirror", server.address], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, size: int) -> None:
    end = time.monotonic() + 30
    while not (path.is_file() and path.stat().st_size > size):
        assert time.monotonic() < end, f"{path} does not grow"
        time.sleep(0.01)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_call_that_ends_early_leaves_nothing_half_and_is_continued(server, tmp_path, sign):
    body = random.Random(1).randbytes(400_000)
    page = server.put("/MIMO-UNet.pkl", body, pause=0.05)
    words = ("MIMO-UNet", "--accept_licence", "none-stated")
    process = started(server, tmp_path, *words)
    part = tmp_path / ".download/MIMO-UNet.pkl/MIMO-UNet.pkl.part"
    wait_for(part, 30_000)
    process.send_signal(sign)
    _, errors = process.communicate(timeout=30)
    assert process.returncode not in (0, 2) and "Traceback" not in errors
    if sign == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted; the same command continues what is unfinished" in errors
    assert [path.name for path in tmp_path.iterdir()] == [".download"]
    page.pause = 0
    assert started(server, tmp_path, *words).wait(30) == 0
    assert (tmp_path / "MIMO-UNet.pkl").read_bytes() == body
    assert leftovers(tmp_path) == ["MIMO-UNet.pkl", "hashes.json"]
    start = int(server.asked[-1][1].removeprefix("bytes=").rstrip("-"))
    assert start > 30_000, "the second call fetches the rest alone"


def test_two_calls_at_a_time_fetch_one_file_once(server, tmp_path):
    body = random.Random(2).randbytes(200_000)
    server.put("/w.pth", body, pause=0.01)
    entry = replace(entries()["MIMO-UNet.pkl"], files=(store.PublishedFile("w.pth", ()),))
    entry = replace(entry, licence=Licence("MIT", "MIT", True))
    options = Options(mirror=server.address)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(get(entry, tmp_path, options)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, True]
    assert len(server.asked) == 1 and (tmp_path / "MIMO-UNet.pkl").read_bytes() == body


def test_a_call_that_dies_while_unpacking_leaves_nothing_half(
    server, zipped, tmp_path, monkeypatch
):
    """Nor does it fetch the archive again."""
    packed = zipped({f"GOPRO_Large/{split}/a/{kind}/1.png": b"1" for split in ("train", "test")
                     for kind in ("blur", "blur_gamma", "sharp")})  # fmt: skip
    server.put("/GOPRO_Large.zip", packed)
    entry = without_hash("GOPRO")
    move = store._move
    placed = []

    def die_at_the_second(source, target):
        placed.append(target)
        if len(placed) == 2:
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr(store, "_move", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        get(entry, tmp_path, Options(mirror=server.address))
    assert (tmp_path / "GOPRO/train/a/sharp/1.png").is_file()
    assert not (tmp_path / "GOPRO/test").exists()
    monkeypatch.setattr(store, "_move", move)
    get(entry, tmp_path, Options(mirror=server.address))
    assert (tmp_path / "GOPRO/test/a/blur_gamma/1.png").is_file() and len(server.asked) == 1
    assert leftovers(tmp_path).count("1.png") == 6 and not (tmp_path / ".download").exists()
