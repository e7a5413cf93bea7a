"""Video files through the inference command: times, sound, interruption, full disk."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from methods.video_deblur import inference
from methods.video_deblur.config import InferenceConfig
from tests.commands import largest_file, sentence
from tests.utils.test_video import make_file, sound_packets
from utils.config import ROOT
from utils.errors import UserError
from utils.image import read_image
from utils.video import VideoFile


@pytest.fixture
def restore(small_network, tmp_path):
    def run(data_path, **options):
        options = {
            "data_path": data_path,
            "weights": small_network(),
            "output_dir": tmp_path / "out",
            "device": "cpu",
        } | options
        return inference.main(InferenceConfig(**options))

    return run


def command(data_path, weights, output_dir):
    words = ["--data_path", data_path, "--weights", weights, "--output_dir", output_dir]
    call = [sys.executable, "inference.py", "cdvd_tsp", "--device", "cpu", *words]
    return subprocess.Popen(call, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_a_clip_with_sound_goes_in_and_comes_out(restore, tmp_path, capsys):
    times = [0, 33, 70, 170, 190, 230, 290, 320]
    path = make_file(tmp_path / "phone.mp4", times, sound=True)
    restore(path)
    again = VideoFile(tmp_path / "out/phone.mp4")
    assert [
        round(float(frame.timestamp * again.time_base) * 1000) for frame in again.timed()
    ] == times  # every frame, its time
    assert sound_packets(tmp_path / "out/phone.mp4") == sound_packets(path)
    assert (tmp_path / "out/report.html").is_file() and (
        tmp_path / "out/contact_sheet.jpg"
    ).is_file()
    assert "8 frames in" in capsys.readouterr().out
    restore(path, skip_existing=True)
    assert "exists, skipped" in capsys.readouterr().out


def test_file_and_folder_of_its_frames_give_the_same(restore, tmp_path):
    from utils.image import write_image

    path = make_file(tmp_path / "a.mp4", [index * 40 for index in range(6)])
    for index, frame in enumerate(VideoFile(path)):
        write_image(tmp_path / "frames" / f"{index}.png", frame)
    restore(path, lossless=True)
    restore(tmp_path / "frames")
    for index, frame in enumerate(VideoFile(tmp_path / "out/a.mkv")):
        assert np.array_equal(frame, read_image(tmp_path / f"out/frames/{index}.png"))


def test_a_folder_of_videos_without_borders(restore, tmp_path):
    (tmp_path / "in").mkdir()
    make_file(tmp_path / "in/a.mp4", [index * 40 for index in range(7)])
    make_file(tmp_path / "in/b.mp4", [0, 40])  # shorter than the cascade: restored whole
    restore(tmp_path / "in", border=False)
    assert [len(list(VideoFile(tmp_path / f"out/{name}.mp4"))) for name in "ab"] == [3, 2]


def test_own_file_is_never_overwritten(restore, tmp_path):
    path = make_file(tmp_path / "a.mp4", [0, 40])
    with pytest.raises(UserError, match="would overwrite"):
        restore(path, output_dir=tmp_path)


def test_ctrl_c_leaves_a_playable_part_and_earlier_results(small_network, tmp_path):
    (tmp_path / "in").mkdir()
    make_file(tmp_path / "in/a.mp4", [0, 40, 80])
    # takes far longer than the test waits
    make_file(tmp_path / "in/b.mp4", [index * 40 for index in range(300)], size=(96, 128))
    parts = tmp_path / "out/b.partial.frames"
    process = command(tmp_path / "in", small_network(width=12), tmp_path / "out")
    deadline = time.monotonic() + 120
    while not parts.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1)  # for some frames
    # Python drops an interrupt that arrives inside a destructor: a user presses the keys again.
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted; what was finished before is kept" in errors and "Traceback" not in errors
    assert len(list(VideoFile(tmp_path / "out/a.mp4"))) == 3
    assert not (tmp_path / "out/b.mp4").exists()
    assert 0 < len(list(VideoFile(tmp_path / "out/b.partial.mp4"))) < 300


def test_no_room_left_is_one_sentence(small_network, run_command, tmp_path):
    path = make_file(tmp_path / "in.mp4", [index * 40 for index in range(12)], size=(120, 160))
    words = ["--data_path", path, "--weights", small_network(), "--output_dir", tmp_path / "out"]
    with largest_file(10_000):
        done = run_command("inference.py cdvd_tsp --device cpu --no_report --lossless", *words)
    sentence(done, "File too large")
    assert not (tmp_path / "out/in.mkv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_is_one_sentence(small_network, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    path = make_file(tmp_path / "in.mp4", [0, 40])
    process = command(path, small_network(), tmp_path / "out")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "Permission denied" in errors and "Traceback" not in errors
