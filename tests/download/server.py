"""An HTTP server on loopback that behaves well or badly, and stands for the whole internet."""

import hashlib
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Page:
    """What is at a path, and how it is given.

    cuts: the next answers end after so many bytes of the body. pause: seconds before each 4 kB.
    """

    body: bytes = b""
    status: int = 200
    kind: str = "application/octet-stream"
    location: str = ""
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    pause: float = 0.0
    edition: str = ""
    says_length: bool = True


class Server:
    """pages: {/HOST/PATH or /PATH: Page}. asked: (path, Range header, Authorization) in order."""

    def __init__(self):
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str, str]] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, url: str, body: bytes = b"", **settings) -> Page:
        """Give something at an address https://HOST/PATH, or /PATH."""
        page = Page(body, **settings)
        self.pages[local_path(url)] = page
        return page

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def local_path(url: str) -> str:
    """/HOST/PATH?QUERY of an address."""
    if url.startswith("/"):
        return url
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return unquote(f"/{parts.netloc}{parts.path}{query}")


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(self.path)
        wanted = self.headers.get("Range", "")
        self.owner.asked.append((path, wanted, self.headers.get("Authorization", "")))
        page = self.owner.pages.get(path, Page(b"nothing here", 404, "text/html"))
        tag = f'"{page.edition or hashlib.md5(page.body).hexdigest()}"'
        start = 0
        status = page.status
        same = self.headers.get("If-Range") in (None, tag)
        if wanted and page.ranges and same and status == 200:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            status = 206 if start < len(page.body) else 416
        body = page.body[start:]
        self.send_response(status)
        if page.location:
            self.send_header("Location", page.location)
        if status == 206:
            last = len(page.body) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(page.body)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Type", page.kind)
        self.close_connection = True
        self.send_header("Connection", "close")
        if page.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if page.cuts:
            body = body[: page.cuts.pop(0)]
        size = 4096 if page.pause else max(len(body), 1)
        for position in range(0, len(body), size):
            time.sleep(page.pause)
            try:
                self.wfile.write(body[position : position + size])
            except OSError:  # the other side went away
                return

    def log_message(self, *arguments) -> None:
        """Says nothing."""
