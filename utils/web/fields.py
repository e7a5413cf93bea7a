"""Fields of the page and the columns they stand in. Gradio is imported when it is needed.

A tab has one shape: inputs and a button at the left, results at the right, which but for the first
one are hidden until there are some:

    with fields.tab("Photo"):
        with fields.inputs("Takes blur out of a photo."):
            photo = fields.upload("Photo", EXTENSIONS)
            button = fields.start_button("Restore")
        with fields.results():
            divider = fields.divider("before | after")
            with fields.hidden_results() as more:
                files = fields.downloads()
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
_SHOWN = {"format": "png", "type": "filepath", "interactive": False}


@contextmanager
def tab(title: str) -> Iterator[None]:
    """A tab whose columns stand side by side."""
    import gradio as gr

    with gr.Tab(title), gr.Row():
        yield


@contextmanager
def inputs(text: str) -> Iterator[None]:
    """The left column: a text, and below it the inputs and the button."""
    import gradio as gr

    with gr.Column(scale=1):
        gr.Markdown(text)
        yield


@contextmanager
def results() -> Iterator[None]:
    """The right column, twice as wide."""
    import gradio as gr

    with gr.Column(scale=2):
        yield


def hidden_results() -> "gr.Column":
    """Further results, hidden until there are some."""
    import gradio as gr

    return gr.Column(visible=False)


def applied(only_blurry: str) -> "list[gr.Component]":
    """The fields of the options APPLIED; the label of the last is given."""
    import gradio as gr

    return [
        gr.Dropdown(_SCALES, value="auto", label="Size at which it is restored"),
        gr.Slider(0, 1.5, 1, step=0.05, label="Strength"),
        gr.Checkbox(False, label=only_blurry),
    ]


def upload(label: str, endings: Sequence[str], multiple: bool = False) -> "gr.File":
    """A field for one or several files.

    It refuses addresses, which gradio would fetch: only uploads are taken.
    """
    import gradio as gr

    count = "multiple" if multiple else "single"
    field = gr.File(label=label, file_types=list(endings), file_count=count)
    keep = field.async_move_resource_to_block_cache

    async def keep_upload(path: str) -> str:
        if re.match(r"\w+:", str(path)):
            raise gr.Error("Only uploaded files are taken.", print_exception=False)
        return await keep(path)

    field.async_move_resource_to_block_cache = keep_upload
    return field


def start_button(label: str) -> "gr.Button":
    """The button that starts a tab's work."""
    import gradio as gr

    return gr.Button(label, variant="primary")


def divider(label: str) -> "gr.ImageSlider":
    """Two pictures under a divider that is dragged."""
    import gradio as gr

    return gr.ImageSlider(label=label, **_SHOWN)


def picture() -> "gr.Image":
    """A picture without label and buttons, which would lie over it."""
    import gradio as gr

    return gr.Image(show_label=False, buttons=[], **_SHOWN)


def downloads() -> "gr.File":
    """Files to download."""
    import gradio as gr

    return gr.File(label="Download", interactive=False, file_count="multiple")
