"""What users bring, through every command: damaged, odd and oddly named files.

They become a right result or one sentence, and nothing is lost.
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


def cut(path: Path, fraction: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])


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
    whole = make_file(path.with_name("whole.mp4"), [40 * index for index in range(30)], SIZE)
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole.unlink()
    cut(path, 0.67)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("neither a picture nor a video\n" * 9)


def plain(path: Path) -> None:
    write_image(path, pattern())


def saved(path: Path, picture: Image.Image) -> None:
    picture.save(path, quality=95)


def palette(picture: Image.Image) -> Image.Image:
    return picture.quantize(256, dither=Image.Dither.NONE)


def with_alpha(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack((pixels, pixels[..., :1])))


def clip(path: Path) -> None:
    make_file(path, TIMES, SIZE)


def cut_clip(path: Path) -> None:
    clip(path)
    cut(path)


NO_IMAGE = "is not an image this program can read"
NO_VIDEO = "can't be opened as a video, it may be truncated"
CUT = "can't be read, it may be truncated or corrupt"
# name -> (writer, what must come out: the size of the upright picture, or a part of the sentence)
PICTURES: dict[str, tuple[Callable[[Path], object], tuple[int, int] | str]] = {
    "empty.png": (empty, NO_IMAGE),
    "text.png": (text, NO_IMAGE),
    "cut.png": (noise, CUT),
    "cut.jpg": (noise, CUT),
    "moving.png": (renamed_gif, "an animation of 3 pictures"),
    "moving.webp": (moving, "an animation of 3 pictures"),
    "one.png": (lambda path: write_image(path, np.full((1, 1, 3), 99, np.uint8)), (1, 1)),
    "long.png": (lambda path: write_image(path, pattern((3, 20000))), (3, 20000)),
    "low.png": (lambda path: write_image(path, pattern((20, 96))), (20, 96)),
    "deep.png": (lambda path: write_image(path, pattern().astype(np.uint16) * 257), SIZE),
    "cmyk.jpg": (lambda path: saved(path, Image.fromarray(pattern()).convert("CMYK")), SIZE),
    "palette.png": (lambda path: saved(path, palette(Image.fromarray(pattern()))), SIZE),
    "alpha.png": (lambda path: saved(path, with_alpha(pattern())), SIZE),
    "turned.jpg": (turned, SIZE),
    "with space ü 写真.png": (plain, SIZE),
    "-o.png": (plain, SIZE),
}
VIDEOS: dict[str, tuple[Callable[[Path], object], tuple[int, int] | str]] = {
    "empty.mp4": (empty, NO_VIDEO),
    "text.mp4": (text, NO_VIDEO),
    "cut.mp4": (cut_clip, NO_VIDEO),
    "early.mp4": (early_end, "it is truncated or damaged"),
    "varying.mp4": (clip, SIZE),
    "portrait.mp4": (lambda path: make_file(path, TIMES, SIZE, rotation=90), SIZE[::-1]),
    "- ü.mp4": (clip, SIZE),
}
UPRIGHT = {
    "varying.mp4": scene(0, SIZE),
    "- ü.mp4": scene(0, SIZE),
    "portrait.mp4": np.rot90(scene(0, SIZE)),
}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A small blur-to-video network; the shipped one takes seconds on long pictures."""
    arguments = {"width": 4, "flow_channels": [2, 4, 4]}
    arguments |= {"sampling": "plain", "values": "imagenet_rgb"}
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "purohit.safetensors"
    save_weights(path, build("purohit", **arguments), "purohit", arguments, "blur2vid")
    return path


def alike(result: np.ndarray, upright: np.ndarray) -> bool:
    """Whether it is the given picture, the same way up, but for a little blur.

    The error is small, and larger the other ways up.
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


def centre_frame(out: Path, name: str) -> np.ndarray:
    assert len(list(out.glob("deblur_?.png"))) == 7
    return read_image(out / "deblur_3.png")


def selected_copy(out: Path, name: str) -> np.ndarray:
    selected = read_image(out / "selected" / name)
    restored = read_image(out / "restored" / f"{Path(name).stem}.png")
    assert restored.shape == selected.shape
    assert (out / "scores.csv").read_text().splitlines()[1].startswith(f"1,{Path(name).stem},")
    return selected


def sharp_half(out: Path, name: str) -> np.ndarray:
    """Of a pair, whose sharp half is the picture without the kernel's margin."""
    sharp = read_image(out / "sharp" / f"{Path(name).stem}_0.png")
    assert read_image(out / "blurry" / f"{Path(name).stem}_0.png").shape == sharp.shape
    return np.pad(sharp, ((10, 10), (10, 10), (0, 0)), "edge")


def sharp_frames(out: Path, name: str) -> np.ndarray:
    """The picture with the middle frame of a clip, a window that hardly moves, put back into it."""
    frames = sorted((out / "gt" / Path(name).stem).iterdir())
    assert len(frames) == 5 and len(list((out / "blur" / Path(name).stem).iterdir())) == 5
    return put_back(read_image(frames[2]))


def put_back(part: np.ndarray) -> np.ndarray:
    """The pattern with a part of it in the position where it fits best."""
    whole = pattern()
    left, top = cv2.minMaxLoc(cv2.matchTemplate(whole, part, cv2.TM_SQDIFF))[2]
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def stack(out: Path, name: str) -> np.ndarray:
    record = json.loads((out / "records/scene1.json").read_text())
    assert record["source"] == Path(name).stem and len(list((out / "scene1").iterdir())) == 2
    sharp = read_image(out / "sharp/scene1.png")
    assert sharp.shape == (32, 32, 3)
    assert abs(read_image(out / "scene1/1.png").mean() - sharp.mean()) < 25
    return put_back(sharp)


IRP_STACKS = (
    "generate.py irp --height 32 --width 32 --kernel_size 21 --blur 2 10 --ratios 1 5 "
    "--restorers denoise --device cpu"
)
CLIPS = "generate.py sbdd --config tiny --what clips --blur 1"
SELECT = "inference.py irp --task select --keep 1 --restore --device cpu"
# name -> (command, whether it takes folders alone, reader of its result, minimum side in px)
PICTURE_COMMANDS = {
    "cdvd_tsp": ("inference.py cdvd_tsp --device cpu", False, restored_frame, 1),
    "image_deblur": ("inference.py image_deblur --device cpu", False, restored_picture, 1),
    "blur2vid": ("inference.py blur2vid --device cpu", False, centre_frame, 1),
    "irp select": (SELECT, False, selected_copy, 32),
    "pairs": ("generate.py sbdd --config tiny --min_img_size 30", True, sharp_half, 30),
    "clips": (CLIPS, True, sharp_frames, 64),
    "stacks": (IRP_STACKS, True, stack, 52),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("method", PICTURE_COMMANDS)
def test_a_picture(method, name, run_command, narrow, tmp_path):
    command, folder_alone, result, minimum_side = PICTURE_COMMANDS[method]
    write, expected = PICTURES[name]
    path = tmp_path / "in" / name
    out = tmp_path / "out"
    path.parent.mkdir()
    write(path)
    before = path.read_bytes()
    words = ["--data_path", path.parent if folder_alone else path, "--output_dir", out]
    if method == "blur2vid":
        words += ["--weights", narrow]
    done = run_command(command, *words)
    if isinstance(expected, str):
        sentence(done, name, expected)
    elif min(expected) < minimum_side:
        sentence(done, str(path.parent), " px")  # too small: said with the size that is needed
    else:
        assert done == (0, "")
        upright = pattern(expected)
        found = result(out, name)
        assert found.shape == upright.shape and alike(found, upright)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def video_frames(out: Path, name: str) -> list[np.ndarray]:
    video = VideoFile(out / name)
    assert [
        round(float(frame.timestamp * video.time_base) * 1000) for frame in video.timed()
    ] == TIMES
    return list(video)


def judged_frames(out: Path, name: str) -> list[np.ndarray]:
    rows = (out / "scores.csv").read_text().splitlines()[1:]
    seconds = sorted(float(row.split(",")[4]) for row in rows)
    assert seconds == pytest.approx([time / 1000 for time in TIMES], abs=1e-3)
    return [read_image(path) for path in sorted((out / "selected").iterdir())]


def exposed_frames(out: Path, name: str) -> list[np.ndarray]:
    first, second = sorted((out / "gt" / Path(name).stem).iterdir())
    assert (first.stem, second.stem) == ("00002", "00005")
    return [read_image(first) - np.uint8(8)]  # the scene brightens by 4 levels a frame


VIDEO_COMMANDS = {
    "cdvd_tsp": ("inference.py cdvd_tsp --device cpu", video_frames, 8),
    "image_deblur": ("inference.py image_deblur --device cpu", video_frames, 8),
    "irp select": ("inference.py irp --task select --keep 100% --device cpu", judged_frames, 8),
    "clips": (CLIPS, exposed_frames, 1),
}


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("method", VIDEO_COMMANDS)
def test_a_video(method, name, run_command, tmp_path):
    command, result, count = VIDEO_COMMANDS[method]
    write, expected = VIDEOS[name]
    path = tmp_path / "in" / name
    out = tmp_path / "out"
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
        assert len(frames) == count and frames[0].shape[:2] == expected
        assert alike(frames[0], UPRIGHT[name])
    assert path.read_bytes() == before


TAKING_PICTURES = [command for command, *_ in PICTURE_COMMANDS.values()]
EXPOSE = "inference.py irp --task expose"
READING = [
    *TAKING_PICTURES, EXPOSE, "test.py irp", "test.py hypercut", "test.py cdvd_tsp",
    "test.py image_deblur", "test.py blur2vid", "generate.py hypercut",
]  # fmt: skip


@pytest.mark.parametrize("command", READING)
def test_no_folder_and_an_empty_one(command, run_command, tmp_path):
    (tmp_path / "empty").mkdir()
    more = [] if command.startswith("generate.py hypercut") else ["--output_dir", tmp_path / "out"]
    for folder in (tmp_path / "empty", tmp_path / "gone"):
        sentence(run_command(command, "--data_path", folder, *more), str(folder))
    assert not {path.name for path in tmp_path.glob("out/*")} - {"config.yaml", ".lock"}


@pytest.mark.parametrize("method", [name for name in PICTURE_COMMANDS if name != "blur2vid"])
def test_damage_on_the_second_run_leaves_the_first_ones_results(method, run_command, tmp_path):
    """All that the first run wrote is there, byte for byte.

    Only image_deblur's page is the second run's.
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
    if method == "image_deblur":
        del earlier["report.html"], earlier["contact_sheet.jpg"]
    assert earlier.items() <= contents(tmp_path / "out").items()


def test_a_mistake_does_not_bind_the_next_run(run_command, tmp_path):
    """A run that made nothing leaves no options that the corrected command would have to repeat."""
    write_image(tmp_path / "in/a.png", pattern())
    for command in (PICTURE_COMMANDS["pairs"][0], PICTURE_COMMANDS["stacks"][0]):
        words = [command, "--output_dir", tmp_path / command.split()[1], "--data_path"]
        sentence(run_command(*words, tmp_path / "misspelt"), "misspelt")
        assert run_command(*words, tmp_path / "in") == (0, "")
        other = run_command(*words, tmp_path / "in", "--seed", 2)
        sentence(other, "other options (seed)")


@pytest.mark.parametrize("command", [*TAKING_PICTURES, EXPOSE])
def test_output_that_cannot_be_written(command, run_command, tmp_path):
    """Below a plain file, and in /proc, as root may write into any folder of the disk."""
    write_image(tmp_path / "in/1.png", pattern())
    write_image(tmp_path / "in/2.png", pattern(seed=1))
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file/out", Path("/proc/out")):
        done = run_command(command, "--data_path", tmp_path / "in", "--output_dir", folder)
        sentence(done, str(folder.parent))
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
    """Equal files have no error (SSIM 1), damaged or misshapen ones are named.

    Nothing is written where files lie.
    """
    command, layout = SCORING[method]
    write, expected = PICTURES[name]
    file = name.removeprefix("-")
    size = SIZE if isinstance(expected, str) else expected
    files = [f"{number}{file}" for number in range(7)] if method == "blur2vid" else [name]
    for path in (tmp_path / "restored" / layout.format(file) for file in files):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        for side in ("sharp", "blurry"):
            truth = tmp_path / side / path.relative_to(tmp_path / "restored")
            write_image(truth.with_suffix(".png"), pattern(size))
    before = contents(tmp_path)
    words = ["-r", tmp_path / "restored", "-s", tmp_path / "sharp", "-o", tmp_path / "out"]
    if method != "blur2vid":
        words += ["-b", tmp_path / "blurry"]
    done = run_command(command, *words)
    if isinstance(expected, str):
        sentence(done, file, expected)
    elif min(expected) < 11:  # SSIM's window
        subject = "sequence v" if method == "blur2vid" else name
        sentence(done, subject, "side of" if method == "cdvd_tsp" else "11")
    else:
        assert done == (0, "")
        scores = json.loads((tmp_path / "out/scores.json").read_text())
        assert (scores["mean"].get("ssim") or scores["mean"]["pssim"]) > 0.8
        assert method == "blur2vid" or scores["input_mean"]["psnr"] == "inf"
    after = contents(tmp_path)
    assert {name for name in after.keys() - before.keys() if not name.startswith("out")} == set()
    assert before.items() <= after.items()
