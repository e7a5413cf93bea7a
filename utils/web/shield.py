"""Around the page's server: who may ask, and what it hands out.

Refused are requests under a foreign name (DNS rebinding: another site's name that was pointed at
this address), requests that a page of another site sends, whatever would fetch or hand out another
server's files, and more waiting jobs than a visitor may have. Plain ASGI.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import urlsplit

# The page loads nothing that does not come from its own server.
POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'"
)
JOB = re.compile(r"/(?:queue/join|call/[^/]+)/?$")  # requests that start a job
UPLOAD = re.compile(r"/upload/?$")
ELSEWHERE = re.compile(r"/(?:file|proxy)=\s*\w+:")
MAX_BODY = 1 << 20  # bytes of a job's request


class Shield:
    """The server `app` behind these checks.

    allowed_hosts: names besides localhost and plain addresses under which it may be asked. waiting:
    how many jobs of a session wait or run; max_waiting: from how many on it gets no further one.
    uploaded: told the path of every upload.
    """

    def __init__(
        self,
        app: Callable,
        allowed_hosts: Collection[str],
        waiting: Callable[[str], int],
        max_waiting: int,
        uploaded: Callable[[Path], None],
    ):
        self.app = app
        self.allowed_hosts = {name.lower() for name in allowed_hosts}
        self.waiting = waiting
        self.max_waiting = max_waiting
        self.uploaded = uploaded

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        problem = self._problem(scope)
        if problem:
            await _refuse(scope, send, 403, problem)
            return
        posted = scope["type"] == "http" and scope["method"] == "POST"
        if posted and JOB.search(scope["path"]):
            body = await _whole_body(receive)
            problem = self._too_many(body)
            if problem:
                await _refuse(scope, send, 429, problem)
                return
            receive = _again(body or b"", receive)
        reply: list[bytes] | None = None
        if posted and UPLOAD.search(scope["path"]):
            reply = []
        await self.app(scope, receive, self._sender(send, reply))

    def _problem(self, scope: dict) -> str:
        """Why a request is refused, if it is."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not self._is_ours(host):
            return (
                "This server is not asked under this name; its owner can allow it with "
                "--allowed_host."
            )
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "Pages of other sites may not use this server."
        reading = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        sent_by = headers.get(b"sec-fetch-site", "same-origin")
        if not reading and sent_by not in ("same-origin", "none"):
            return "Pages of other sites may not use this server."
        if ELSEWHERE.search(scope["path"]):
            return "This server hands out its own files alone."
        return ""

    def _is_ours(self, host: str) -> bool:
        """Whether a Host is this machine, a plain address (no name to rebind), or allowed."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name in self.allowed_hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _too_many(self, body: bytes | None) -> str:
        if body is None:
            return "This request is too long."
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return ""  # the server answers that itself
        session = asked.get("session_hash") if isinstance(asked, dict) else None
        if isinstance(session, str) and self.waiting(session) >= self.max_waiting:
            return f"You have {self.max_waiting} jobs waiting: let one end first."
        return ""

    def _sender(self, send: Callable, reply: list[bytes] | None) -> Callable:
        """`send` that adds the policy, and tells the paths in the reply to an upload."""

        async def send_on(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", POLICY),
                ]
                if message["status"] == 200 and reply is not None:
                    reply.append(b"")
            elif message["type"] == "http.response.body" and reply:
                reply.append(message.get("body", b""))
                if not message.get("more_body"):
                    for path in json.loads(b"".join(reply)):
                        self.uploaded(Path(path))
            await send(message)

        return send_on


async def _whole_body(receive: Callable) -> bytes | None:
    """The body of a request; None above MAX_BODY."""
    parts = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Callable) -> Callable:
    """`receive` that gives a body which was read already, then what follows."""
    given = False

    async def receive_again() -> dict:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _refuse(scope: dict, send: Callable, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
