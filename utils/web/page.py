"""Between gradio and the work: what fields start, errors as sentences, nothing from elsewhere.

Gradio is imported when it is needed.
"""

import html
import re
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config import ROOT
from utils.errors import UserError
from utils.web.visitors import Visitors

if TYPE_CHECKING:
    import gradio as gr

MAX_WAITING = 20  # jobs in the queue
# The page loads nothing that does not come from its own server.
POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'"
)


class Events:
    """Connects fields with work(config, visitor, value of every input), in the API by its name."""

    def __init__(self, config: Any, visitors: Visitors):
        self.config = config
        self.visitors = visitors

    def on_click(
        self, button: "gr.Button", work: Callable, inputs: list, outputs: list, more: "gr.Column"
    ) -> None:
        """What a button starts; such jobs wait for each other.

        more: the column that is hidden until there are results.
        """
        import gradio as gr

        done = button.click(
            handler(partial(work, self.config), self.visitors),
            inputs,
            outputs,
            api_name=work.__name__,
            concurrency_id="job",
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


def plain(error: UserError, root: Path) -> str:
    """An error's sentence as HTML, without the server's folders."""
    folders = "|".join(re.escape(str(folder)) for folder in (root, ROOT))
    return html.escape(re.sub(rf"(?:{folders})/(?:\S*/)?", "", str(error)))


class Shield:
    """Around the server: neither pages nor the server itself load anything from elsewhere."""

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def send_with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY)]
            await send(message)

        if scope["type"] == "http" and re.search(r"/(?:file|proxy)=\s*\w+:", scope["path"]):
            body = b"This server hands out its own files alone."
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": body})
        else:
            await self.app(scope, receive, send_with_policy)


def serve(page: "gr.Blocks", host: str, port: int, upload_mb: int) -> None:
    """Serve the page to whoever reaches the address, from threads of its own.

    Files of at most upload_mb are taken.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    theme = gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    page.queue(max_size=MAX_WAITING)
    try:
        page.launch(
            theme=theme,
            server_name=host,
            server_port=port,
            max_file_size=f"{upload_mb}mb",
            app_kwargs={"middleware": [Middleware(Shield)]},
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
