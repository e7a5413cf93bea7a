"""The tab that picks the best shots of a burst or clip."""

import csv
from pathlib import Path

from utils.errors import UserError
from utils.web import fields
from utils.web.config import AppConfig
from utils.web.page import Events
from utils.web.ranking import Rank, ranking
from utils.web.results import changed, compared, show, show_shrunk, zipped
from utils.web.uploads import name_of, take_photo, take_shots, whole_number
from utils.web.visitors import Visitor

MAX_KEPT = 5  # shots that are restored
MAX_SHOWN = 12  # uploads that are shown at once
SHOWN_SIDE = 480  # px
EXAMPLE_BLUR = (18, 3, 9, 14, 6)  # px
TEXT = "Ranks the pictures of a burst, or the frames of a clip, and restores the best."


def pick_shots(
    config: AppConfig, visitor: Visitor, uploads: list[str] | None, keep: float
) -> tuple:
    """(before and after of the best, choice of the best, ranking, downloads)."""
    from methods.irp.config import InferenceConfig
    from methods.irp.inference import main

    count = whole_number(keep, 1, MAX_KEPT, "how many are restored")
    folder = visitor.start("pick")
    shots = take_shots(config, visitor, uploads or [], folder / "input")
    results = folder / "picked"
    main(
        InferenceConfig(
            shots,
            "select",
            ratio=1.0,
            keep=str(count),
            restore=True,
            output_dir=results,
            device=config.device,
        )
    )
    rows = list(csv.DictReader((results / "scores.csv").read_text(encoding="utf-8").splitlines()))
    names = _names(uploads, rows)
    best = [row["name"] for row in rows if row["selected"] == "1"]
    chart = _ranking(visitor, results, rows, names)
    files = [results / "scores.csv", *sorted(results.glob("c*.*g"))]
    files += [results / "restored" / f"{name}.png" for name in best]
    choice = changed(
        choices=[(names[name], name) for name in best], value=best[0], visible=len(best) > 1
    )
    downloads = []
    for name in best:
        path = results / "restored" / f"{name}.png"
        downloads.append(show(visitor, "pick", path, f"{name}_restored.png"))
    downloads.append(show(visitor, "pick", results / "scores.csv"))
    if len(best) > 1:
        downloads.append(zipped(visitor, "pick", files, "picked.zip"))
    return show_picked(config, visitor, best[0]), choice, chart, downloads


def _names(uploads: list[str], rows: list[dict]) -> dict[str, str]:
    """{name of a shot: its name as it was uploaded; of a frame its time}."""
    names = {}
    for row in rows:
        number = row["name"].partition("_")[0]
        if row.get("seconds"):
            names[row["name"]] = f"{float(row['seconds']):.2f} s"
        else:
            names[row["name"]] = name_of(uploads[int(number) - 1])
    return names


def _ranking(visitor: Visitor, results: Path, rows: list[dict], names: dict[str, str]) -> str:
    """The chart of all shots, as HTML."""
    from utils.image import read_8bit

    ranks = []
    for row in rows:
        name = row["name"]
        picture = None
        if row["selected"] == "1":
            selected = next((results / "selected").glob(f"{name}.*"))
            picture = show_shrunk(visitor, "pick", read_8bit(selected), f"{name}_small.png", 160)
        ranks.append(
            Rank(
                names[name],
                float(row["potential"]),
                row.get("reason", ""),
                picture,
                row.get("tied") == "1",
                float(row.get("seconds") or name.partition("_")[0]),
            )
        )
    return ranking(ranks, is_clip="seconds" in rows[0])


def show_picked(config: AppConfig, visitor: Visitor, name: str) -> tuple[str, ...]:
    """One of the best shots, before and after."""
    results = visitor.work / "pick" / "picked"
    chosen = {path.stem: path for path in (results / "selected").glob("*")}
    if name not in chosen:
        raise UserError("these shots are not kept any more: pick again")
    visitor.start("picked")
    return compared(visitor, "picked", chosen[name], results / "restored" / f"{name}.png")


def look_at_shots(
    config: AppConfig, visitor: Visitor, uploads: list[str] | None
) -> list[tuple[str, str]]:
    """The first pictures, or the first frame of a clip, with their names."""
    from utils.image import read_8bit
    from utils.video import EXTENSIONS, VideoFile, is_video

    folder = visitor.start("look_at_shots")
    for upload in uploads or ():
        visitor.claim(upload)
    shown = []
    for number, upload in enumerate((uploads or ())[:MAX_SHOWN], 1):
        if is_video(Path(upload)):
            path = visitor.take(upload, folder, EXTENSIONS, number)
            pixels = next(iter(VideoFile(path, as_bt709=True)))
        else:
            pixels = read_8bit(take_photo(config, visitor, upload, folder, number))
        name = f"{number}.png"
        shown.append(
            (show_shrunk(visitor, "look_at_shots", pixels, name, SHOWN_SIDE), name_of(upload))
        )
    return shown


def example(config: AppConfig, visitor: Visitor) -> tuple:
    """(uploads, their pictures): a picture of the embedded sample, shaken differently each time."""
    import cv2
    import numpy as np

    from data.sample import sample_pictures
    from data.synthesis.kernels import random_kernel
    from utils.image import read_image, write_image

    folder = visitor.start("example_shots")
    sharp = read_image(sample_pictures() / "coffee.png")
    uploads = []
    for number, length in enumerate(EXAMPLE_BLUR, 1):
        kernel = random_kernel(np.random.default_rng(number), 2 * length + 5, length=length)
        path = folder / f"coffee_{number}.png"
        write_image(path, cv2.filter2D(sharp, -1, kernel, borderType=cv2.BORDER_REFLECT))
        uploads.append(visitor.give(path))
    return uploads, look_at_shots(config, visitor, uploads)


def build(events: Events) -> None:
    """The tab."""
    import gradio as gr

    from utils.image import EXTENSIONS as PICTURES
    from utils.video import EXTENSIONS as CLIPS

    tab = fields.Tab()
    with tab.named("Pick"):
        with tab.inputs(TEXT):
            shots = fields.upload("Pictures, or one clip", (*PICTURES, *CLIPS), multiple=True)
            tab.examples()
            keep = gr.Slider(1, MAX_KEPT, 1, step=1, label="Restore the best")
            tab.buttons("Pick")
        with tab.outputs("your shots", several=True):
            best = gr.Dropdown(label="Shot", interactive=True)
            divider = fields.divider("before | after")
            chart = gr.HTML()
            files = fields.downloads()
    events.on_upload(shots, look_at_shots, [tab.shown])
    events.on_example(tab, example, [shots, tab.shown])
    events.on_click(tab, pick_shots, [shots, keep], [divider, best, chart, files])
    events.on_choice(best, show_picked, divider)
