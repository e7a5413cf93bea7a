"""Between gradio and the work: what fields start, errors as sentences, nothing from elsewhere.

Gradio is imported when it is needed.
"""

import html
import re
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config import ROOT
from utils.errors import UserError
from utils.progress import Progress, heard
from utils.web.fields import STYLE, Tab
from utils.web.shield import Shield
from utils.web.turns import JOBS, take_turns, waiting
from utils.web.visitors import Cancelled, Visitor, Visitors

if TYPE_CHECKING:
    import gradio as gr
    from gradio.components import Component

MAX_WAITING = 20  # jobs in the queue
MAX_OF_A_VISITOR = 3  # of them, and the one that runs
AT_ONCE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Events:
    """Connects fields with work(config, visitor, value of every input), in the API by its name."""

    def __init__(self, config: Any, visitors: Visitors):
        self.config = config
        self.visitors = visitors

    def on_upload(self, field: "gr.File") -> None:
        """An upload becomes the visitor's at once, so that it goes with the visitor."""
        work = handler(claim, self.visitors, fills=True)
        field.upload(work, field, None, api_visibility="private", show_progress="hidden")

    def on_upload_shown(self, tab: "Tab", field: "gr.File", look: Callable, outputs: list) -> None:
        """The same, and look(config, visitor, upload) shows it in the outputs."""
        looked = field.upload(
            handler(partial(look, self.config), self.visitors, fills=True),
            field,
            outputs,
            api_visibility="private",
            show_progress="hidden",
        )
        self._show_preview(tab, looked)

    def on_example(self, tab: "Tab", example: Callable, outputs: list) -> None:
        """What the button of an example does: example(config, visitor) fills the outputs."""
        taken = tab.example.click(
            handler(partial(example, self.config), self.visitors, fills=True),
            None,
            outputs,
            api_visibility="private",
            show_progress_on=tab.shown,
        )
        self._show_preview(tab, taken)

    def on_click(self, tab: "Tab", work: Callable, inputs: list, outputs: list) -> None:
        """What a tab's button starts; such jobs wait for each other.

        While one is busy its button is off and Cancel is there.
        """
        import gradio as gr

        name = work.__name__
        buttons = [tab.start, tab.cancel]

        def begin(visitor: Visitor) -> tuple:
            visitor.cancelled.discard(name)
            hidden = gr.Column(visible=False)
            shown = gr.Column(visible=True)
            return gr.Button(interactive=False), gr.Button(visible=True), shown, hidden

        def stop(visitor: Visitor) -> "gr.Button":
            visitor.cancelled.add(name)
            return gr.Button("Stopping ...", interactive=False)

        def end() -> tuple:
            again = gr.Button("Cancel", interactive=True, visible=False)
            return gr.Button(interactive=True), again

        def show() -> tuple:
            return gr.Column(visible=False), gr.Column(visible=True)

        columns = [tab.preview, tab.results]
        begun = tab.start.click(
            handler(begin, self.visitors), None, [*buttons, *columns], **AT_ONCE
        )
        done = begun.then(
            handler(partial(work, self.config), self.visitors, name, fills=True),
            inputs,
            outputs,
            api_name=name,
            concurrency_id=JOBS,
            concurrency_limit=1,
            show_progress_on=tab.shown,
        )
        for ended in (done.success, done.failure):  # gradio's `then` leaves failures out
            ended(end, None, buttons, **AT_ONCE)
        done.success(show, None, columns, **AT_ONCE)
        tab.cancel.click(handler(stop, self.visitors), None, tab.cancel, **AT_ONCE)

    def on_choice(
        self,
        fields: "Component | list[Component]",
        work: Callable,
        outputs: Any,
        inputs: Any = None,
        tab: "Tab | None" = None,
    ) -> None:
        """What choosing another value does; of a dragged slider only the last value counts.

        inputs: instead of the fields themselves. tab: the one whose preview the outputs lie in.
        """
        import gradio as gr

        fields = fields if isinstance(fields, list) else [fields]
        triggers = [getattr(field, "release", field.input) for field in fields]
        chosen = gr.on(
            triggers,
            handler(partial(work, self.config), self.visitors),
            inputs or fields,
            outputs,
            api_name=work.__name__,
            trigger_mode="always_last",
            show_progress="hidden",
        )
        if tab:
            self._show_preview(tab, chosen)

    def _show_preview(self, tab: "Tab", after: Any) -> None:
        """After an event the tab's preview is there, in the place of earlier results."""
        import gradio as gr

        def show() -> tuple:
            return gr.Column(visible=True), gr.Column(visible=False)

        after.success(show, None, [tab.preview, tab.results], **AT_ONCE)


def handler(work: Callable, visitors: Visitors, task: str = "", fills: bool = False) -> Callable:
    """work(visitor, ...) as gradio calls it; whatever goes wrong is told in a sentence.

    task: the name under which a visitor cancels it. fills: whether it writes so much that there
    must be room for it.
    """
    import gradio as gr

    # B008: gradio looks for this default.
    def handle(request: gr.Request, progress=gr.Progress(), *values):  # noqa: B008
        with visitors.at_work(request.session_hash) as visitor:

            def tell(bar: Progress) -> None:
                visitor.check(task)
                if bar.total != 1 and not bar.disable:
                    progress(bar.n / bar.total if bar.total else None, desc=bar.sentence())

            try:
                if fills:
                    visitors.check_room()
                with heard(tell), _checked_by_layers(partial(visitor.check, task)):
                    visitor.check(task)
                    return work(visitor, *values)
            except Cancelled:
                message = "Stopped: nothing was finished."
                raise gr.Error(message, title="Stopped", print_exception=False) from None
            except UserError as error:
                message = plain(error, visitors.root)
                raise gr.Error(message, duration=20, print_exception=False) from None
            except Exception:
                if not visitor.gone:  # else it is the files that are missing
                    traceback.print_exc()
                message = "This did not work; the reason stands in the server's log."
                raise gr.Error(message, print_exception=False) from None

    return handle


@contextmanager
def _checked_by_layers(check: Callable[[], None]) -> Iterator[None]:
    """While the block runs, every layer of a network calls `check` before it computes.

    So one large picture, too, can be stopped.
    """
    from torch.nn.modules.module import register_module_forward_pre_hook

    thread = threading.get_ident()

    def before(*_: object) -> None:
        if threading.get_ident() == thread:
            check()

    hook = register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        hook.remove()


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
            css=STYLE.read_text(encoding="utf-8"),
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
