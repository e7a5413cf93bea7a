"""The tab that restores a clip."""

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.web import fields
from utils.web.config import AppConfig
from utils.web.page import Events
from utils.web.results import changed, played_together, show, show_shrunk
from utils.web.uploads import clip_in_words, fits, take_clip, whole_number
from utils.web.visitors import Cancelled, Visitor

if TYPE_CHECKING:
    from utils.video import VideoFile

TEXT = "Takes blur out of a clip, with the help of the neighbouring frames."
EXAMPLE = "astronaut"  # of the embedded sample


def restore_video(
    config: AppConfig,
    visitor: Visitor,
    upload: str | None,
    fit: bool = False,
    start: float = 0,
    *applied,
) -> tuple:
    """(before and after, slider of frames, player, downloads).

    fit: a clip that is too long or too large is cut, from `start` seconds on, and shrunk. When it
    is cancelled, the frames that are done are kept.
    """
    from methods.video_deblur.config import InferenceConfig
    from methods.video_deblur.inference import main
    from utils.video import VideoFile

    folder = visitor.start("video")
    part = start if fit else None
    clip, frames = take_clip(config, visitor, upload, folder / "input", part)
    results = folder / "restored"
    options = dict(zip(fields.APPLIED, applied))
    restored = results / f"{clip.stem}.mp4"
    name = f"{clip.stem}_restored.mp4"
    try:
        main(
            InferenceConfig(clip, output_dir=results, report=False, device=config.device, **options)
        )
    except Cancelled:
        partial = results / f"{clip.stem}.partial.mp4"
        if visitor.gone or not partial.exists():
            raise
        visitor.cancelled.discard("restore_video")
        partial.rename(restored)
        frames = sum(1 for _ in VideoFile(restored))
        name = f"{clip.stem}_first_{frames}_frames_restored.mp4"
    download = show(visitor, "video", restored, name)
    rate = float(VideoFile(clip).properties.rate)
    player = played_together(visitor, "video", clip, restored, rate)
    choice = changed(maximum=frames - 1, value=frames // 2, visible=frames > 1)
    return show_frame(config, visitor, frames // 2), choice, player, [download]


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


def look_at_clip(config: AppConfig, visitor: Visitor, upload: str | None) -> tuple:
    """(first frame, and what offered_part says)."""
    from utils.video import EXTENSIONS, VideoFile

    folder = visitor.start("look_at_clip")
    path = visitor.take(upload, folder / "input", EXTENSIONS)
    video = VideoFile(path, as_bt709=True)
    first = next(iter(video))
    shown = show_shrunk(visitor, "look_at_clip", first, "first.png")
    return shown, *offered_part(config, video)


def offered_part(config: AppConfig, video: "VideoFile") -> tuple:
    """(what a clip is, whether to cut and shrink it, from which second on), for fields.part."""
    too_large = not fits(config, video)
    offered = changed(visible=too_large, value=too_large)
    return clip_in_words(config, video), offered, changed(visible=too_large, value=0)


def example(config: AppConfig, visitor: Visitor) -> tuple:
    """(upload, and what look_at_clip gives): a clip of the embedded sample."""
    from data.sample import sample_folder
    from utils.image import read_image
    from utils.video_writer import NewVideo, VideoWriter

    folder = visitor.start("example_clip")
    frames = [read_image(path) for path in sorted((sample_folder() / "blur" / EXAMPLE).iterdir())]
    path = folder / f"{EXAMPLE}.mp4"
    with VideoWriter(path, NewVideo(frames[0].shape[:2], Fraction(12))) as writer:
        for time, frame in enumerate(frames):
            writer.write(frame, time)
    upload = visitor.give(path)
    return upload, *look_at_clip(config, visitor, upload)


def build(events: Events) -> None:
    """The tab."""
    import gradio as gr

    from utils.video import EXTENSIONS

    tab = fields.Tab()
    with tab.named("Video"):
        with tab.inputs(TEXT):
            clip = fields.upload("Clip", EXTENSIONS)
            tab.examples()
            part = fields.part()
            applied = fields.applied("Only blurred frames")
            tab.buttons("Restore")
        with tab.outputs("first frame"):
            divider = fields.divider("before | after")
            number = gr.Slider(0, 1, step=1, label="Frame", interactive=True)
            player = fields.player("before | after")
            files = fields.downloads()
    seen = [tab.shown, *part]
    events.on_upload_shown(tab, clip, look_at_clip, seen)
    events.on_example(tab, example, [clip, *seen])
    inputs = [clip, *part[1:], *applied]
    events.on_click(tab, restore_video, inputs, [divider, number, player, files])
    events.on_choice(number, show_frame, divider)
