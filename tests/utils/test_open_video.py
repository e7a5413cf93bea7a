"""The containers and codecs of videos that are read are those of a list, and one file is opened."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from tests.utils.test_video import make_file
from utils import open_video
from utils.errors import UserError
from utils.video import VideoFile

LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nt=0 0\nm=video 9978 RTP/AVP 96\n",
    "dash": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
}


@pytest.fixture
def server():
    """(address of a web server on this machine, the paths that it was asked for)"""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *words: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", asked
    running.shutdown()


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mts", ".avi"])
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_opens_nothing_else(kind, ending, tmp_path, server):
    address, asked = server
    secret = make_file(tmp_path / "secret.mts", [0, 40, 80])
    before = secret.stat().st_atime_ns
    for target in (secret.name, secret, f"file://{secret}", f"{address}/a.mts"):
        path = tmp_path / f"list{ending}"
        path.write_text(LISTS[kind].format(target))
        with pytest.raises(UserError, match=f"list{ending} can't be opened as a video"):
            VideoFile(path)
    assert asked == [] and secret.stat().st_atime_ns == before


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".mts", ".mpg", ".m4v", ".3gp"])
def test_every_container_is_read(ending, tmp_path):
    path = make_file(tmp_path / f"a{ending}", [0, 40, 80, 120])
    assert len(list(VideoFile(path))) == 4


@pytest.mark.parametrize("name", ["a:b.mp4", "http:.mp4", "concat:c|d.mp4", "-.mp4", "%03d.mp4"])
def test_a_name_is_no_address(name, tmp_path, monkeypatch):
    make_file(tmp_path / "a.mp4", [0, 40]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert VideoFile(Path(name)).size == VideoFile(tmp_path / name).size == (48, 64)


def other_file(path: Path, container: str, codec: str, form: str) -> Path:
    with av.open(str(path), "w", format=container) as target:
        stream = target.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, form
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            target.mux(stream.encode(frame.reformat(format=form)))
        target.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("container", "codec", "form"),
    [("gif", "gif", "rgb8"), ("flv", "flv", "yuv420p"), ("nut", "ffv1", "yuv420p")],
)
def test_other_containers_are_refused(container, codec, form, tmp_path):
    path = other_file(tmp_path / "a.mp4", container, codec, form)
    with pytest.raises(UserError, match=r"a\.mp4 can't be opened as a video.*\(mov, matroska"):
        VideoFile(path)


def test_other_codecs_are_refused(tmp_path):
    path = other_file(tmp_path / "a.avi", "avi", "zmbv", "bgr0")
    with pytest.raises(UserError, match=r"a\.avi: video in zmbv isn't read, only h264, hevc"):
        VideoFile(path)


def test_a_codec_that_nobody_knows_is_a_sentence(tmp_path):
    """A stream without a decoder has no size to choose it by either."""
    path = tmp_path / "a.mkv"
    make_file(path, range(4))
    data = path.read_bytes()
    assert data.count(b"V_MPEG4/ISO/AVC") == 1
    path.write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
    with pytest.raises(UserError, match="an unknown codec isn't read"):
        VideoFile(path)


@pytest.mark.parametrize(
    ("limit", "value", "sentence"),
    [
        ("MAX_RATE", 1, "frames per second: at most 1 are read"),
        ("MAX_PIXELS", 48 * 64 - 1, "frames of 64x48 pixels are too large: at most 3,071"),
        ("MAX_FRAMES", 3, "says that it has 4 frames"),
        ("MAX_SECONDS", 0.1, "at most 20,000,000 frames and 0 s"),
    ],
)
def test_limits_hold_before_a_frame_is_decoded(limit, value, sentence, tmp_path, monkeypatch):
    path = make_file(tmp_path / "a.mp4", [0, 40, 80, 120])
    monkeypatch.setattr(open_video, limit, value)
    with pytest.raises(UserError, match=f"a.mp4.*{sentence}"):
        VideoFile(path)


def test_what_is_no_file_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "endless.mp4").symlink_to("/dev/zero")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "itself.mp4").symlink_to("itself.mp4")
    sentences = {
        "pipe": "a device or a pipe", "endless": "a device or a pipe", "folder": "is a folder",
        "itself": "can't be opened", "missing": "no such video",
    }  # fmt: skip
    for name, sentence in sentences.items():
        with pytest.raises(UserError, match=sentence):
            VideoFile(tmp_path / f"{name}.mp4")
