"""The tab that turns a blurry photo into sharp frames."""

from tabs.photo import look_at_photo
from utils.web import fields
from utils.web.config import AppConfig
from utils.web.page import Events
from utils.web.results import played_frames, zipped
from utils.web.uploads import take_photo
from utils.web.visitors import Visitor

TEXT = (
    "Unfolds a blurry photo into seven sharp frames of its exposure. Which was the first, no "
    "picture can tell."
)


def unfold_photo(config: AppConfig, visitor: Visitor, upload: str | None) -> tuple:
    """(player of the seven sharp frames beside the photo, downloads)."""
    from methods.blur2vid.config import InferenceConfig
    from methods.blur2vid.inference import main

    folder = visitor.start("unfold")
    photo = take_photo(config, visitor, upload, folder / "input")
    results = folder / "sequence"
    main(InferenceConfig(photo, output_dir=results, report=False, device=config.device))
    frames = sorted(results.glob("deblur_*.png"))
    player = played_frames(visitor, "unfold", photo, frames, ("blurry", "sharp frames"))
    also = [results / name for name in ("moments.gif", "moments.mp4", "strip.png")]
    archive = zipped(visitor, "unfold", [*frames, *also], f"{photo.stem}_sharp_frames.zip")
    return player, [archive]


def look(config: AppConfig, visitor: Visitor, upload: str | None) -> str:
    """The photo."""
    return look_at_photo(config, visitor, upload, "look_at_blurry")


def example(config: AppConfig, visitor: Visitor) -> tuple[str, str]:
    """(upload, the photo): a blurry picture of the embedded sample."""
    from data.sample import sequences_or_sample

    blurry = sequences_or_sample(None).of("test")[0].blurry
    upload = visitor.give(blurry, "example.png")
    return upload, look(config, visitor, upload)


def build(events: Events) -> None:
    """The tab."""
    from utils.image import EXTENSIONS

    tab = fields.Tab()
    with tab.named("Sharp frames"):
        with tab.inputs(TEXT):
            photo = fields.upload("Blurry photo", EXTENSIONS)
            tab.examples()
            tab.buttons("Unfold")
        with tab.outputs("your photo"):
            player = fields.player("blurry | sharp frames")
            files = fields.downloads()
    events.on_upload_shown(tab, photo, look, [tab.shown])
    events.on_example(tab, example, [photo, tab.shown])
    events.on_click(tab, unfold_photo, [photo], [player, files])
