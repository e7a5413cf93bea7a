"""The tab that picks the best shots of a burst or clip."""

import csv
from pathlib import Path

from tabs.video import offered_part
from utils.errors import UserError
from utils.web import fields
from utils.web.config import AppConfig
from utils.web.page import Events
from utils.web.ranking import Rank, ranking
from utils.web.results import changed, compared, show, show_shrunk, zipped
from utils.web.uploads import name_of, take_photo, take_shots, whole_number
from utils.web.visitors import Cancelled, Visitor

MAX_KEPT = 5  # shots that are restored
MAX_SHOWN = 12  # uploads that are shown at once
SHOWN_SIDE = 480  # px
SMALL_SIDE = 160  # px, in the ranking
EXAMPLE_BLUR = (18, 3, 9, 14, 6)  # px
TEXT = "Ranks the pictures of a burst, or the frames of a clip, and restores the best."


def pick_shots(
    config: AppConfig,
    visitor: Visitor,
    uploads: list[str] | None,
    keep: float,
    fit: bool = False,
    start: float = 0,
) -> tuple:
    """(before and after of the best, choice of the best, ranking, downloads).

    fit: see tabs.video.restore_video. When it is cancelled, the shots that were judged are ranked,
    and the restored ones kept.
    """
    from methods.irp.config import InferenceConfig
    from methods.irp.inference import main

    count = whole_number(keep, 1, MAX_KEPT, "how many are restored")
    folder = visitor.start("pick")
    part = start if fit else None
    shots = take_shots(config, visitor, uploads or [], folder / "input", part)
    results = folder / "picked"
    stopped = False
    try:
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
    except Cancelled:
        if visitor.gone or not _keep_what_is_done(results):
            raise
        visitor.cancelled.discard("pick_shots")
        stopped = True
    rows = list(csv.DictReader((results / "scores.csv").read_text(encoding="utf-8").splitlines()))
    names = _names(uploads, rows)
    restored = {path.stem: path for path in (results / "restored").glob("*.png")}
    best = [row["name"] for row in rows if row["name"] in restored]
    words = f"{len(rows)} judged, {len(best)} restored." if stopped else ""
    chart = _ranking(visitor, results, rows, names, words)
    downloads = [show(visitor, "pick", restored[name], f"{name}_restored.png") for name in best]
    downloads.append(show(visitor, "pick", results / "scores.csv"))
    if len(best) > 1:
        files = [results / "scores.csv", *sorted(results.glob("c*.*g"))]
        files += [restored[name] for name in best]
        downloads.append(zipped(visitor, "pick", files, "picked.zip"))
    if not best:
        hidden = changed(value=None, visible=False)
        return hidden, hidden, chart, downloads
    choice = changed(
        choices=[(names[name], name) for name in best], value=best[0], visible=len(best) > 1
    )
    divider = changed(value=show_picked(config, visitor, best[0]), visible=True)
    return divider, choice, chart, downloads


def _keep_what_is_done(results: Path) -> bool:
    """Give what a stopped run left the names of whole results; whether there is some."""
    from methods.irp.inference import PARTIAL_SCORES, PARTIAL_SELECTION

    if (results / PARTIAL_SCORES).exists():
        (results / PARTIAL_SCORES).rename(results / "scores.csv")
    for part in ("selected", "restored"):
        if (results / PARTIAL_SELECTION / part).is_dir():
            (results / PARTIAL_SELECTION / part).rename(results / part)
    return (results / "scores.csv").exists()


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


def _ranking(
    visitor: Visitor, results: Path, rows: list[dict], names: dict[str, str], stopped: str
) -> str:
    """The chart of all shots, as HTML."""
    selected = {path.stem: path for path in (results / "selected").glob("*")}
    ranks = []
    for row in rows:
        name = row["name"]
        picture = None
        if name in selected:
            small = f"{name}_small.png"
            picture = show_shrunk(visitor, "pick", selected[name], small, SMALL_SIDE)
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
    return ranking(ranks, is_clip="seconds" in rows[0], stopped=stopped)


def show_picked(config: AppConfig, visitor: Visitor, name: str) -> tuple[str, ...]:
    """One of the best shots, before and after."""
    results = visitor.work / "pick" / "picked"
    chosen = {path.stem: path for path in (results / "selected").glob("*")}
    if name not in chosen:
        raise UserError("these shots are not kept any more: pick again")
    visitor.start("picked")
    return compared(visitor, "picked", chosen[name], results / "restored" / f"{name}.png")


def look_at_shots(config: AppConfig, visitor: Visitor, uploads: list[str] | None) -> tuple:
    """(the first pictures, or the first frame of a clip, with their names; and of a clip what
    tabs.video.offered_part says).
    """
    from utils.image import read_8bit
    from utils.video import EXTENSIONS, VideoFile, is_video

    folder = visitor.start("look_at_shots")
    offer = ("", changed(visible=False, value=False), changed(visible=False, value=0))
    for upload in uploads or ():
        visitor.claim(upload)
    shown = []
    for number, upload in enumerate((uploads or ())[:MAX_SHOWN], 1):
        if is_video(Path(upload)):
            path = visitor.take(upload, folder, EXTENSIONS, number)
            video = VideoFile(path, as_bt709=True)
            offer = offered_part(config, video)
            pixels = next(iter(video))
        else:
            pixels = read_8bit(take_photo(config, visitor, upload, folder, number))
        name = f"{number}.png"
        shown.append(
            (show_shrunk(visitor, "look_at_shots", pixels, name, SHOWN_SIDE), name_of(upload))
        )
    return shown, *offer


def example(config: AppConfig, visitor: Visitor) -> tuple:
    """(uploads, and what look_at_shots gives): a picture of the embedded sample, shaken differently
    each time.
    """
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
    return uploads, *look_at_shots(config, visitor, uploads)


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
            part = fields.part()
            keep = gr.Slider(1, MAX_KEPT, 1, step=1, label="Restore the best")
            tab.buttons("Pick")
        with tab.outputs("your shots", several=True):
            best = gr.Dropdown(label="Shot", interactive=True)
            divider = fields.divider("before | after")
            chart = gr.HTML()
            files = fields.downloads()
    seen = [tab.shown, *part]
    events.on_upload_shown(tab, shots, look_at_shots, seen)
    events.on_example(tab, example, [shots, *seen])
    inputs = [shots, keep, *part[1:]]
    events.on_click(tab, pick_shots, inputs, [divider, best, chart, files])
    events.on_choice(best, show_picked, divider)
