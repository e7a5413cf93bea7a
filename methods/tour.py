"""`make demo`: blur is made, judged, removed and unfolded; report.html tells the story.

The pictures come with scikit-image. The commands do all the work, with the shipped weights; each
chapter ends with the commands for one's own material. Chapters on options, exported files and
downloads: methods/tour_choices.py.
"""

import csv
import shutil
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from data.sample import PICTURES, sample_folder, sample_pictures, sequences_or_sample
from methods import tour_choices
from methods.blur2vid import inference as unfold
from methods.blur2vid.config import InferenceConfig as UnfoldConfig
from methods.image_deblur import inference as photos
from methods.image_deblur.config import InferenceConfig as PhotosConfig
from methods.irp import inference as judge
from methods.irp.config import InferenceConfig as JudgeConfig
from methods.sbdd import generate
from methods.sbdd.config import GenerateConfig
from methods.sbdd.shared import SHEET_ROWS
from methods.video_deblur import inference as video
from methods.video_deblur.config import InferenceConfig as VideoConfig
from utils.config import ROOT
from utils.evaluation.scoring import Scores
from utils.evaluation.tables import format_table
from utils.image import read_image
from utils.report import Chapter, Example, enlarged, most_different, write_story

FOLDER = ROOT / "experiment" / "demo"
# The burst: SHOTS of one picture, each blurred by a kernel of its own, KERNEL px wide.
PICTURE = "coffee"
SHOTS = 8
KERNEL = 33
FRAME = 4  # index of the frame that is shown of each sample clip
SHARP_FRAMES = (1, 4, 7)  # numbers of the sharp frames that are shown
WORDS = (
    "Blur is made, judged, removed and unfolded, on pictures that come with scikit-image and by "
    "the small networks that come with Blurlab. "
    "Below each chapter stand the commands that do the same with your own material."
)


def main(folder: Path = FOLDER) -> None:
    """Write folder/report.html and the results of every chapter beside it."""
    burst = make_burst(folder)
    potentials = judge_burst(burst, folder / "judged")
    restored = restore_burst(burst, folder / "restored")
    chapters = [
        _made(burst),
        _judged(burst, potentials, restored),
        _restored(burst, folder / "restored", potentials, restored),
    ]
    _heading("4. choose how much is restored")
    chapters.append(tour_choices.scales_and_strength(folder / "sharp", folder / "choices"))
    chapters.append(_video(folder / "video"))
    _heading("6. restore only the frames that are blurry")
    chapters.append(tour_choices.only_blurry_frames(folder / "only_blurry"))
    chapters.append(_unfolded(folder / "moments"))
    _heading("8. use a network elsewhere")
    chapters += [tour_choices.as_one_file(folder), tour_choices.downloads()]
    write_story(folder / "report.html", "A tour of Blurlab", WORDS, chapters)
    print(f"\nopen {folder / 'report.html'}")


def make_burst(folder: Path) -> Path:
    """Make SHOTS blurry/sharp pairs of one picture; returns their folder."""
    _heading("1. make blur")
    sharp = folder / "sharp"
    burst = folder / "burst"
    # An earlier tour's burst may be of another version with other options.
    shutil.rmtree(burst, ignore_errors=True)
    sharp.mkdir(parents=True, exist_ok=True)
    shutil.copy(sample_pictures() / f"{PICTURE}.png", sharp)
    generate.main(
        GenerateConfig(sharp, burst, n_images=SHOTS, kernel_size=KERNEL, min_img_size=0, seed=3)
    )
    return burst


def judge_burst(burst: Path, output_dir: Path) -> dict[str, float]:
    """The restoration potential of every shot."""
    _heading("2. judge the shots")
    judge.main(
        JudgeConfig(data_path=burst / "blurry", output_dir=output_dir, task="select", keep="1")
    )
    with open(output_dir / "scores.csv", encoding="utf-8", newline="") as file:
        return {row["name"]: float(row["potential"]) for row in csv.DictReader(file)}


def restore_burst(burst: Path, output_dir: Path) -> Scores:
    """All shots restored as photos and scored, so that chapter 2 can be checked."""
    _heading("3. remove blur from photos")
    return photos.main(PhotosConfig(data_path=burst, output_dir=output_dir))


def _made(burst: Path) -> Chapter:
    sheet = read_image(burst / "contact_sheet.jpg")
    return Chapter(
        "Make blur",
        f"{SHOTS} shots of one picture, each blurred by a random camera motion of at most "
        f"{KERNEL} px, in linear light; {SHEET_ROWS} of them are shown. With masks, objects move "
        "by themselves and cover what is behind them.",
        [
            "python generate.py sbdd --data_path SHARP_PICTURES --output_dir dataset/pairs",
            "python generate.py sbdd --config videos --data_path SHARP_VIDEOS --output_dir "
            "dataset/clips",
        ],
        wide={"": sheet},
    )


def _judged(burst: Path, potentials: dict[str, float], restored: Scores) -> Chapter:
    psnr = {row["name"]: row["psnr"] for row in restored.rows}
    ranked = sorted(potentials, key=lambda name: -potentials[name])
    values = [psnr[name] for name in ranked]
    agreement = spearmanr([potentials[name] for name in ranked], values).statistic
    table = [
        ["", "restored"],
        ["the shot that IRP selects", f"{values[0]:.2f} dB"],
        ["a random shot, on average", f"{np.mean(values):.2f} dB"],
        ["the best shot, which only the truth tells", f"{max(values):.2f} dB"],
    ]
    correlation = f"rank correlation of potential and restored PSNR: {agreement:.2f}"
    text = f"{format_table(table)}\n{correlation}"
    print(text)
    pictures = {}
    for rank, name in enumerate(ranked, 1):
        label = f"{rank}. potential {potentials[name]:.3f}"
        pictures[label] = read_image(burst / "blurry" / f"{name}.png")
    return Chapter(
        "Judge the shots",
        "Before anything is restored, IRP predicts how good each shot will be afterwards: its "
        "restoration potential.",
        [
            "python inference.py irp --task select --keep 20% --restore --data_path "
            "CLIP_OR_FOLDER --output_dir OUT",
            "python inference.py irp --task expose --data_path SHOTS_AT_SEVERAL_EXPOSURES "
            "--output_dir OUT",
        ],
        text,
        pictures=pictures,
    )


def _restored(burst: Path, folder: Path, potentials: dict[str, float], restored: Scores) -> Chapter:
    gains = {row["name"]: row["psnr"] - row["input_psnr"] for row in restored.rows}
    shown = {
        "the shot that gains most": max(gains, key=gains.get),
        "the shot that IRP selects": max(potentials, key=potentials.get),
    }
    folders = (burst / "blurry", folder, burst / "sharp")
    return Chapter(
        "Remove blur from photos",
        "The shipped small network takes a little blur away and leaves what is too long for it.",
        ["python inference.py image_deblur --data_path PHOTO_OR_FOLDER --output_dir OUT"],
        restored.table(),
        examples=[_compared(what, folders, restored, name) for what, name in shown.items()],
    )


def _video(folder: Path) -> Chapter:
    _heading("5. remove blur from video")
    scores = video.main(VideoConfig(output_dir=folder))
    data = sample_folder()
    folders = (data / "blur", folder, data / "gt")
    examples = [
        _compared(f"{name}, frame {FRAME}", folders, scores, f"{name}/{FRAME:05d}")
        for name in PICTURES
    ]
    return Chapter(
        "Remove blur from video",
        "Optical flow brings the sharper parts of the neighbouring frames to the frame that is "
        "restored.",
        ["python inference.py cdvd_tsp --data_path CLIP.mp4 --output_dir OUT"],
        scores.table(),
        examples=examples,
    )


def _unfolded(folder: Path) -> Chapter:
    _heading("7. unfold a photo into its sharp frames")
    sequence = sequences_or_sample(None).of("test")[0]
    unfold.main(UnfoldConfig(data_path=sequence.blurry, output_dir=folder))
    frames = [read_image(folder / f"deblur_{number - 1}.png") for number in SHARP_FRAMES]
    region = most_different(frames[0], frames[-1])
    closer = {"the photo, closer": enlarged(read_image(sequence.blurry)[region], 300)}
    for number, frame in zip(SHARP_FRAMES, frames):
        closer[f"sharp frame {number}"] = enlarged(frame[region], 300)
    return Chapter(
        "Unfold a blurry photo into its sharp frames",
        "Seven sharp frames of the exposure, out of one picture. Which of them was first, no "
        "picture can tell.",
        ["python inference.py blur2vid --data_path PHOTO.jpg --output_dir OUT"],
        wide={"": read_image(folder / "strip.png")},
        pictures=closer,
        gif=folder / "moments.gif",
    )


def _compared(what: str, folders: tuple[Path, Path, Path], scores: Scores, name: str) -> Example:
    """The picture NAME of the blurry, restored and sharp folder, with its row of the scores."""
    row = next(row for row in scores.rows if row["name"] == name)
    words = f"PSNR {row['input_psnr']:.2f} dB before, {row['psnr']:.2f} dB after"
    blurry, restored, sharp = (read_image(folder / f"{name}.png") for folder in folders)
    return Example(what, blurry, restored, sharp, words=words)


def _heading(text: str) -> None:
    print(f"\n{text}")


if __name__ == "__main__":
    main()
