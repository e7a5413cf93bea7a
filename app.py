"""The same inference behind a web page: python app.py [--host H] [--port P] [--device D]

Every tab builds the configuration of a method and calls the main(config) that its command calls.
Where files lie: utils/web/visitors.py; what stands between gradio and the work: utils/web/page.py
and fields.py.
"""

import csv
import itertools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from utils.config import parse
from utils.errors import UserError
from utils.web import fields
from utils.web.config import AppConfig
from utils.web.page import Events, serve
from utils.web.results import changed, compared, show, show_shrunk
from utils.web.uploads import take_clip, take_photo, take_shots, whole_number
from utils.web.visitors import SERVED, Visitor, Visitors, private_folder

if TYPE_CHECKING:
    import gradio as gr

MAX_KEPT = 5  # shots that are restored
MAX_OBJECTS = 5  # masks of a picture
LONGEST_BLUR = 40  # px


def main() -> int:
    """Serve the page until Ctrl-C or SIGTERM; returns the exit status."""
    try:
        config = parse(AppConfig, "", "app", sys.argv[1:])
        with private_folder() as root:
            # Shells have SIGINT ignored in the background.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            visitors = Visitors(root, config.keep_minutes * 60, config.total_gb)
            page = build(config, visitors)
            hosts = config.allowed_host or ()
            serve(page, visitors, config.host, config.port, config.upload_mb, hosts)
            threading.Event().wait()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped")
        return 0


def restore_video(config: AppConfig, visitor: Visitor, upload: str | None, *applied) -> tuple:
    """(before and after, slider of frames, video, downloads)."""
    from methods.video_deblur.config import InferenceConfig
    from methods.video_deblur.inference import main

    folder = visitor.start("video")
    clip, frames = take_clip(config, visitor, upload, folder / "input")
    results = folder / "restored"
    chosen = {"output_dir": results, **dict(zip(fields.APPLIED, applied))}
    main(InferenceConfig(clip, report=False, device=config.device, **chosen))
    video = show(visitor, "video", results / f"{clip.stem}.mp4", f"{clip.stem}_restored.mp4")
    choice = changed(maximum=frames - 1, value=frames // 2, visible=frames > 1)
    return show_frame(config, visitor, frames // 2), choice, video, [video]


def show_frame(config: AppConfig, visitor: Visitor, number: float) -> tuple[str, ...]:
    """A frame of the clip, before and after."""
    from utils.image import write_image
    from utils.video import VideoFile, is_video

    position = whole_number(number, 0, config.video_frames - 1, "the frame")
    visitor.start("frame")
    targets = []
    for part in ("input", "restored"):
        file = next(filter(is_video, (visitor.work / "video" / part).glob("*")), None)
        if file is None:
            raise UserError("the clip is not kept any more: restore it again")
        video = VideoFile(file, as_bt709=True)
        frame = next(itertools.islice(video, position, None), None)
        if frame is None:
            raise UserError(f"the clip has no frame {position}")
        target = visitor.shown["frame"] / f"{part}.png"
        write_image(target, frame)
        targets.append(str(target))
    return tuple(targets)


def restore_photo(config: AppConfig, visitor: Visitor, upload: str | None, *chosen) -> tuple:
    """(before and after, downloads); chosen: weights, and the values of fields.APPLIED."""
    from methods.image_deblur.config import InferenceConfig
    from methods.image_deblur.inference import main
    from restoration.image import WEIGHTS_FOLDER, image_weights_at_hand

    folder = visitor.start("photo")
    photo = take_photo(config, visitor, upload, folder / "input")
    if chosen[0] not in [path.name for path in image_weights_at_hand()]:
        raise UserError("choose a network of the list")
    results = folder / "restored"
    options = {"weights": WEIGHTS_FOLDER / chosen[0], **dict(zip(fields.APPLIED, chosen[1:]))}
    main(InferenceConfig(photo, output_dir=results, report=False, device=config.device, **options))
    restored = results / f"{photo.stem}.png"
    download = show(visitor, "photo", restored, f"{photo.stem}_restored.png")
    return compared(visitor, "photo", photo, restored), [download]


def unfold_photo(config: AppConfig, visitor: Visitor, upload: str | None) -> tuple:
    """(animation, seven sharp frames, strip, downloads)."""
    from methods.blur2vid.config import InferenceConfig
    from methods.blur2vid.inference import main

    folder = visitor.start("unfold")
    photo = take_photo(config, visitor, upload, folder / "input")
    results = folder / "sequence"
    main(InferenceConfig(photo, output_dir=results, device=config.device))
    gallery = []
    downloads = []
    for number, path in enumerate(sorted(results.glob("deblur_*.png")), 1):
        shown = show_shrunk(visitor, "unfold", path, f"shown_{path.name}")
        gallery.append((shown, f"sharp frame {number}"))
        downloads.append(show(visitor, "unfold", path))
    animation = show(visitor, "unfold", results / "moments.gif")
    strip = show(visitor, "unfold", results / "strip.png")
    video = show(visitor, "unfold", results / "moments.mp4")
    return animation, gallery, strip, [*downloads, animation, strip, video]


def pick_shots(
    config: AppConfig, visitor: Visitor, uploads: list[str] | None, keep: float
) -> tuple:
    """(before and after of the best, choice of the best, curve, contact sheet, table, downloads).

    The curve is None where there is only one shot.
    """
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
    best = [row["name"] for row in rows if row["selected"] == "1"]
    table = [[row["rank"], row["name"], row["potential"], row.get("seconds", "")] for row in rows]
    choice = changed(choices=best, value=best[0], visible=len(best) > 1)
    downloads = []
    for name in best:
        path = results / "restored" / f"{name}.png"
        downloads.append(show(visitor, "pick", path, f"{name}_restored.png"))
    sheet = show(visitor, "pick", results / "contact_sheet.png")
    downloads += [show(visitor, "pick", results / "scores.csv"), sheet]
    curve = None
    if (results / "curve.png").exists():
        curve = show(visitor, "pick", results / "curve.png")
        downloads.append(curve)
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
    """(blurry and sharp, objects and kernels, downloads)."""
    from methods.sbdd.config import GenerateConfig
    from methods.sbdd.generate import main

    masks = masks or []
    extent = whole_number(length, 1, LONGEST_BLUR, "the length of the blur")
    seed = whole_number(seed, 0, 2**63 - 1, "the seed")
    folder = visitor.start("blur")
    if len(masks) > MAX_OBJECTS:
        raise UserError(
            f"{len(masks)} masks are too many: give one for each of at most {MAX_OBJECTS} objects"
        )
    photo = take_photo(config, visitor, upload, folder / "pictures")
    for number, mask in enumerate(masks, 1):
        take_photo(config, visitor, mask, folder / "masks" / photo.stem, number)
    results = folder / "made"
    main(
        GenerateConfig(
            folder / "pictures",
            results,
            mask_path=folder / "masks" if masks else None,
            mask_kind="folders",
            max_objects=MAX_OBJECTS,
            min_object_area=0,
            min_img_size=0,
            kernel_size=2 * extent + 5,
            kernel_length=extent,
            seed=seed,
        )
    )
    blurry = results / "blurry" / f"{photo.stem}_0.png"
    sharp = results / "sharp" / f"{photo.stem}_0.png"
    sheet = show(visitor, "blur", results / "contact_sheet.png")
    downloads = [
        show(visitor, "blur", blurry, f"{photo.stem}_blurry.png"),
        show(visitor, "blur", sharp, f"{photo.stem}_sharp.png"),
    ]
    return compared(visitor, "blur", blurry, sharp), sheet, downloads


def build(config: AppConfig, visitors: Visitors) -> "gr.Blocks":
    """The page."""
    os.environ["GRADIO_TEMP_DIR"] = str(visitors.root / SERVED)  # where gradio keeps uploads
    import gradio as gr

    from utils.device import choose_device

    choose_device(config.device)  # a mistake shows now
    events = Events(config, visitors)

    def leave(request: gr.Request) -> None:
        visitors.leave(request.session_hash)

    with gr.Blocks(title="Blurlab", analytics_enabled=False) as page:
        gr.Markdown(
            "# Blurlab\nRemoves, unfolds, judges and makes motion blur. Your files are removed "
            "when you close this page."
        )
        _video_tab(events, config.video_frames)
        _photo_tab(events)
        _sequence_tab(events)
        _pick_tab(events)
        _blur_tab(events)
        page.unload(leave)
    return page


def _video_tab(events: Events, max_frames: int) -> None:
    import gradio as gr

    from utils.video import EXTENSIONS

    text = (
        f"Takes blur out of a clip of up to {max_frames} frames, with the help of the "
        "neighbouring frames."
    )
    with fields.tab("Video"):
        with fields.inputs(text):
            clip = fields.upload("Clip", EXTENSIONS)
            applied = fields.applied("Only blurred frames")
            button = fields.start_button("Restore")
        with fields.results():
            divider = fields.divider("before | after")
            with fields.hidden_results() as more:
                number = gr.Slider(0, 1, step=1, label="Frame", interactive=True)
                video = gr.Video(label="Restored clip", interactive=False)
                files = fields.downloads()
    events.on_click(button, restore_video, [clip, *applied], [divider, number, video, files], more)
    events.on_choice(number, show_frame, divider)


def _photo_tab(events: Events) -> None:
    import gradio as gr

    from restoration.image import image_weights_at_hand
    from utils.image import EXTENSIONS

    networks = [path.name for path in image_weights_at_hand()]
    text = (
        "Takes blur out of a photo. Published weights that lie in `pretrain_models/` are offered, "
        "too."
    )
    with fields.tab("Photo"):
        with fields.inputs(text):
            photo = fields.upload("Photo", EXTENSIONS)
            network = gr.Dropdown(networks, value=networks[0], label="Network")
            applied = fields.applied("Only blurred places")
            button = fields.start_button("Restore")
        with fields.results():
            divider = fields.divider("before | after")
            with fields.hidden_results() as more:
                files = fields.downloads()
    events.on_click(button, restore_photo, [photo, network, *applied], [divider, files], more)


def _sequence_tab(events: Events) -> None:
    import gradio as gr

    from utils.image import EXTENSIONS

    text = (
        "Unfolds a blurry photo into seven sharp frames of its exposure. Which was the first, no "
        "picture can tell."
    )
    with fields.tab("Sharp frames"):
        with fields.inputs(text):
            photo = fields.upload("Blurry photo", EXTENSIONS)
            button = fields.start_button("Unfold")
        with fields.results():
            animation = fields.picture()
            with fields.hidden_results() as more:
                gallery = gr.Gallery(
                    columns=4,
                    object_fit="contain",
                    height="auto",
                    format="png",
                    show_label=False,
                    buttons=["fullscreen"],
                )
                strip = fields.picture()
                files = fields.downloads()
    events.on_click(button, unfold_photo, [photo], [animation, gallery, strip, files], more)


def _pick_tab(events: Events) -> None:
    import gradio as gr

    from utils.image import EXTENSIONS as PICTURES
    from utils.video import EXTENSIONS as CLIPS

    text = (
        "Ranks the pictures of a burst, or the frames of a clip, by how good restoration will make "
        "them."
    )
    headers = ["rank", "shot", "potential", "seconds"]
    with fields.tab("Pick"):
        with fields.inputs(text):
            shots = fields.upload("Pictures, or one clip", (*PICTURES, *CLIPS), multiple=True)
            keep = gr.Slider(1, MAX_KEPT, 1, step=1, label="Restore the best")
            button = fields.start_button("Pick")
        with fields.results():
            divider = fields.divider("before | after")
            with fields.hidden_results() as more:
                best = gr.Dropdown(label="Shot", interactive=True)
                curve = fields.picture()
                sheet = fields.picture()
                table = gr.Dataframe(headers=headers, interactive=False)
                files = fields.downloads()
    results = [divider, best, curve, sheet, table, files]
    events.on_click(button, pick_shots, [shots, keep], results, more)
    events.on_choice(best, show_picked, divider)


def _blur_tab(events: Events) -> None:
    import gradio as gr

    from utils.image import EXTENSIONS

    text = "Blurs a sharp photo as a moving camera would. What is white in a mask moves on its own."
    with fields.tab("Make blur"):
        with fields.inputs(text):
            photo = fields.upload("Sharp photo", EXTENSIONS)
            masks = fields.upload("Masks, one per object (not needed)", EXTENSIONS, multiple=True)
            length = gr.Slider(1, LONGEST_BLUR, 12, step=1, label="Length of the blur, px")
            seed = gr.Number(1, precision=0, minimum=0, label="Seed: another one, another motion")
            button = fields.start_button("Blur")
        with fields.results():
            divider = fields.divider("blurry | sharp")
            with fields.hidden_results() as more:
                sheet = fields.picture()
                files = fields.downloads()
    events.on_click(button, make_blur, [photo, masks, length, seed], [divider, sheet, files], more)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a job may be in the middle of arithmetic, which can't be waited for
