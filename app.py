"""The same inference behind a web page: python app.py [--host H] [--port P] [--device D]

Every tab (tabs/) builds the configuration of a method and calls the main(config) that its command
calls. Where files lie: utils/web/visitors.py; what stands between gradio and the work:
utils/web/page.py and fields.py.
"""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from tabs import blur, photo, pick, sequence, video
from utils.config import parse
from utils.errors import UserError
from utils.web.config import EXAMPLES, AppConfig
from utils.web.page import Events, serve
from utils.web.visitors import SERVED, Visitors, private_folder

if TYPE_CHECKING:
    import gradio as gr

TABS = (video, photo, sequence, pick, blur)


def main() -> int:
    """Serve the page until Ctrl-C or SIGTERM; returns the exit status."""
    try:
        config = parse(AppConfig, "", "app", sys.argv[1:], examples=EXAMPLES)
        with private_folder() as root:
            # Shells have SIGINT ignored in the background.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            visitors = Visitors(root, config.keep_minutes * 60, config.total_gb)
            page = build(config, visitors)
            hosts = config.allowed_host or ()
            serve(page, visitors, config.host, config.port, config.upload_mb, hosts)
            threading.Event().wait()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped")
        return 0


def build(config: AppConfig, visitors: Visitors) -> "gr.Blocks":
    """The page."""
    os.environ["GRADIO_TEMP_DIR"] = str(visitors.root / SERVED)  # where gradio keeps uploads
    import gradio as gr

    from utils.device import choose_device

    choose_device(config.device)  # a mistake shows now
    events = Events(config, visitors)

    def leave(request: gr.Request) -> None:
        visitors.leave(request.session_hash)

    with gr.Blocks(title="Blurlab", analytics_enabled=False) as page:
        gr.Markdown(
            "# Blurlab\nRemoves, unfolds, judges and makes motion blur. Your files are removed "
            "when you close this page."
        )
        for tab in TABS:
            tab.build(events)
        page.unload(leave)
    return page


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a job may be in the middle of arithmetic, which can't be waited for
