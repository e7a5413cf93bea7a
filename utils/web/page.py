"""Between gradio and the work: what fields start, errors as sentences, nothing from elsewhere.

Gradio is imported when it is needed.
"""

import html
import re
import traceback
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config import ROOT
from utils.errors import UserError
from utils.web.shield import Shield
from utils.web.turns import JOBS, take_turns, waiting
from utils.web.visitors import Visitor, Visitors

if TYPE_CHECKING:
    import gradio as gr

MAX_WAITING = 20  # jobs in the queue
MAX_OF_A_VISITOR = 3  # of them, and the one that runs


class Events:
    """Connects fields with work(config, visitor, value of every input), in the API by its name."""

    def __init__(self, config: Any, visitors: Visitors):
        self.config = config
        self.visitors = visitors

    def on_click(
        self, button: "gr.Button", work: Callable, inputs: list, outputs: list, more: "gr.Column"
    ) -> None:
        """What a button starts; such jobs wait for each other.

        more: the column that is hidden until there are results. Files of the inputs become the
        visitor's as soon as they are uploaded, so that they go with them.
        """
        import gradio as gr

        for field in inputs:
            if isinstance(field, gr.File):
                keep = handler(claim, self.visitors)
                field.upload(keep, field, None, api_visibility="private", show_progress="hidden")
        done = button.click(
            handler(partial(work, self.config), self.visitors),
            inputs,
            outputs,
            api_name=work.__name__,
            concurrency_id=JOBS,
            concurrency_limit=1,
        )
        done.success(lambda: gr.Column(visible=True), None, more, api_visibility="private")

    def on_choice(
        self, field: "gr.Slider | gr.Dropdown", work: Callable, output: "gr.ImageSlider"
    ) -> None:
        """What choosing another value does; of a dragged slider only the last value counts."""
        field.input(
            handler(partial(work, self.config), self.visitors),
            field,
            output,
            api_name=work.__name__,
            trigger_mode="always_last",
            show_progress="hidden",
        )


def handler(work: Callable, visitors: Visitors) -> Callable:
    """work(visitor, ...) as gradio calls it; whatever goes wrong is told in a sentence."""
    import gradio as gr

    # B008: gradio looks for this default.
    def handle(request: gr.Request, progress=gr.Progress(track_tqdm=True), *values):  # noqa: B008
        with visitors.at_work(request.session_hash) as visitor:
            advance = progress.update

            def advance_or_stop(steps: float | None = 1) -> None:
                if visitor.gone:
                    raise UserError("stopped: the visitor has gone")
                advance(steps)

            progress.update = advance_or_stop  # called per frame, shot and tile
            try:
                visitors.check_room()
                return work(visitor, *values)
            except UserError as error:
                message = plain(error, visitors.root)
                raise gr.Error(message, duration=20, print_exception=False) from None
            except Exception:
                if not visitor.gone:  # else it is the files that are missing
                    traceback.print_exc()
                message = "This did not work; the reason stands in the server's log."
                raise gr.Error(message, print_exception=False) from None

    return handle


def claim(visitor: Visitor, uploads: str | list[str] | None) -> None:
    """Make uploads a visitor's."""
    for upload in [uploads] if isinstance(uploads, str) else uploads or []:
        visitor.claim(upload)


def plain(error: UserError, root: Path) -> str:
    """An error's sentence as HTML, without the server's folders."""
    folders = "|".join(re.escape(str(folder)) for folder in (root, ROOT))
    return html.escape(re.sub(rf"(?:{folders})/(?:\S*/)?", "", str(error)))


def serve(
    page: "gr.Blocks",
    visitors: Visitors,
    host: str,
    port: int,
    upload_mb: int,
    allowed_hosts: Collection[str] = (),
) -> None:
    """Serve the page to whoever reaches the address, from threads of its own.

    Files of at most upload_mb are taken. allowed_hosts: see utils/web/shield.py.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    theme = gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    page.queue(max_size=MAX_WAITING)
    queue = page._queue  # gradio has no public name for it
    for function in page.fns.values():
        queue.create_event_queue_for_fn(function)
    take_turns(queue)
    shield = Middleware(
        Shield,
        allowed_hosts=[*allowed_hosts, host],
        waiting=partial(waiting, queue),
        max_waiting=MAX_OF_A_VISITOR,
        uploaded=visitors.uploaded,
    )
    try:
        page.launch(
            theme=theme,
            server_name=host,
            server_port=port,
            max_file_size=f"{upload_mb}mb",
            app_kwargs={"middleware": [shield]},
            prevent_thread_lock=True,
            footer_links=[],
            quiet=True,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            run_history=False,  # would keep results in the browser
            enable_monitoring=False,
        )
    except OSError as error:
        raise UserError(
            f"can't listen on port {port} of {host}, choose another --port ({error})"
        ) from error
    print(f"open {page.local_url} in a browser; Ctrl-C stops", flush=True)
