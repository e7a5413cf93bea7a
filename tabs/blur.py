"""The tab that makes blur."""

from pathlib import Path

from tabs.photo import look_at_photo
from utils.errors import UserError
from utils.web import fields
from utils.web.config import AppConfig
from utils.web.page import Events
from utils.web.results import compared, show, show_shrunk
from utils.web.uploads import take_photo, whole_number
from utils.web.visitors import Visitor

MAX_OBJECTS = 5  # masks of a picture
LONGEST_BLUR = 40  # px
PREVIEW_SIDE = 480  # px
TEXT = "Blurs a sharp photo as a moving camera would. What is white in a mask moves on its own."


def make_blur(
    config: AppConfig,
    visitor: Visitor,
    upload: str | None,
    masks: list[str] | None,
    length: float,
    seed: float,
) -> tuple:
    """(blurry and sharp, objects and kernels, downloads)."""
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
    results = _blur(folder, extent, seed, bool(masks))
    blurry = results / "blurry" / f"{photo.stem}_0.png"
    sharp = results / "sharp" / f"{photo.stem}_0.png"
    sheet = show(visitor, "blur", next(results.glob("contact_sheet.*")))
    downloads = [
        show(visitor, "blur", blurry, f"{photo.stem}_blurry.png"),
        show(visitor, "blur", sharp, f"{photo.stem}_sharp.png"),
    ]
    return compared(visitor, "blur", blurry, sharp), sheet, downloads


def preview_blur(
    config: AppConfig, visitor: Visitor, upload: str | None, length: float, seed: float
) -> str | None:
    """The middle of the photo, blurred by the very kernel of make_blur without masks."""
    from utils.image import read_8bit, write_image

    if not upload:
        return None
    extent = whole_number(length, 1, LONGEST_BLUR, "the length of the blur")
    seed = whole_number(seed, 0, 2**63 - 1, "the seed")
    folder = visitor.start("preview_blur")
    photo = take_photo(config, visitor, upload, folder / "whole")
    pixels = read_8bit(photo)
    side = PREVIEW_SIDE + 2 * extent + 4
    top, left = (max(size - side, 0) // 2 for size in pixels.shape[:2])
    middle = pixels[top : top + side, left : left + side]
    write_image(folder / "pictures" / f"{photo.stem}.png", middle)
    results = _blur(folder, extent, seed, False)
    blurry = results / "blurry" / f"{photo.stem}_0.png"
    return show_shrunk(visitor, "preview_blur", blurry, "preview.png")


def _blur(folder: Path, extent: int, seed: int, has_masks: bool) -> Path:
    """The folder of the pairs made of folder/pictures, perhaps with folder/masks."""
    from methods.sbdd.config import GenerateConfig
    from methods.sbdd.generate import main

    results = folder / "made"
    main(
        GenerateConfig(
            folder / "pictures",
            results,
            mask_path=folder / "masks" if has_masks else None,
            mask_kind="folders",
            max_objects=MAX_OBJECTS,
            min_object_area=0,
            min_img_size=0,
            kernel_size=2 * extent + 5,
            kernel_length=extent,
            seed=seed,
        )
    )
    return results


def look(config: AppConfig, visitor: Visitor, upload: str | None) -> str:
    """The photo."""
    return look_at_photo(config, visitor, upload, "look_at_sharp")


def example(config: AppConfig, visitor: Visitor) -> tuple[str, str]:
    """(upload, the photo): a sharp picture of the embedded sample."""
    from data.sample import sample_pictures

    upload = visitor.give(sample_pictures() / "chelsea.png")
    return upload, look(config, visitor, upload)


def build(events: Events) -> None:
    """The tab."""
    import gradio as gr

    from utils.image import EXTENSIONS

    tab = fields.Tab()
    with tab.named("Make blur"):
        with tab.inputs(TEXT):
            photo = fields.upload("Sharp photo", EXTENSIONS)
            tab.examples()
            length = gr.Slider(1, LONGEST_BLUR, 12, step=1, label="Length of the blur, px")
            seed = gr.Number(1, precision=0, minimum=0, label="Seed: another one, another motion")
            with gr.Accordion("Objects that move on their own", open=False):
                masks = fields.upload("Masks, one per object", EXTENSIONS, multiple=True)
            tab.buttons("Blur")
        with tab.outputs("your photo, or a preview of its middle"):
            divider = fields.divider("blurry | sharp")
            sheet = fields.picture()
            files = fields.downloads()
    events.on_upload_shown(tab, photo, look, [tab.shown])
    events.on_upload(masks)
    events.on_example(tab, example, [photo, tab.shown])
    events.on_click(tab, make_blur, [photo, masks, length, seed], [divider, sheet, files])
    events.on_choice([length, seed], preview_blur, tab.shown, [photo, length, seed], tab)
