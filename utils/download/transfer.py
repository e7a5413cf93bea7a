"""One file from one address into one file, resumed where it stopped (HTTP ranges)."""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import requests

from utils.errors import UserError
from utils.files import write_text
from utils.progress import Progress

CONNECT_S = 20
SILENCE_S = 60  # without a byte
PAUSES_S = (1, 2, 4, 8, 16)  # between attempts that brought nothing
_CHUNK = 1 << 14  # what is lost of a connection that breaks
_HTML = re.compile(rb"\s*(?:<!doctype html|<html|<head)", re.IGNORECASE)
# What requests raises for a connection that breaks.
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class AddressError(Exception):
    """An address does not give the file; the message holds the reason."""


@dataclass
class _State:
    """What is known of a partial file, beside it: which address it is from and which edition."""

    address: str = ""
    validator: str = ""  # ETag or Last-Modified
    total: int | None = None


def connect_timeout() -> tuple[float, float]:
    """(seconds to connect, seconds without a byte) for requests."""
    return CONNECT_S, SILENCE_S


def new_session(url: str) -> requests.Session:
    """A session with HuggingFace's token where the address is HuggingFace's.

    Proxies come from the environment.
    """
    session = requests.Session()
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "blurlab-download"})
    token = os.environ.get("HF_TOKEN")
    if token and url.startswith(huggingface()):
        session.headers["Authorization"] = f"Bearer {token}"  # left behind at another host
    return session


def huggingface() -> str:
    """HuggingFace's address, or that of its mirror (HF_ENDPOINT)."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def address_of_part(part: Path) -> str:
    """The address that a partial file is from; "" for none."""
    return _read_state(part).address


def fetch(
    url: str,
    part: Path,
    address: str,
    session: requests.Session,
    check_space: Callable[[int], None],
    label: str,
) -> None:
    """Download url into `part`, behind what lies there if it is from the same address.

    check_space: called with the bytes still to come, may raise. Raises AddressError where the
    address gives no such file, or stops giving it.
    """
    failures = 0
    anything_came = False
    while True:
        before = _size(part)
        try:
            if _continue(url, part, address, session, check_space, label):
                return
            reason = "the connection ended early"
        except BROKEN as error:
            reason = reason_of(error)
            if not anything_came and _size(part) <= before:
                raise AddressError(reason) from error
        failures += 1
        if _size(part) > before:
            anything_came = True
            failures = 0
        if failures > len(PAUSES_S):
            raise AddressError(
                f"{reason} again and again; what came is kept, the same command continues"
            )
        if failures:
            time.sleep(PAUSES_S[failures - 1])


def _continue(
    url: str,
    part: Path,
    address: str,
    session: requests.Session,
    check_space: Callable[[int], None],
    label: str,
) -> bool:
    """One request; True where the file is whole afterwards."""
    state = _read_state(part)
    if state.address != address:
        state = _State(address)
        part.unlink(missing_ok=True)
    done = _size(part)
    if done and done == state.total:
        return True  # a call that ended while it looked at the whole file
    headers = {}
    if done:
        headers["Range"] = f"bytes={done}-"
        if state.validator:
            headers["If-Range"] = state.validator
    with session.get(url, stream=True, timeout=connect_timeout(), headers=headers) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            return False
        _refuse_errors(response, url)
        resumed = response.status_code == 206 and _range_fits(response, done, state)
        if done and not resumed:
            # another edition, or a server without ranges: from the start
            part.unlink(missing_ok=True)
            done = 0
            if response.status_code == 206:
                return False
        state = _State(address, _validator(response), _total(response, done))
        if state.total is not None:
            check_space(state.total - done)
        write_text(_state_path(part), json.dumps(asdict(state)))
        _receive(response, part, done, state.total, label)
    return state.total is None or _size(part) == state.total


def _receive(
    response: requests.Response, part: Path, done: int, total: int | None, label: str
) -> None:
    """Append the body to the partial file."""
    bar = Progress(
        total=total, initial=done, unit="B", unit_scale=True, desc=label, dynamic_ncols=True
    )
    with bar, open(part, "ab") as file:
        for chunk in response.iter_content(_CHUNK):
            if not done and _HTML.match(chunk):
                part.unlink(missing_ok=True)
                raise AddressError("answers with a page (HTML) instead of the file")
            file.write(chunk)
            file.flush()
            done += len(chunk)
            bar.update(len(chunk))


def _refuse_errors(response: requests.Response, url: str) -> None:
    """Raises AddressError for an answer that is no file."""
    status = response.status_code
    if status in (401, 403):
        hint = ""
        if url.startswith(huggingface()):
            hint = "; set HF_TOKEN to your HuggingFace token"
        raise AddressError(f"answers {status}, no access{hint}")
    if status >= 400 or status == 204:
        raise AddressError(f"answers {status} {response.reason}".strip())


def _range_fits(response: requests.Response, done: int, state: _State) -> bool:
    """Whether a partial answer continues what is there."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != done:
        return False
    return found[2] == "*" or state.total in (None, int(found[2]))


def _total(response: requests.Response, done: int) -> int | None:
    """The size of the whole file, None where the server does not say."""
    length = response.headers.get("Content-Length", "")
    return done + int(length) if length.isdecimal() else None


def _validator(response: requests.Response) -> str:
    """What names this edition of the file; a weak ETag may not be used for ranges."""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified", "")


def reason_of(error: Exception) -> str:
    """Why a request failed, in words."""
    reasons = {
        requests.exceptions.ProxyError: "the proxy does not answer",
        requests.exceptions.SSLError: "no valid certificate",
        requests.Timeout: "no answer in time",
        requests.ConnectionError: "no connection",
        requests.TooManyRedirects: "one redirect after the other",
    }
    for kind, words in reasons.items():
        if isinstance(error, kind):
            return words
    return f"no connection ({type(error).__name__})"


def _state_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_state(part: Path) -> _State:
    """Of a partial file without a readable neighbour nothing is known."""
    if not part.is_file():
        return _State()
    try:
        return _State(**json.loads(_state_path(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return _State()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def check_free(folder: Path, needed: int, what: str) -> None:
    """Raises UserError where a folder's disk has less room than `needed` bytes."""
    import shutil

    from utils.download.table import in_bytes

    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what} needs {in_bytes(needed)} on the disk of {folder}, where {in_bytes(free)} are "
            "free: make room or give another --output_dir"
        )
