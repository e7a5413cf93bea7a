"""Fields of the page and the columns they stand in. Gradio is imported when it is needed.

A tab has one shape: inputs and a button at the left; at the right what was uploaded, and in its
column, when there are some, the results:

    tab = Tab()
    with tab.named("Photo"):
        with tab.inputs("Takes blur out of a photo."):
            photo = fields.upload("Photo", EXTENSIONS)
            tab.buttons("Restore")
        with tab.outputs("Your photo"):
            divider = fields.divider("before | after")
            files = fields.downloads()
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from utils.templates import FOLDER

if TYPE_CHECKING:
    import gradio as gr

APPLIED = ("scale", "strength", "only_blurry")  # options whose fields `applied` makes
_SCALES = [
    ("automatic, by the length of the blur", "auto"),
    ("mean of three sizes", "mean"),
    ("full size", "1"),
    ("half size", "0.5"),
    ("quarter size, for very long blur", "0.25"),
]
_HERE = Path(__file__).parent
STYLE = _HERE / "style.css"
_SHOWN = {"format": "png", "type": "filepath", "interactive": False}


class Tab:
    """A tab and what all tabs have.

    start, cancel, example: its buttons. shown: what was uploaded, in the column `preview`. results:
    the column that is hidden until there are some.
    """

    start: "gr.Button"
    cancel: "gr.Button"
    example: "gr.Button"
    shown: "gr.Image | gr.Gallery"
    preview: "gr.Column"
    results: "gr.Column"

    @contextmanager
    def named(self, title: str) -> Iterator[None]:
        """The tab, whose columns stand side by side."""
        import gradio as gr

        with gr.Tab(title), gr.Row():
            yield

    @contextmanager
    def inputs(self, text: str) -> Iterator[None]:
        """The left column: a text, and below it the inputs and the buttons."""
        import gradio as gr

        with gr.Column(scale=1, min_width=300):
            gr.Markdown(text)
            yield

    def examples(self) -> None:
        """A button that takes the embedded sample."""
        import gradio as gr

        self.example = gr.Button("Try an example", size="sm", elem_classes="example")

    def buttons(self, label: str) -> None:
        """The buttons that start the tab's work and end it early."""
        import gradio as gr

        self.start = gr.Button(label, variant="primary")
        self.cancel = gr.Button("Cancel", visible=False)

    @contextmanager
    def outputs(self, label: str, several: bool = False) -> Iterator[None]:
        """The right column, twice as wide: what was uploaded (of its label), then the block's."""
        import gradio as gr

        with gr.Column(scale=2, min_width=300):
            with gr.Column() as self.preview:
                if several:
                    self.shown = gallery(label)
                else:
                    self.shown = gr.Image(label=label, buttons=[], elem_classes="still", **_SHOWN)
            with gr.Column(visible=False) as self.results:
                yield


def applied(only_blurry: str) -> "list[gr.Component]":
    """The fields of the options APPLIED; the label of the last is given."""
    import gradio as gr

    with gr.Accordion("More options", open=False):
        return [
            gr.Dropdown(_SCALES, value="auto", label="Size at which it is restored"),
            gr.Slider(0, 1.5, 1, step=0.05, label="Strength"),
            gr.Checkbox(False, label=only_blurry),
        ]


def part() -> "list[gr.Component]":
    """What an uploaded clip is, whether it is cut and shrunk, and from which second on."""
    import gradio as gr

    return [
        gr.Markdown(elem_classes="note"),
        gr.Checkbox(False, label="Cut and shrink it so that it fits", visible=False),
        gr.Number(0, minimum=0, label="From this second on", visible=False),
    ]


def upload(label: str, endings: Sequence[str], multiple: bool = False) -> "gr.File":
    """A field for one or several files.

    It refuses addresses, which gradio would fetch: only uploads are taken.
    """
    import gradio as gr

    count = "multiple" if multiple else "single"
    field = gr.File(label=label, file_types=list(endings), file_count=count, height=120)
    keep = field.async_move_resource_to_block_cache

    async def keep_upload(path: str) -> str:
        if re.match(r"\w+:", str(path)):
            raise gr.Error("Only uploaded files are taken.", print_exception=False)
        return await keep(path)

    field.async_move_resource_to_block_cache = keep_upload
    return field


def divider(label: str) -> "gr.ImageSlider":
    """Two pictures under a divider that is dragged."""
    import gradio as gr

    return gr.ImageSlider(label=label, **_SHOWN)


def picture() -> "gr.Image":
    """A picture without label and buttons, which would lie over it."""
    import gradio as gr

    return gr.Image(show_label=False, buttons=[], **_SHOWN)


def gallery(label: str) -> "gr.Gallery":
    """Several pictures."""
    import gradio as gr

    return gr.Gallery(
        label=label,
        elem_classes="shots",
        columns=4,
        object_fit="contain",
        height="auto",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
    )


def player(label: str) -> "gr.HTML":
    """Two videos that play together under a divider, or a picture and frames that are played.

    Its value is made by utils/web/results.py: played_together, played_frames.
    """
    import gradio as gr

    parts = {
        name: (_HERE / f"player.{name}").read_text(encoding="utf-8")
        for name in ("html", "css", "js")
    }
    divider_style = (FOLDER / "divider.css").read_text(encoding="utf-8")
    return gr.HTML(
        label=label,
        html_template=parts["html"],
        css_template=divider_style + parts["css"],
        js_on_load=parts["js"],
    )


def downloads() -> "gr.File":
    """Files to download."""
    import gradio as gr

    return gr.File(label="Download", interactive=False, file_count="multiple")
