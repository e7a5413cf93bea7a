"""Between gradio and the work: errors as sentences, uploads alone, nothing from elsewhere. Gradio
is imported when it is needed.
"""

import html
import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from utils.config import ROOT
from utils.errors import UserError
from utils.web.visitors import Visitors

MAX_WAITING = 20  # jobs in the queue
# The page loads nothing that does not come from its own server.
POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'"
)


def handler(work: Callable, visitors: Visitors) -> Callable:
    """work(visitor, ...) as gradio calls it; whatever goes wrong is told in a sentence."""
    import gradio as gr

    def handle(request: gr.Request, progress=gr.Progress(track_tqdm=True), *values):  # noqa: B008 - gradio looks for this default
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
                raise gr.Error(
                    plain(error, visitors.root), duration=20, print_exception=False
                ) from None
            except Exception:
                if not visitor.gone:  # else it is the files that are missing
                    traceback.print_exc()
                raise gr.Error(
                    "This did not work; the reason stands in the server's log.",
                    print_exception=False,
                ) from None

    return handle


def plain(error: UserError, root: Path) -> str:
    """An error's sentence as HTML, without the server's folders."""
    folders = "|".join(re.escape(str(folder)) for folder in (root, ROOT))
    return html.escape(re.sub(rf"(?:{folders})/(?:\S*/)?", "", str(error)))


def upload(label: str, endings: Sequence[str], **settings):
    """A field for files, a gr.File with further settings. It refuses addresses, which gradio would
    fetch: only uploads are taken.
    """
    import gradio as gr

    field = gr.File(label=label, file_types=list(endings), **settings)
    keep = field.async_move_resource_to_block_cache

    async def keep_upload(path: str) -> str:
        if re.match(r"\w+:", str(path)):
            raise gr.Error("Only uploaded files are taken.", print_exception=False)
        return await keep(path)

    field.async_move_resource_to_block_cache = keep_upload
    return field


class Shield:
    """Around the server: pages load nothing from elsewhere, and the server fetches nothing from
    elsewhere for others.
    """

    def __init__(self, app: Callable):
        self.app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def send_with_policy(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY)]
            await send(message)

        if scope["type"] == "http" and re.search(r"/(?:file|proxy)=\s*\w+:", scope["path"]):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send(
                {
                    "type": "http.response.body",
                    "body": b"This server hands out its own files alone.",
                }
            )
        else:
            await self.app(scope, receive, send_with_policy)


def serve(page, host: str, port: int, upload_mb: int) -> None:
    """Serve a gr.Blocks to whoever reaches the address, from threads of its own; files of at most
    upload_mb are taken.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    page.queue(max_size=MAX_WAITING)
    try:
        page.launch(
            theme=gr.themes.Default(
                font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
            ),
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
