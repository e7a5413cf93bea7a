"""The same inference behind a web page: python app.py [--host H] [--port P] [--device D]

Every tab builds the configuration of a method and calls the main(config) that its command calls. Where
files lie: utils/web/visitors.py; what goes between gradio and the work: utils/web/page.py.
"""

import csv
import itertools
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from utils.config import option, parse
from utils.errors import UserError
from utils.options import DEVICE
from utils.web.page import handler, serve, upload
from utils.web.visitors import SERVED, Visitor, Visitors, private_folder

SHOWN_SIDE = 2048  # px; larger pictures are shown shrunk, and downloaded as they are
MAX_KEPT, MAX_OBJECTS, LONGEST_BLUR = 5, 5, 40


@dataclass(frozen=True)
class AppConfig:
    """A web page that restores videos and photos, unfolds blurry photos, picks shots and makes
    blur.
    """

    host: str = option(
        "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in, without a password"
    )
    port: int = option(7860, "port to listen on")
    device: str = option("auto", DEVICE)
    upload_mb: int = option(200, "largest file that is taken, MB")
    photo_megapixels: float = option(24.0, "largest photo")
    burst: int = option(40, "most pictures of a burst")
    video_frames: int = option(300, "longest clip")
    video_megapixels: float = option(2.1, "largest frames of a clip; 1920x1080 has 2.1")
    keep_minutes: float = option(60.0, "how long the files of an idle visitor stay")


def main() -> int:
    """Serve the page until Ctrl-C or SIGTERM; returns the exit status."""
    try:
        config = parse(AppConfig, "", "app", sys.argv[1:])
        with private_folder() as root:
            for number in (
                signal.SIGINT,
                signal.SIGTERM,
            ):  # shells have the first one ignored in the background
                signal.signal(number, signal.default_int_handler)
            serve(
                build(config, Visitors(root, config.keep_minutes * 60)),
                config.host,
                config.port,
                config.upload_mb,
            )
            threading.Event().wait()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped")
        return 0


def restore_video(config: AppConfig, visitor: Visitor, upload: str | None) -> tuple:
    """(before and after, slider of frames, video, downloads)"""
    from methods.video_deblur.config import InferenceConfig
    from methods.video_deblur.inference import main

    folder = visitor.start("video")
    clip, frames = take_clip(config, visitor, upload, folder / "input")
    main(InferenceConfig(clip, output_dir=folder / "restored", report=False, device=config.device))
    video = show(
        visitor, "video", folder / "restored" / f"{clip.stem}.mp4", f"{clip.stem}_restored.mp4"
    )
    choice = changed(maximum=frames - 1, value=frames // 2, visible=frames > 1)
    return show_frame(config, visitor, frames // 2), choice, video, [video]


def show_frame(config: AppConfig, visitor: Visitor, number: float) -> tuple[str, ...]:
    """A frame of the clip, before and after."""
    from utils.image import write_image
    from utils.video import VideoFile, is_video

    visitor.start("frame")
    targets = []
    for part in ("input", "restored"):
        file = next(filter(is_video, (visitor.work / "video" / part).glob("*")), None)
        if file is None:
            raise UserError("the clip is not kept any more: restore it again")
        targets.append(visitor.shown["frame"] / f"{part}.png")
        write_image(targets[-1], next(itertools.islice(VideoFile(file), int(number), None)))
    return tuple(map(str, targets))


def restore_photo(config: AppConfig, visitor: Visitor, upload: str | None, weights: str) -> tuple:
    """(before and after, downloads)"""
    from methods.image_deblur.config import InferenceConfig
    from methods.image_deblur.inference import SHIPPED, main

    folder = visitor.start("photo")
    photo = take_photo(config, visitor, upload, folder / "input")
    main(
        InferenceConfig(
            photo,
            weights=SHIPPED / weights,
            output_dir=folder / "restored",
            report=False,
            device=config.device,
        )
    )
    restored = folder / "restored" / f"{photo.stem}.png"
    return compared(visitor, "photo", photo, restored), [
        show(visitor, "photo", restored, f"{photo.stem}_restored.png")
    ]


def unfold_photo(config: AppConfig, visitor: Visitor, upload: str | None) -> tuple:
    """(animation, seven moments, strip, downloads)"""
    from methods.blur2vid.config import InferenceConfig
    from methods.blur2vid.inference import main

    folder = visitor.start("moments")
    photo, results = take_photo(config, visitor, upload, folder / "input"), folder / "moments"
    main(InferenceConfig(photo, output_dir=results, device=config.device))
    frames = sorted(results.glob("deblur_*.png"))
    gallery = [
        (shrunk(visitor, "moments", path, f"shown_{path.name}"), f"moment {place}")
        for place, path in enumerate(frames, 1)
    ]
    animation, strip, video = (
        show(visitor, "moments", results / name)
        for name in ("moments.gif", "strip.png", "moments.mp4")
    )
    return (
        animation,
        gallery,
        strip,
        [*(show(visitor, "moments", path) for path in frames), animation, strip, video],
    )


def pick_shots(
    config: AppConfig, visitor: Visitor, uploads: list[str] | None, keep: float
) -> tuple:
    """(before and after of the best, choice among the best, curve, contact sheet, table,
    downloads)
    """
    from methods.irp.config import InferenceConfig
    from methods.irp.inference import main
    from utils.video import is_video

    folder = visitor.start("pick")
    if any(is_video(Path(upload)) for upload in uploads or ()):
        if len(uploads) > 1:
            raise UserError("give several pictures, or one clip alone")
        shots, _ = take_clip(config, visitor, uploads[0], folder / "input")
    else:
        shots = folder / "input"
        if len(uploads or ()) > config.burst:
            raise UserError(
                f"{len(uploads)} pictures are too many: a burst has at most {config.burst} here "
                "(--burst)"
            )
        for number, upload in enumerate(uploads or [None], 1):
            take_photo(config, visitor, upload, shots, number)
    results, kept = folder / "picked", str(int(keep))
    main(
        InferenceConfig(
            shots,
            "select",
            ratio=1.0,
            keep=kept,
            restore=True,
            output_dir=results,
            device=config.device,
        )
    )
    rows = list(csv.DictReader((results / "scores.csv").read_text(encoding="utf-8").splitlines()))
    best = [row["name"] for row in rows if row["selected"] == "1"]
    table = [[row["rank"], row["name"], row["potential"], row.get("seconds", "")] for row in rows]
    curve = (
        show(visitor, "pick", results / "curve.png") if (results / "curve.png").exists() else None
    )
    choice = changed(choices=best, value=best[0], visible=len(best) > 1)
    downloads = [
        show(visitor, "pick", results / "restored" / f"{name}.png", f"{name}_restored.png")
        for name in best
    ]
    sheet = show(visitor, "pick", results / "contact_sheet.png")
    downloads += [show(visitor, "pick", results / "scores.csv"), sheet, *filter(None, [curve])]
    return show_picked(config, visitor, best[0]), choice, curve, sheet, table, downloads


def show_picked(config: AppConfig, visitor: Visitor, name: str) -> tuple[str, ...]:
    """One of the best shots, before and after."""
    results = visitor.work / "pick" / "picked"
    chosen = {path.stem: path for path in (results / "selected").glob("*")}
    if name not in chosen:
        raise UserError("these shots are not kept any more: pick again")
    visitor.start("picked")
    return compared(visitor, "picked", chosen[name], results / "restored" / f"{name}.png")


def make_blur(
    config: AppConfig,
    visitor: Visitor,
    upload: str | None,
    masks: list[str] | None,
    length: float,
    seed: float,
) -> tuple:
    """(blurry and sharp, objects and kernels, downloads)"""
    from methods.sbdd.config import GenerateConfig
    from methods.sbdd.generate import main

    folder = visitor.start("blur")
    if len(masks or ()) > MAX_OBJECTS:
        raise UserError(
            f"{len(masks)} masks are too many: give one for each of at most {MAX_OBJECTS} objects"
        )
    photo = take_photo(config, visitor, upload, folder / "pictures")
    for number, mask in enumerate(masks or (), 1):
        take_photo(config, visitor, mask, folder / "masks" / photo.stem, number)
    main(
        GenerateConfig(
            folder / "pictures",
            folder / "made",
            mask_path=folder / "masks" if masks else None,
            mask_kind="folders",
            max_objects=MAX_OBJECTS,
            min_object_area=0,
            min_img_size=0,
            kernel_size=2 * math.ceil(length) + 5,
            kernel_length=length,
            seed=int(seed),
        )
    )
    pair = [folder / "made" / kind / f"{photo.stem}_0.png" for kind in ("blurry", "sharp")]
    sheet = show(visitor, "blur", folder / "made" / "contact_sheet.png")
    downloads = [
        show(visitor, "blur", path, f"{photo.stem}_{path.parent.name}.png") for path in pair
    ]
    return compared(visitor, "blur", *pair), sheet, downloads


def take_photo(
    config: AppConfig, visitor: Visitor, upload: str | None, folder: Path, number: int | None = None
) -> Path:
    """An uploaded photo, not too large by its header."""
    from utils.image import EXTENSIONS, image_size

    if not upload:
        raise UserError("no photo yet: drop one first")
    photo = visitor.take(upload, folder, EXTENSIONS, number)
    height, width = image_size(photo)
    if height * width > config.photo_megapixels * 1e6:
        raise UserError(
            f"{photo.name} is {width}x{height}, {height * width / 1e6:.2f} megapixels: at most "
            f"{config.photo_megapixels:g} are taken here"
        )
    return photo


def take_clip(
    config: AppConfig, visitor: Visitor, upload: str | None, folder: Path
) -> tuple[Path, int]:
    """An uploaded clip, neither too long nor too large, and its number of frames; all are decoded
    once, as headers may be wrong.
    """
    from utils.video import EXTENSIONS, VideoFile

    if not upload:
        raise UserError("no clip yet: drop one first")
    clip = visitor.take(upload, folder, EXTENSIONS)
    video = VideoFile(clip)
    height, width = video.size
    if height * width > config.video_megapixels * 1e6:
        raise UserError(
            f"{clip.name} is {width}x{height}: frames of at most {config.video_megapixels:g} "
            "megapixels are taken here"
        )
    frames = sum(1 for _ in itertools.islice(video, config.video_frames + 1))
    if frames > config.video_frames:
        raise UserError(
            f"{clip.name} has more than {config.video_frames} frames, the most that are taken "
            "here: cut it"
        )
    return clip, frames


def changed(**properties: Any) -> dict:
    """What a field of the page becomes besides its value, as gr.update says it."""
    return {**properties, "__type__": "update"}


def show(visitor: Visitor, task: str, result: Path, name: str | None = None) -> str:
    """Put a result where the page finds it."""
    target = visitor.shown[task] / (name or result.name)
    os.link(result, target)
    return str(target)


def shrunk(visitor: Visitor, task: str, picture: Path, name: str) -> str:
    """Put a picture where the page finds it, upright, in 8 bits and of at most SHOWN_SIDE px."""
    from utils.image import read_8bit, resize_to, write_image

    target = visitor.shown[task] / name
    write_image(target, resize_to(read_8bit(picture), SHOWN_SIDE))
    return str(target)


def compared(visitor: Visitor, task: str, before: Path, after: Path) -> tuple[str, ...]:
    """Two pictures for a slider."""
    return shrunk(visitor, task, before, "before.png"), shrunk(visitor, task, after, "after.png")


def build(config: AppConfig, visitors: Visitors):
    """The page, a gr.Blocks."""
    os.environ["GRADIO_TEMP_DIR"] = str(visitors.root / SERVED)  # where gradio keeps uploads
    import gradio as gr

    from methods.image_deblur.inference import weights_at_hand
    from utils.device import choose_device
    from utils.image import EXTENSIONS as PICTURES
    from utils.video import EXTENSIONS as CLIPS

    def job(
        button: gr.Button, work: Callable, inputs: list, outputs: list, more: gr.Column
    ) -> None:
        """What a button starts; such jobs wait for each other. `more` is hidden until there are
        results.
        """
        once = {"concurrency_id": "job", "concurrency_limit": 1, "api_name": work.__name__}
        done = button.click(handler(partial(work, config), visitors), inputs, outputs, **once)
        done.success(lambda: gr.Column(visible=True), None, more, api_visibility="private")

    def choice(field: gr.Slider | gr.Dropdown, work: Callable, slider: gr.ImageSlider) -> None:
        """What choosing another frame or shot does; of a dragged slider only the last place
        counts.
        """
        latest = {
            "trigger_mode": "always_last",
            "api_name": work.__name__,
            "show_progress": "hidden",
        }
        field.input(handler(partial(work, config), visitors), field, slider, **latest)

    shown = {"format": "png", "type": "filepath", "interactive": False}
    compare, several = partial(gr.ImageSlider, **shown), {"file_count": "multiple"}
    picture = partial(
        gr.Image, **shown, show_label=False, buttons=[]
    )  # both would lie over the picture
    files = partial(gr.File, label="Download", interactive=False, **several)
    start = partial(gr.Button, variant="primary")
    choose_device(config.device)  # a mistake shows now
    networks = [path.name for path in weights_at_hand()]
    with gr.Blocks(title="Blurlab", analytics_enabled=False) as page:
        gr.Markdown(
            "# Blurlab\nRemoves, unfolds, judges and makes motion blur. Your files are removed "
            "when you close this page."
        )
        with gr.Tab("Video"), gr.Row():
            with gr.Column(scale=1):
                gr.Markdown(
                    f"Takes blur out of a clip of up to {config.video_frames} frames, with the "
                    "help of the neighbouring frames."
                )
                clip, button = upload("Clip", CLIPS), start("Restore")
            with gr.Column(scale=2):
                slider = compare(label="before | after")
                with gr.Column(visible=False) as more:
                    number = gr.Slider(0, 1, step=1, label="Frame", interactive=True)
                    outputs = [
                        slider,
                        number,
                        gr.Video(label="Restored clip", interactive=False),
                        files(),
                    ]
            job(button, restore_video, [clip], outputs, more)
            choice(number, show_frame, slider)
        with gr.Tab("Photo"), gr.Row():
            with gr.Column(scale=1):
                gr.Markdown(
                    "Takes blur out of a photo. Published weights that lie in `pretrain_models/` "
                    "are offered, too."
                )
                inputs = [
                    upload("Photo", PICTURES),
                    gr.Dropdown(networks, value=networks[0], label="Network"),
                ]
                button = start("Restore")
            with gr.Column(scale=2):
                slider = compare(label="before | after")
                with gr.Column(visible=False) as more:
                    outputs = [slider, files()]
            job(button, restore_photo, inputs, outputs, more)
        with gr.Tab("Moments"), gr.Row():
            with gr.Column(scale=1):
                gr.Markdown(
                    "Unfolds a blurry photo into seven moments of its exposure. Which was the "
                    "first, no picture can tell."
                )
                photo, button = upload("Blurry photo", PICTURES), start("Unfold")
            with gr.Column(scale=2):
                animation = picture()
                with gr.Column(visible=False) as more:
                    gallery = gr.Gallery(
                        columns=4,
                        object_fit="contain",
                        height="auto",
                        format="png",
                        show_label=False,
                        buttons=["fullscreen"],
                    )
                    outputs = [animation, gallery, picture(), files()]
            job(button, unfold_photo, [photo], outputs, more)
        with gr.Tab("Pick"), gr.Row():
            with gr.Column(scale=1):
                gr.Markdown(
                    "Ranks the pictures of a burst, or the frames of a clip, by how good "
                    "restoration will make them."
                )
                shots = upload("Pictures, or one clip", (*PICTURES, *CLIPS), **several)
                keep, button = (
                    gr.Slider(1, MAX_KEPT, 1, step=1, label="Restore the best"),
                    start("Pick"),
                )
            with gr.Column(scale=2):
                slider = compare(label="before | after")
                with gr.Column(visible=False) as more:
                    best, headers = (
                        gr.Dropdown(label="Shot", interactive=True),
                        ["place", "shot", "potential", "seconds"],
                    )
                    curve, sheet, table = (
                        picture(),
                        picture(),
                        gr.Dataframe(headers=headers, interactive=False),
                    )
                    outputs = [slider, best, curve, sheet, table, files()]
            job(button, pick_shots, [shots, keep], outputs, more)
            choice(best, show_picked, slider)
        with gr.Tab("Make blur"), gr.Row():
            with gr.Column(scale=1):
                gr.Markdown(
                    "Blurs a sharp photo as a moving camera would. What is white in a mask moves "
                    "on its own."
                )
                inputs = [
                    upload("Sharp photo", PICTURES),
                    upload("Masks, one per object (not needed)", PICTURES, **several),
                ]
                inputs += [gr.Slider(1, LONGEST_BLUR, 12, step=1, label="Length of the blur, px")]
                inputs += [
                    gr.Number(1, precision=0, minimum=0, label="Seed: another one, another motion")
                ]
                button = start("Blur")
            with gr.Column(scale=2):
                slider = compare(label="blurry | sharp")
                with gr.Column(visible=False) as more:
                    outputs = [slider, picture(), files()]
            job(button, make_blur, inputs, outputs, more)

        def leave(request: gr.Request) -> None:
            visitors.leave(request.session_hash)

        page.unload(leave)
    return page


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a job may be in the middle of arithmetic, which can't be waited for
