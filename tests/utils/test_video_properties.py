"""What a video file says of itself is what its copy says, and what players show."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.utils.test_scenes import texture
from utils.errors import UserError
from utils.video import VideoFile
from utils.video_encoding import Encoding
from utils.video_writer import VideoWriter

COLOURS = [(235, 20, 20), (20, 235, 20), (20, 20, 235), (255, 255, 255), (128, 128, 128), (0, 0, 0)]
HLG = 18
PQ = 16


def chart() -> np.ndarray:
    """Six flat patches [64,96,3] uint8."""
    return np.repeat(np.repeat(np.uint8(COLOURS).reshape(2, 3, 3), 32, 0), 32, 1)


def patches(pixels: np.ndarray) -> np.ndarray:
    """Means [6,3] of the inner parts of the chart's patches."""
    return pixels.reshape(2, 32, 3, 32, 3)[:, 8:24, :, 8:24].mean((1, 3)).reshape(6, 3)


def pattern(size: tuple[int, int] = (64, 96), seed: int = 0) -> np.ndarray:
    """A texture, so that no turned or mirrored picture equals another."""
    return texture(seed, size)


def with_first_field(frame: av.VideoFrame, field: str) -> av.VideoFrame:
    """A frame that says it is interlaced, top (tff) or bottom field (bff) first."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    graph.link_nodes(source, graph.add("setfield", field), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def encode(container, stream, frames, timestamps=None, first_field="") -> None:
    """Frames [H,W,3] at timestamps in units of 1/25 s."""
    for index, pixels in enumerate(frames):
        kind = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), kind)
        matrix = int(stream.codec_context.colorspace)
        space = "BT2020" if matrix == 9 else "ITU709"
        frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=space)
        if first_field:
            frame = with_first_field(frame, first_field)
        frame.pts = timestamps[index] if timestamps else index
        frame.time_base = Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def make(
    path: Path,
    frames,
    codec="libx264",
    pix_fmt="yuv444p",
    options=None,
    colours=(1, 1, 1),
    **settings,
) -> Path:
    """A video file of frames; settings: of the stream's codec context."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = {"crf": "2"} if options is None else options
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = colours
        first_field = settings.pop("first_field", "")
        matrix = settings.pop("matrix", None)
        if matrix:
            stream.set_display_matrix(matrix)
        for name, value in settings.items():
            setattr(context, name, value)
        encode(container, stream, frames, first_field=first_field)
    return path


def copied(path: Path, **options) -> VideoFile:
    source = VideoFile(path)
    target = path.with_name(f"copy_of_{path.stem}.mkv" if options else f"copy_of_{path.stem}.mp4")
    with VideoWriter(target, source, **options) as writer:
        for timestamp, duration, pixels in source.timed():
            writer.write(pixels, timestamp, duration)
    return VideoFile(target)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def streams_of(path: Path) -> list[tuple]:
    with av.open(str(path)) as container:
        return [
            (stream.type, stream.language)
            for stream in container.streams
            if stream.type != "data"  # MP4 keeps chapters as such a track, too
        ]


def hlg(linear: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100's HLG of scene light in [0,1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    logarithm = a * np.log(np.maximum(12 * linear - b, 1e-9)) + c
    return np.where(linear <= 1 / 12, np.sqrt(3 * linear), logarithm)


def pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084's signal of light in cd/m2."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hdr_chart(transfer: int) -> np.ndarray:
    """The chart in BT.2020 with white at 75 % of HLG or 203 cd/m2 of PQ, uint16."""
    signal = chart() / 255
    linear = np.where(signal < 0.081, signal / 4.5, ((signal + 0.099) / 1.099) ** (1 / 0.45))
    to_bt2020 = np.array(  # ITU-R BT.2087
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    light = linear @ to_bt2020.T
    encoded = hlg(light * 0.26496256) if transfer == HLG else pq(light * 203)
    return np.uint16(np.round(encoded * 65535))


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_hdr_stays_hdr(tmp_path, transfer):
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    options = {"crf": "2", "x265-params": f"log-level=error:{light}:max-cll=1000,400"}
    frames = [hdr_chart(transfer)] * 4  # x265 spoils the times of fewer
    colours = (9, transfer, 9)
    made = make(tmp_path / "a.mp4", frames, "libx265", "yuv444p10le", options, colours)
    copy = copied(made)
    assert copy.properties.colours == VideoFile(made).properties.colours
    assert copy.properties.light == f"{light}:max-cll=1000,400"
    with av.open(str(copy.path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("hevc", "yuv420p10le")
        assert (context.color_primaries, context.color_trc, context.colorspace) == colours
    pixels = next(iter(copy))
    assert pixels.dtype == np.uint16
    assert np.abs(patches(pixels) - patches(frames[0])).max() < 65535 * 0.004
    lossless = copied(made, encoding=Encoding(lossless=True))
    assert np.array_equal(next(iter(lossless)), next(iter(VideoFile(made))))
    assert lossless.properties.colours.transfer == transfer


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_hdr_is_converted_for_programs_that_know_nothing_of_it(tmp_path, transfer, capsys):
    options = {"crf": "2", "x265-params": "log-level=error"}
    colours = (9, transfer, 9)
    frames = [hdr_chart(transfer)] * 4  # x265 spoils the times of fewer
    made = make(tmp_path / "a.mp4", frames, "libx265", "yuv444p10le", options, colours)
    source = VideoFile(made, as_bt709=True)
    for pixels in source:
        assert pixels.dtype == np.uint8
        assert np.abs(patches(pixels) - patches(chart())).max() < 4
    assert capsys.readouterr().out.count("converted to BT.709") == 1


@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_deep_videos_are_written(tmp_path, count):
    for index in range(5):  # what x265 does wrong, it does in some of ten runs
        path = tmp_path / f"{index}.mp4"
        options = {"crf": "0", "preset": "fast"}
        made = make(path, [hdr_chart(PQ)] * count, pix_fmt="yuv420p10le", options=options)
        assert [frame.timestamp * VideoFile(made).time_base for frame in copied(made).timed()] == [
            Fraction(index, 25) for index in range(count)
        ]


def test_tags_of_common_colours_stay(tmp_path):
    """BT.601 in its three tags, and P3 with the transfer of sRGB."""
    for colours in ((6, 6, 6), (12, 13, 1)):
        made = make(tmp_path / "a.mp4", [chart()] * 2, colours=colours)
        assert VideoFile(made).properties.colours == copied(made).properties.colours
        with av.open(str(tmp_path / "copy_of_a.mp4")) as container:
            context = container.streams.video[0].codec_context
            assert (context.color_primaries, context.color_trc, context.colorspace) == colours


def test_ten_bits_stay_ten_bits(tmp_path):
    ramp = np.linspace(0, 65535, 96).round().astype(np.uint16)
    frame = np.broadcast_to(ramp[None, :, None], (64, 96, 3))
    made = make(tmp_path / "a.mp4", [frame] * 2, pix_fmt="yuv444p10le", options={"crf": "0"})
    copy = copied(made)
    assert copy.properties.deep
    assert np.abs(next(iter(copy)).astype(int) - frame).mean() < 65535 / 1023
    assert next(iter(VideoFile(made, as_bt709=True))).dtype == np.uint8


@pytest.mark.parametrize("first_field", ["tff", "bff"])
def test_interlaced_frames_are_deinterlaced(tmp_path, first_field, capsys):
    scene = pattern((64, 240), 3)
    fields = [scene[:, 4 * time : 4 * time + 96] for time in range(24)]
    truth = fields[::2]
    woven = []
    for first, second in zip(fields[::2], fields[1::2]):
        frame = first.copy()
        line = 1 if first_field == "tff" else 0  # the first one of the second field
        frame[line::2] = second[line::2]
        woven.append(frame)
    options = {"crf": "2", "flags": "+ildct+ilme"}
    made = make(tmp_path / "a.mp4", woven, options=options, first_field=first_field)
    copy = copied(made)
    assert "a.mp4: it is interlaced" in capsys.readouterr().out
    inner = np.s_[4:-4, 4:-4]
    for shown, combed, true in list(zip(copy, woven, truth))[2:-2]:
        assert psnr(shown[inner], true[inner]) > psnr(combed[inner], true[inner]) + 6
    timestamps = [frame.timestamp * copy.time_base for frame in copy.timed()]
    assert timestamps == [Fraction(index, 25) for index in range(12)]
    with av.open(str(copy.path)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


MATRICES = [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)]
MATRICES += [(0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_frames_are_shown_by_the_whole_display_matrix(tmp_path, matrix):
    """A pixel (x, y) goes to (a x + c y, b x + d y): ISO/IEC 14496-12."""
    a, b, c, d = matrix
    numbers = [number << 16 for number in (a, b, 0, c, d, 0, 0, 0)]
    stored = pattern()
    made = make(tmp_path / "a.mp4", [stored] * 2, matrix=[*numbers, 1 << 30])
    y, x = np.mgrid[:64, :96]
    column = a * x + c * y
    row = b * x + d * y
    expected = np.zeros((np.ptp(row) + 1, np.ptp(column) + 1, 3), np.uint8)
    expected[row - row.min(), column - column.min()] = stored
    source = VideoFile(made)
    assert source.size == expected.shape[:2]
    assert psnr(next(iter(source)), expected) > 35
    copy = copied(made)
    assert (copy.properties.turns, copy.properties.mirrored) == (0, False)
    assert psnr(next(iter(copy)), expected) > 30


def test_the_shape_of_pixels_is_kept(tmp_path):
    wide = make(tmp_path / "a.mp4", [pattern()] * 2, sample_aspect_ratio=Fraction(16, 11))
    assert copied(wide).properties.pixel_aspect == Fraction(16, 11)
    quarter_turn = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30]
    turned = make(
        tmp_path / "b.mp4",
        [pattern()] * 2,
        matrix=quarter_turn,
        sample_aspect_ratio=Fraction(16, 11),
    )
    assert copied(turned).properties.pixel_aspect == Fraction(11, 16)


def with_sound(path: Path, offset: float, frames: int = 25) -> Path:
    """A second of MPEG-TS whose clock starts at `offset` s, the sound 80 ms before the picture."""
    with av.open(str(path), "w", options={"output_ts_offset": str(offset)}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = 64, 96
        stream.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for index in range(48 * frames // 25):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
            block.sample_rate = 48000
            block.pts = 1000 * index
            container.mux(sound.encode(block))
        container.mux(sound.encode())
        encode(container, stream, [pattern()] * frames, [2 + index for index in range(frames)])
    return path


def starts(path: Path) -> tuple[float, float]:
    with av.open(str(path)) as container:
        return tuple(float(stream.start_time * stream.time_base) for stream in container.streams)


def test_a_late_clock_starts_at_0_with_sound_and_picture_in_step(tmp_path):
    made = with_sound(tmp_path / "a.mts", 36000)
    picture, sound = starts(made)
    assert picture > 36000
    copied(made)
    new_picture, new_sound = starts(tmp_path / "copy_of_a.mp4")
    assert abs(new_sound) < 0.025 and abs(new_picture - new_sound - (picture - sound)) < 0.002
    with av.open(str(tmp_path / "copy_of_a.mp4")) as container:
        assert 1.0 < container.duration / 1e6 < 1.2


@pytest.mark.parametrize("second", [0, 7200])
def test_a_clock_that_jumps_goes_on(tmp_path, second):
    """Two recordings in one file, as a broadcast's receiver writes them."""
    one = with_sound(tmp_path / "1.mts", 100)
    two = with_sound(tmp_path / "2.mts", second)
    (tmp_path / "a.mts").write_bytes(one.read_bytes() + two.read_bytes())
    source = VideoFile(tmp_path / "a.mts")
    times = np.array([float(frame.timestamp * source.time_base) for frame in source.timed()])
    assert len(times) == 50
    assert np.abs(np.diff(times) - 0.04).max() < 1e-3
    copied(tmp_path / "a.mts")
    with av.open(str(tmp_path / "copy_of_a.mp4")) as container:
        assert 1.9 < container.duration / 1e6 < 2.3


def boxes(data: bytes, start: int, end: int) -> list[bytes]:
    """The boxes of an MP4 file between two positions."""
    found = []
    while start < end:
        (length,) = struct.unpack(">I", data[start : start + 4])
        found.append(data[start : start + length])
        start += length
    return found


def test_the_cover_picture_is_not_the_video(tmp_path):
    made = tmp_path / "a.mp4"
    with av.open(str(made), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 128, 192, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        encode(container, cover, [pattern((128, 192))])
        encode(container, stream, [pattern()] * 5)
    # the description before the tracks, so that the cover is the first stream
    top = boxes(made.read_bytes(), 0, made.stat().st_size)
    inner = boxes(top[-1], 8, len(top[-1]))
    inner.sort(key=lambda box: {b"mvhd": 0, b"udta": 1}.get(box[4:8], 2))
    made.write_bytes(b"".join([*top[:-1], top[-1][:8], *inner]))
    with av.open(str(made)) as container:
        assert container.streams.video[0].disposition & Disposition.attached_pic
    source = VideoFile(made)
    assert (source.count, source.size) == (5, (64, 96))
    copied(made)
    with av.open(str(tmp_path / "copy_of_a.mp4")) as container:
        kinds = [bool(one.disposition & Disposition.attached_pic) for one in container.streams]
        assert kinds == [False, True]


def test_tracks_chapters_and_descriptions_are_copied(tmp_path, capsys):
    made = tmp_path / "a.mp4"
    with av.open(str(made), "w") as container:
        container.metadata.update({"title": "Garden", "creation_time": "2024-05-06T07:08:09Z"})
        time_base = Fraction(1, 1000)
        chapter = {"id": 0, "start": 0, "end": 200, "time_base": time_base}
        container.set_chapters([chapter | {"metadata": {"title": "one"}}])
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        sounds = [container.add_stream("aac", rate=48000, layout="mono") for _ in range(2)]
        text = container.add_mux_stream("mov_text")
        for track, language in zip((*sounds, text), ("deu", "eng", "fra")):
            track.metadata["language"] = language
        container.start_encoding()
        packet = av.Packet((5).to_bytes(2, "big") + b"hello")
        packet.pts = packet.dts = 0
        packet.duration, packet.time_base, packet.stream = 200, time_base, text
        container.mux(packet)
        for sound in sounds:
            block = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), "fltp", "mono")
            block.sample_rate = 48000
            block.pts = 0
            container.mux(sound.encode(block))
            container.mux(sound.encode())
        encode(container, stream, [pattern()] * 5)
    source = VideoFile(made)
    copied(made)
    tracks = [("video", "und"), ("audio", "deu"), ("audio", "eng"), ("subtitle", "fra")]
    assert streams_of(tmp_path / "copy_of_a.mp4") == tracks
    copy = VideoFile(tmp_path / "copy_of_a.mp4")
    assert copy.properties.metadata == source.properties.metadata
    assert copy.properties.metadata["title"] == "Garden"
    assert copy.properties.chapters == source.properties.chapters != []
    assert "note" not in capsys.readouterr().out
    copied(made, encoding=Encoding(lossless=True))
    assert "a.mp4: its subtitles (fra) can't be kept in matroska" in capsys.readouterr().out
    assert streams_of(tmp_path / "copy_of_a.mkv")[1:] == tracks[1:3]


def test_lost_transparency_is_said(tmp_path, capsys):
    frames = [np.dstack((pattern(), np.full((64, 96), 90, np.uint8)))] * 2
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "argb"
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgba").reformat(format="argb")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert psnr(next(iter(copied(tmp_path / "a.mov"))), pattern()) > 30
    assert "a.mov: its transparency (alpha) can't be kept" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", [(0, 0, 0, 0, 0), (0, 1, 2, 3, 4)])
def test_the_last_frame_is_shown_as_long_as_before(tmp_path, seeds):
    """Also where the copy is encoded in another order, as x264 does it with still frames."""
    made = tmp_path / "a.mp4"
    with av.open(str(made), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.options = {"bf": "0"}
        packets = []
        for index, seed in enumerate(seeds):
            frame = av.VideoFrame.from_ndarray(pattern(seed=seed))
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += stream.encode(frame)
        for packet in packets + stream.encode():
            length = 3 if packet.pts * packet.time_base == Fraction(4, 25) else Fraction(1, 25)
            packet.duration = int(length / packet.time_base)
            container.mux(packet)
    *others, last = VideoFile(made).timed()
    time_base = VideoFile(made).time_base
    assert last.duration * time_base == 3 and others[0].duration * time_base == Fraction(1, 25)
    copied(made)
    with av.open(str(tmp_path / "copy_of_a.mp4")) as container:
        assert abs(container.duration / 1e6 - 3.16) < 0.002


def test_a_change_of_size_is_said_with_the_name_of_the_file(tmp_path):
    make(tmp_path / "1.ts", [pattern()] * 5)
    make(tmp_path / "2.ts", [pattern((48, 64))] * 5)
    (tmp_path / "call.mts").write_bytes(b"".join((tmp_path / f"{n}.ts").read_bytes() for n in "12"))
    with pytest.raises(UserError, match=r"call.mts: the size changes from 96x64 to 64x48 at frame"):
        list(VideoFile(tmp_path / "call.mts"))
