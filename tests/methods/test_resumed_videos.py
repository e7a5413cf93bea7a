"""A video that was interrupted goes on by the same command, and gives the file of one run."""

import signal
from pathlib import Path

import numpy as np
import pytest

from methods.image_deblur.config import InferenceConfig as PhotoConfig
from methods.image_deblur.inference import main as image_deblur
from methods.video_deblur.config import InferenceConfig as VideoConfig
from methods.video_deblur.inference import main as video_deblur
from tests.test_interruption import started, stopped
from tests.utils.test_video import make_file, sound_packets
from tests.utils.test_video_parts import same
from utils import resumable_writer
from utils.progress import Progress, heard
from utils.video import VideoFile

TIMES = [0, 33, 70, 170, 190, 230, 290, 320, 400, 440, 480, 520, 560]


@pytest.fixture
def clip(tmp_path) -> Path:
    return make_file(tmp_path / "clip.mp4", TIMES, sound=True)


@pytest.fixture(params=["image_deblur", "video_deblur"])
def restore(request, small_network, tmp_path, monkeypatch):
    """A function that restores a video into a folder, and is interrupted after some frames."""
    monkeypatch.setattr(resumable_writer, "PART_FRAMES", 4)
    weights = small_network()

    def run(clip: Path, out: Path, stop: int = 0, **options) -> None:
        options = {"output_dir": out, "report": False, "device": "cpu"} | options
        if request.param == "image_deblur":
            work = lambda: image_deblur(PhotoConfig(clip, **options))  # noqa: E731
        else:
            work = lambda: video_deblur(VideoConfig(clip, weights=weights, **options))  # noqa: E731

        def listen(bar: Progress) -> None:
            if bar.n == stop:
                raise KeyboardInterrupt

        with heard(listen):
            if stop:
                with pytest.raises(KeyboardInterrupt):
                    work()
            else:
                work()

    return run


@pytest.mark.parametrize(
    "options", [{}, {"preview": True, "start": "0.05"}, {"end": "11f", "codec": "ffv1"}]
)
def test_it_goes_on_and_gives_the_same(restore, clip, tmp_path, capsys, options):
    restore(clip, tmp_path / "whole", **options)
    restore(clip, tmp_path / "out", stop=10, **options)
    assert "the same command goes on after 8 of them" in capsys.readouterr().out
    restore(clip, tmp_path / "out", **options)
    said = capsys.readouterr().out
    assert "going on after the 8 frames of an earlier run" in said
    count = len(TIMES) - (2 if options else 0)
    assert f"restored {count - 8} frames in" in said
    (made,) = (tmp_path / "out").glob("clip*")
    same(made, tmp_path / "whole" / made.name)
    assert sound_packets(made) == sound_packets(tmp_path / "whole" / made.name)
    assert len(list(VideoFile(made))) == count


def test_a_changed_option_or_input_starts_anew(restore, clip, tmp_path, capsys):
    restore(clip, tmp_path / "whole", strength=0.5)
    restore(clip, tmp_path / "out", stop=6)
    restore(clip, tmp_path / "out", stop=6, strength=0.5)
    assert "started anew, as the interrupted run had other strength" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    make_file(tmp_path / "other/clip.mp4", TIMES[:9], sound=True)
    restore(tmp_path / "other/clip.mp4", tmp_path / "out", stop=6, strength=0.5)
    assert "started anew, as the interrupted run had other input" in capsys.readouterr().out
    restore(clip, tmp_path / "out", strength=0.5)
    same(tmp_path / "out/clip.mp4", tmp_path / "whole/clip.mp4")


@pytest.mark.parametrize("recurrent", [False, True])
def test_frames_without_ends_and_recurrent_networks(
    small_network, clip, tmp_path, monkeypatch, capsys, recurrent
):
    monkeypatch.setattr(resumable_writer, "PART_FRAMES", 4)
    weights = small_network(recurrent=recurrent)
    options = {"weights": weights, "border": False, "report": False, "device": "cpu"}

    def stop_at_9(bar: Progress) -> None:
        if bar.n == 9:
            raise KeyboardInterrupt

    video_deblur(VideoConfig(clip, output_dir=tmp_path / "whole", **options))
    with pytest.raises(KeyboardInterrupt), heard(stop_at_9):
        video_deblur(VideoConfig(clip, output_dir=tmp_path / "out", **options))
    video_deblur(VideoConfig(clip, output_dir=tmp_path / "out", **options))
    said = capsys.readouterr().out
    assert ("from frame 0 on are computed once more" in said) == recurrent
    same(tmp_path / "out/clip.mp4", tmp_path / "whole/clip.mp4")
    assert len(list(VideoFile(tmp_path / "out/clip.mp4"))) == len(TIMES) - 4


def test_a_video_killed_at_any_time_goes_on(small_network, run_command, tmp_path):
    """In parts of their own length, with a report."""
    clip = make_file(tmp_path / "clip.mp4", [40 * index for index in range(150)], size=(24, 32))
    words = f"--device cpu --data_path {clip} --weights {small_network()} --output_dir"
    command = f"inference.py video_deblur {words}"
    parts = tmp_path / "out/clip.partial.frames"
    begun = lambda: parts.is_file() and parts.stat().st_size > 2000  # noqa: E731
    stopped(started(command, tmp_path / "out"), signal.SIGKILL, begun)
    assert not (tmp_path / "out/clip.mp4").exists()
    assert run_command(command, tmp_path / "out") == (0, "")
    assert run_command(command, tmp_path / "whole") == (0, "")
    same(tmp_path / "out/clip.mp4", tmp_path / "whole/clip.mp4")
    frames = list(VideoFile(tmp_path / "out/clip.mp4"))
    assert len(frames) == 150 and not np.array_equal(frames[0], frames[-1])
    assert not parts.exists()
