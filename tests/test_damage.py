"""What users bring, through every command: damaged, odd and oddly named files become a right result
or one sentence, and nothing is lost.
"""

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from models import build
from tests.commands import contents, pattern, sentence
from tests.utils.test_video import make_file, scene
from utils.checkpoint import save_weights
from utils.image import read_image, write_image
from utils.video import VideoFile

SIZE = (64, 72)  # height, width
TIMES = [0, 33, 70, 170, 190, 230, 290, 320]  # ms, of a phone whose frame rate varies


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def noise(path: Path) -> None:
    write_image(path, np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    cut(path)


def turned(path: Path) -> None:
    picture = Image.fromarray(np.ascontiguousarray(np.rot90(pattern())))  # stored lying on its side
    exif = picture.getexif()
    exif[0x0112] = 6  # turn clockwise to see it
    picture.save(path, exif=exif, quality=95)


def moving(path: Path) -> None:
    frames = [Image.fromarray(pattern(seed=seed)) for seed in range(3)]
    frames[0].save(path, path.suffix[1:].upper(), save_all=True, append_images=frames[1:])


def renamed_gif(path: Path) -> None:
    moving(path.with_suffix(".gif"))
    path.with_suffix(".gif").rename(path)


def early_end(path: Path) -> None:
    """The table of frames stands in front, and the last third of them is missing."""
    make_file(path.with_name("whole.mp4"), [40 * index for index in range(30)], SIZE)
    with (
        av.open(str(path.with_name("whole.mp4"))) as source,
        av.open(str(path), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.with_name("whole.mp4").unlink()
    cut(path, 0.67)


# name -> (writer, what must come out: the upright picture, or a part of the sentence)
PICTURES: dict[str, tuple[Callable[[Path], object], tuple[int, int] | str]] = {
    "empty.png": (lambda path: path.write_bytes(b""), "is not an image this program can read"),
    "text.png": (
        lambda path: path.write_text("no picture\n"),
        "is not an image this program can read",
    ),
    "cut.png": (noise, "can't be read, it may be truncated or corrupt"),
    "cut.jpg": (noise, "can't be read, it may be truncated or corrupt"),
    "moving.png": (renamed_gif, "an animation of 3 pictures"),
    "moving.webp": (moving, "an animation of 3 pictures"),
    "one.png": (lambda path: write_image(path, np.full((1, 1, 3), 99, np.uint8)), (1, 1)),
    "long.png": (lambda path: write_image(path, pattern((3, 20000))), (3, 20000)),
    "low.png": (lambda path: write_image(path, pattern((20, 96))), (20, 96)),
    "deep.png": (lambda path: write_image(path, pattern().astype(np.uint16) * 257), SIZE),
    "cmyk.jpg": (
        lambda path: Image.fromarray(pattern()).convert("CMYK").save(path, quality=95),
        SIZE,
    ),
    "palette.png": (
        lambda path: Image.fromarray(pattern()).quantize(256, dither=Image.Dither.NONE).save(path),
        SIZE,
    ),
    "alpha.png": (
        lambda path: Image.fromarray(np.dstack((pattern(), pattern()[..., :1]))).save(path),
        SIZE,
    ),
    "turned.jpg": (turned, SIZE),
    "with space ü 写真.png": (lambda path: write_image(path, pattern()), SIZE),
    "-o.png": (lambda path: write_image(path, pattern()), SIZE),
}
VIDEOS: dict[str, tuple[Callable[[Path], object], tuple[int, int] | str]] = {
    "empty.mp4": (
        lambda path: path.write_bytes(b""),
        "can't be opened as a video, it may be truncated",
    ),
    "text.mp4": (
        lambda path: path.write_text("no video\n" * 99),
        "can't be opened as a video, it may be truncated",
    ),
    "cut.mp4": (
        lambda path: (make_file(path, TIMES, SIZE), cut(path)),
        "can't be opened as a video, it may be truncated",
    ),
    "early.mp4": (early_end, "it is truncated or damaged"),
    "varying.mp4": (lambda path: make_file(path, TIMES, SIZE), SIZE),
    "portrait.mp4": (lambda path: make_file(path, TIMES, SIZE, rotation=90), SIZE[::-1]),
    "- ü.mp4": (lambda path: make_file(path, TIMES, SIZE), SIZE),
}
UPRIGHT = {
    "varying.mp4": scene(0, SIZE),
    "- ü.mp4": scene(0, SIZE),
    "portrait.mp4": np.rot90(scene(0, SIZE)),
}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A small ordering-free blur-to-video network: the shipped one takes seconds on long
    pictures.
    """
    arguments = {
        "width": 4,
        "flow_channels": [2, 4, 4],
        "sampling": "plain",
        "values": "imagenet_rgb",
    }
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "purohit.safetensors"
    save_weights(path, build("purohit", **arguments), "purohit", arguments, "blur2vid")
    return path


def alike(result: np.ndarray, upright: np.ndarray) -> bool:
    """Whether it is the picture that was given, the same way up, but for a little blur: a small
    error, and a larger one the other ways.
    """
    if min(upright.shape[:2]) < 8:
        return result.shape == upright.shape
    values = result * (255 / np.iinfo(result.dtype).max)
    error = [
        np.abs(values - other).mean()
        for other in (upright, upright[::-1], upright[:, ::-1], upright[::-1, ::-1])
    ]
    return error[0] < 12 and error[0] == min(error)


def restored_picture(out: Path, name: str) -> np.ndarray:
    return read_image(out / f"{Path(name).stem}.png")


def restored_frame(out: Path, name: str) -> np.ndarray:
    return read_image(out / Path(name).stem / f"{Path(name).stem}.png")


def centre_moment(out: Path, name: str) -> np.ndarray:
    assert len(list(out.glob("deblur_?.png"))) == 7
    return read_image(out / "deblur_3.png")


def selected_copy(out: Path, name: str) -> np.ndarray:
    assert (
        read_image(out / "restored" / f"{Path(name).stem}.png").shape
        == read_image(out / "selected" / name).shape
    )
    assert (out / "scores.csv").read_text().splitlines()[1].startswith(f"1,{Path(name).stem},")
    return read_image(out / "selected" / name)


def sharp_half(out: Path, name: str) -> np.ndarray:
    """Of a pair, whose sharp half is the picture without the kernel's margin."""
    sharp = read_image(out / "sharp" / f"{Path(name).stem}_0.png")
    assert read_image(out / "blurry" / f"{Path(name).stem}_0.png").shape == sharp.shape
    return np.pad(sharp, ((10, 10), (10, 10), (0, 0)), "edge")


def sharp_frames(out: Path, name: str) -> np.ndarray:
    """Of a clip, a window that hardly moves: its last frame, put back into the place where it came
    from.
    """
    frames = sorted((out / "gt" / Path(name).stem).iterdir())
    assert len(frames) == 5 and len(list((out / "blur" / Path(name).stem).iterdir())) == 5
    frame, whole = read_image(frames[2]), pattern()
    found = cv2.minMaxLoc(cv2.matchTemplate(whole, frame, cv2.TM_SQDIFF))[2]
    whole[found[1] : found[1] + frame.shape[0], found[0] : found[0] + frame.shape[1]] = frame
    return whole


def stack(out: Path, name: str) -> np.ndarray:
    record = json.loads((out / "records/scene1.json").read_text())
    assert record["source"] == Path(name).stem and len(list((out / "scene1").iterdir())) == 2
    sharp, whole = read_image(out / "sharp/scene1.png"), pattern()
    assert abs(read_image(out / "scene1/1.png").mean() - sharp.mean()) < 25
    found = cv2.minMaxLoc(cv2.matchTemplate(whole, sharp, cv2.TM_SQDIFF))[2]
    whole[found[1] : found[1] + 32, found[0] : found[0] + 32] = sharp
    return whole


IRP_STACKS = (
    "generate.py irp --height 32 --width 32 --kernel_size 21 --blur 2 10 --ratios 1 5 "
    "--restorers denoise --device cpu"
)
CLIPS = "generate.py sbdd --config tiny --what clips --blur 1"
# command -> (command, whether it takes a folder alone, where its result is, smallest side in px
# that it takes)
PICTURE_COMMANDS = {
    "cdvd_tsp": ("inference.py cdvd_tsp --device cpu", False, restored_frame, 1),
    "image_deblur": ("inference.py image_deblur --device cpu", False, restored_picture, 1),
    "blur2vid": ("inference.py blur2vid --device cpu", False, centre_moment, 1),
    "irp select": (
        "inference.py irp --task select --keep 1 --restore --device cpu",
        False,
        selected_copy,
        32,
    ),
    "pairs": ("generate.py sbdd --config tiny --min_img_size 30", True, sharp_half, 30),
    "clips": (CLIPS, True, sharp_frames, 64),
    "stacks": (IRP_STACKS, True, stack, 52),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("method", PICTURE_COMMANDS)
def test_a_picture(method, name, run_command, narrow, tmp_path):
    (command, folder_alone, result, least), (write, expected) = (
        PICTURE_COMMANDS[method],
        PICTURES[name],
    )
    path, out = tmp_path / "in" / name, tmp_path / "out"
    path.parent.mkdir()
    write(path)
    before = path.read_bytes()
    given = [
        path.parent if folder_alone else path,
        "--output_dir",
        out,
        *(["--weights", narrow] if method == "blur2vid" else []),
    ]
    done = run_command(command, "--data_path", *given)
    if isinstance(expected, str):
        sentence(done, name, expected)
    elif min(expected) < least:
        sentence(done, str(path.parent), " px")  # too small: said with the size that is needed
    else:
        assert done == (0, "")
        upright = pattern(expected)
        found = result(out, name)
        assert found.shape == upright.shape and alike(found, upright)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def video_frames(out: Path, name: str) -> list[np.ndarray]:
    video = VideoFile(out / name)
    assert [round(float(time * video.time_base) * 1000) for time, _ in video.timed()] == TIMES
    return list(video)


def judged_frames(out: Path, name: str) -> list[np.ndarray]:
    seconds = sorted(
        float(line.split(",")[4]) for line in (out / "scores.csv").read_text().splitlines()[1:]
    )
    assert seconds == pytest.approx([time / 1000 for time in TIMES], abs=1e-3)
    return [read_image(path) for path in sorted((out / "selected").iterdir())]


def exposed_frames(out: Path, name: str) -> list[np.ndarray]:
    assert [path.stem for path in sorted((out / "gt" / Path(name).stem).iterdir())] == [
        "00002",
        "00005",
    ]
    return [
        read_image(path) - np.uint8(8) for path in sorted((out / "gt" / Path(name).stem).iterdir())
    ][:1]


VIDEO_COMMANDS = {
    "cdvd_tsp": ("inference.py cdvd_tsp --device cpu", video_frames, 8),
    "image_deblur": ("inference.py image_deblur --device cpu", video_frames, 8),
    "irp select": ("inference.py irp --task select --keep 100% --device cpu", judged_frames, 8),
    "clips": (CLIPS, exposed_frames, 1),
}


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("method", VIDEO_COMMANDS)
def test_a_video(method, name, run_command, tmp_path):
    (command, result, count), (write, expected) = VIDEO_COMMANDS[method], VIDEOS[name]
    path, out = tmp_path / "in" / name, tmp_path / "out"
    path.parent.mkdir()
    write(path)
    before = path.read_bytes()
    done = run_command(command, "--data_path", path, "--output_dir", out)
    if isinstance(expected, str):
        sentence(done, name, expected)
        assert not (out / name).exists()  # nothing half under the final name
    else:
        assert done == (0, "")
        frames = result(out, name)
        assert (
            len(frames) == count
            and frames[0].shape[:2] == expected
            and alike(frames[0], UPRIGHT[name])
        )
    assert path.read_bytes() == before


READING = [command for command, *_ in PICTURE_COMMANDS.values()] + [
    "inference.py irp --task expose",
    "test.py irp",
    "test.py hypercut",
]
READING += ["test.py cdvd_tsp", "test.py image_deblur", "test.py blur2vid", "generate.py hypercut"]


@pytest.mark.parametrize("command", READING)
def test_no_folder_and_an_empty_one(command, run_command, tmp_path):
    (tmp_path / "empty").mkdir()
    more = [] if command.startswith("generate.py hypercut") else ["--output_dir", tmp_path / "out"]
    for folder in ("empty", "gone"):
        sentence(
            run_command(command, "--data_path", tmp_path / folder, *more), str(tmp_path / folder)
        )
    assert not {path.name for path in tmp_path.glob("out/*")} - {"config.yaml", ".lock"}


@pytest.mark.parametrize("method", [name for name in PICTURE_COMMANDS if name != "blur2vid"])
def test_damage_on_the_second_run_leaves_the_first_ones_results(method, run_command, tmp_path):
    """All that the first run wrote is there afterwards, byte for byte; only image_deblur's page is
    the second run's.
    """
    command, *_ = PICTURE_COMMANDS[method]
    for seed in range(3):
        write_image(tmp_path / f"in/{seed}.png", pattern(seed=seed))
    words = [command, "--data_path", tmp_path / "in", "--output_dir", tmp_path / "out"]
    assert run_command(*words) == (0, "")
    earlier = contents(tmp_path / "out")
    cut(tmp_path / "in/2.png")
    if method in ("stacks", "clips"):  # what is there is not made again
        assert run_command(*words) == (0, "")
    else:
        sentence(run_command(*words), "2.png", "truncated")
    page = {"report.html", "contact_sheet.png"} if method == "image_deblur" else set()
    assert {
        name: content
        for name, content in contents(tmp_path / "out").items()
        if name in earlier.keys() - page
    } == {name: content for name, content in earlier.items() if name not in page}


def test_a_mistake_does_not_bind_the_next_run(run_command, tmp_path):
    """A run that made nothing leaves no options that the corrected command would have to repeat."""
    write_image(tmp_path / "in/a.png", pattern())
    for command in (PICTURE_COMMANDS["pairs"][0], PICTURE_COMMANDS["stacks"][0]):
        out = tmp_path / command.split()[1]
        sentence(
            run_command(command, "--data_path", tmp_path / "misspelt", "--output_dir", out),
            "misspelt",
        )
        assert run_command(command, "--data_path", tmp_path / "in", "--output_dir", out) == (0, "")
        sentence(
            run_command(command, "--data_path", tmp_path / "in", "--output_dir", out, "--seed", 2),
            "other options (seed)",
        )


@pytest.mark.parametrize("command", [*READING[:7], "inference.py irp --task expose"])
def test_output_that_cannot_be_written(command, run_command, tmp_path):
    """Below a plain file, and where the system itself refuses (root may write into any folder of
    the disk).
    """
    write_image(tmp_path / "in/1.png", pattern())
    write_image(tmp_path / "in/2.png", pattern(seed=1))
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file/out", Path("/proc/out")):
        sentence(
            run_command(command, "--data_path", tmp_path / "in", "--output_dir", folder),
            str(folder.parent),
        )
    assert (tmp_path / "file").read_text() == "mine"


SCORING = {
    "cdvd_tsp": ("test.py cdvd_tsp", "v/{}"),
    "image_deblur": ("test.py image_deblur", "{}"),
    "sbdd": ("test.py sbdd", "{}"),
    "blur2vid": ("test.py blur2vid", "v/{}"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("method", SCORING)
def test_scored_files(method, name, run_command, tmp_path):
    """Equal files have no error (SSIM 1); damaged or misshapen ones are named; nothing is written
    where files lie.
    """
    (command, place), (write, expected) = SCORING[method], PICTURES[name]
    for side in ("restored", "sharp", "blurry"):
        (tmp_path / side / place.format("x")).parent.mkdir(parents=True)
        for number in range(7 if method == "blur2vid" else 1):
            path = (
                tmp_path
                / side
                / place.format(
                    f"{number}{name.removeprefix('-')}" if method == "blur2vid" else name
                )
            )
            write(path) if side == "restored" else write_image(
                path.with_suffix(".png"), pattern(SIZE if isinstance(expected, str) else expected)
            )
    before = contents(tmp_path)
    folders = ["-r", tmp_path / "restored", "-s", tmp_path / "sharp", "-o", tmp_path / "out"]
    done = run_command(
        command, *folders, *([] if method == "blur2vid" else ["-b", tmp_path / "blurry"])
    )
    if isinstance(expected, str):
        sentence(done, name.removeprefix("-"), expected)
    elif min(expected) < 11:  # SSIM's window
        sentence(
            done,
            "sequence v" if method == "blur2vid" else name,
            "side of" if method == "cdvd_tsp" else "11",
        )
    else:
        assert done == (0, "")
        scores = json.loads((tmp_path / "out/scores.json").read_text())
        assert (scores["mean"].get("ssim") or scores["mean"]["pssim"]) > 0.8
        assert method == "blur2vid" or scores["input_mean"]["psnr"] == "inf"
    assert {
        name: content for name, content in contents(tmp_path).items() if not name.startswith("out")
    } == before
