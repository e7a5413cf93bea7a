"""Further chapters of the tour: what options choose, and how to take networks in and out."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import torch

from data.sample import PICTURES, sample_folder
from methods.image_deblur import export
from methods.image_deblur import inference as photos
from methods.image_deblur.config import ExportConfig
from methods.image_deblur.config import InferenceConfig as PhotosConfig
from methods.sbdd import generate
from methods.sbdd.config import GenerateConfig
from methods.video_deblur import inference as video
from methods.video_deblur.config import InferenceConfig as VideoConfig
from restoration import ImageRestorer
from utils.download.table import entries, find_entry, size_of
from utils.evaluation.metrics import psnr
from utils.evaluation.tables import format_table
from utils.image import read_image, to_8bit, to_tensor
from utils.report import Chapter, Example, amount, enlarged, gained_region

KERNEL = 95  # px, of the long blur
SEED = 3
WIDTH = 300  # px, of a closer look
BLURRED = (3, 4, 5)  # indices of the blurred frames of the clip that is sharp elsewhere
LISTED = (
    "CDVD_TSP_GOPRO.pt", "net_gopro_deblur.pth", "NAFNet-GoPro-width64.pth",
    "motion_deblurring.pth", "GOPRO/test", "REDS/val",
)  # fmt: skip


def scales_and_strength(sharp: Path, folder: Path) -> Chapter:
    """One photo with long blur at several scales and strengths."""
    pair = folder / "long_blur"
    shutil.rmtree(pair, ignore_errors=True)
    generate.main(
        GenerateConfig(sharp, pair, n_images=1, kernel_size=KERNEL, min_img_size=0, seed=SEED)
    )
    rows = [["", "PSNR"]]
    pictures = {}
    for scale, strength in (("1", 1.0), ("mean", 1.0), ("auto", 1.0), ("auto", 0.5)):
        words = f"--scale {scale}"
        if strength != 1:
            words += f" --strength {strength:g}"
        output_dir = folder / words.replace("--", "").replace(" ", "_")
        config = PhotosConfig(
            data_path=pair, output_dir=output_dir, scale=scale, strength=strength, report=False
        )
        row = photos.main(config).rows[0]
        rows.append([words, f"{row['psnr']:.2f} dB"])
        pictures[words] = read_image(output_dir / f"{row['name']}.png")
    rows.insert(1, ["the blurry photo", f"{row['input_psnr']:.2f} dB"])
    blurry = read_image(pair / "blurry" / f"{row['name']}.png")
    truth = read_image(pair / "sharp" / f"{row['name']}.png")
    region = gained_region(Example("", blurry, truth))
    shown = {"the blurry photo": blurry, **pictures, "the sharp photo": truth}
    closer = {label: enlarged(picture[region], WIDTH) for label, picture in shown.items()}
    text = format_table(rows)
    print(text)
    return Chapter(
        "Choose how much is restored",
        "Blur that is too long for a network becomes short enough when the picture is shrunk: "
        "auto measures it and chooses the sizes, mean takes three of them. --strength sets how "
        "much of the change is applied.",
        [
            "python inference.py image_deblur PHOTO.jpg --scale 1",
            "python inference.py image_deblur PHOTO.jpg --strength 0.5",
        ],
        text,
        pictures=closer,
    )


def only_blurry_frames(folder: Path) -> Chapter:
    """A clip of which some frames are blurred; the others stay as they are."""
    clip = _partly_blurred(folder / "clip")
    output_dir = folder / "frames"
    # without the ground truth, so that the first and last frames are restored, too
    frames = clip / "blur"
    video.main(VideoConfig(data_path=frames, output_dir=output_dir, only_blurry=True, report=False))
    name = next(iter(PICTURES))
    rows = [["frame", "blurred", "input", "restored"]]
    examples = []
    for path in sorted((frames / name).glob("*.png")):
        blurry = read_image(path)
        truth = read_image(clip / "gt" / name / path.name)
        restored = read_image(output_dir / name / path.name)
        if int(path.stem) in BLURRED:
            values = [f"{psnr(pixels, truth):.2f} dB" for pixels in (blurry, restored)]
            rows.append([path.stem, "yes", *values])
            examples.append(Example(f"{name}, frame {path.stem}", blurry, restored, truth))
        elif np.array_equal(blurry, restored):
            rows.append([path.stem, "no", "sharp", "the same"])
        else:
            rows.append([path.stem, "no", "sharp", "changed"])
    text = format_table(rows)
    print(text)
    return Chapter(
        "Restore only the frames that are blurry",
        f"{amount(len(BLURRED), 'frame')} of this clip are blurred. With --only_blurry a frame "
        "whose blur is hardly measurable stays as it is; in a photo the same holds place by "
        "place.",
        ["python inference.py video_deblur CLIP.mp4 --only_blurry"],
        text,
        examples=examples[1:2],
    )


def as_one_file(folder: Path) -> Chapter:
    """The photo network as a .pt2 file, and its result beside ours."""
    path = folder / "image_deblur.pt2"
    path.parent.mkdir(parents=True, exist_ok=True)
    export.main(ExportConfig(format="pt2", output=path))
    blurry = to_tensor(read_image(sample_folder() / "blur" / next(iter(PICTURES)) / "00004.png"))
    ours = ImageRestorer.load(
        device="cpu", precision="fp32", scale=1, guard=False, local_statistics=False
    )
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch's own load
        theirs = torch.export.load(path).module()(blurry[None])[0]
    largest = float((theirs - ours.restore(blurry)).abs().max())
    text = (
        f"{path.name}: {path.stat().st_size / 1e6:.1f} MB\n"
        f"largest difference from inference.py: {largest:.1e} of 1"
    )
    print(text)
    return Chapter(
        "Use a network elsewhere",
        "One file that needs PyTorch alone, or ONNX Runtime, and nothing of this repository. It is "
        "compared with inference.py at scale 1 and without local statistics, which such a file of "
        "any size does not have.",
        [
            "python export.py image_deblur --format pt2 --output image_deblur.pt2",
            'python -c "import torch; '
            "print(torch.export.load('image_deblur.pt2').module()(torch.rand(1, 3, 240, 320)))\"",
        ],
        text,
        pictures={"input": to_8bit(blurry), "by image_deblur.pt2": to_8bit(theirs)},
    )


def downloads() -> Chapter:
    """Some of what download.py knows."""
    known = entries().values()
    counts = {kind: sum(entry.kind == kind for entry in known) for kind in ("weights", "data")}
    rows = [["name", "size", "what for"]]
    for name in LISTED:
        entry = find_entry(name)
        rows.append([name, size_of(entry), entry.serves])
    return Chapter(
        "Get published networks and data",
        f"{counts['weights']} weights and {counts['data']} data sets are known by name, with size "
        "and licence; the command without a name lists them all. Nothing was downloaded for this "
        "page, and the addresses were never tried here.",
        [
            "python download.py",
            "python download.py NAFNet-GoPro-width64 GOPRO/test",
            "python test.py image_deblur --table NAFNet-64",
        ],
        format_table(rows),
    )


def _partly_blurred(folder: Path) -> Path:
    """The first sample clip, whose frames but BLURRED are the sharp ones."""
    data = sample_folder()
    name = next(iter(PICTURES))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data / "gt" / name, folder / "gt" / name)
    shutil.copytree(data / "gt" / name, folder / "blur" / name)
    for index in BLURRED:
        frame = f"{index:05d}.png"
        shutil.copyfile(data / "blur" / name / frame, folder / "blur" / name / frame)
    return folder
