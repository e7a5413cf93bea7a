"""The tab that restores a photo."""

from pathlib import Path

from tabs.networks import downloadable, image_networks
from utils.errors import UserError
from utils.web import fields
from utils.web.config import AppConfig
from utils.web.page import Events
from utils.web.results import compared, show, show_shrunk
from utils.web.uploads import take_photo
from utils.web.visitors import Visitor

TEXT = "Takes blur out of a photo."
EXAMPLE = "blur/astronaut"  # of the embedded sample


def restore_photo(
    config: AppConfig, visitor: Visitor, upload: str | None, weights: str, *applied
) -> tuple:
    """(before and after, downloads)."""
    from methods.image_deblur.config import InferenceConfig
    from methods.image_deblur.inference import main
    from restoration.image import WEIGHTS_FOLDER

    folder = visitor.start("photo")
    photo = take_photo(config, visitor, upload, folder / "input")
    if weights not in image_networks().values():
        raise UserError("choose a network of the list")
    results = folder / "restored"
    options = {"weights": WEIGHTS_FOLDER / weights, **dict(zip(fields.APPLIED, applied))}
    main(InferenceConfig(photo, output_dir=results, report=False, device=config.device, **options))
    restored = results / f"{photo.stem}.png"
    download = show(visitor, "photo", restored, f"{photo.stem}_restored.png")
    return compared(visitor, "photo", photo, restored), [download]


def look_at_photo(config: AppConfig, visitor: Visitor, upload: str | None, task: str) -> str:
    """An uploaded photo as it is shown at once."""
    folder = visitor.start(task)
    photo = take_photo(config, visitor, upload, folder)
    return show_shrunk(visitor, task, photo, "upload.png")


def look(config: AppConfig, visitor: Visitor, upload: str | None) -> str:
    """The photo."""
    return look_at_photo(config, visitor, upload, "look_at_photo")


def example(config: AppConfig, visitor: Visitor) -> tuple[str, str]:
    """(upload, the photo): a blurry frame of the embedded sample."""
    from data.sample import sample_folder

    frames = sorted((sample_folder() / EXAMPLE).iterdir())
    upload = visitor.give(frames[len(frames) // 2], f"{Path(EXAMPLE).name}.png")
    return upload, look(config, visitor, upload)


def build(events: Events) -> None:
    """The tab."""
    import gradio as gr

    from utils.image import EXTENSIONS

    networks = image_networks()
    tab = fields.Tab()
    with tab.named("Photo"):
        with tab.inputs(TEXT):
            photo = fields.upload("Photo", EXTENSIONS)
            tab.examples()
            names = list(networks.items())
            network = gr.Dropdown(names, value=names[0][1], label="Network")
            applied = fields.applied("Only blurred areas")
            tab.buttons("Restore")
            with gr.Accordion("More networks", open=False):
                gr.Markdown(downloadable())
        with tab.outputs("your photo"):
            divider = fields.divider("before | after")
            files = fields.downloads()
    events.on_upload_shown(tab, photo, look, [tab.shown])
    events.on_example(tab, example, [photo, tab.shown])
    events.on_click(tab, restore_photo, [photo, network, *applied], [divider, files])
