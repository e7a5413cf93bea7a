"""Ask every address for its headers, and write down what came."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from utils.download.store import resolved
from utils.download.table import Address, Entry, PublishedFile
from utils.download.transfer import AddressError, connect_timeout, new_session, reason_of
from utils.files import write_text
from utils.progress import Progress

_AT_ONCE = 8
_HEADS = ("name", "file", "host", "address", "answer", "bytes", "kind", "seconds")


def check(chosen: Iterable[Entry], report: Path) -> tuple[int, int]:
    """(addresses that answer with a file, all that were asked); writes the report as a table.

    Baidu's pages, which need a browser, are not asked.
    """
    jobs = [
        (entry, file, address)
        for entry in chosen
        for file in entry.files
        for address in file.addresses
        if address.host != "baidu"
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(_ask, jobs)
        rows = list(Progress(answers, total=len(jobs), desc="addresses", unit=""))
    lines = ["\t".join(_HEADS), *("\t".join(row) for row in rows)]
    report.parent.mkdir(parents=True, exist_ok=True)
    write_text(report, "\n".join(lines) + "\n")
    return sum(row[4] == "file" for row in rows), len(rows)


def _ask(job: tuple[Entry, PublishedFile, Address]) -> tuple[str, ...]:
    """A line of the report."""
    entry, file, address = job
    start = time.monotonic()
    size = kind = ""
    try:
        session = new_session(address.at)
        url = resolved(address, file.name, session)
        with session.get(url, stream=True, timeout=connect_timeout()) as response:
            size = response.headers.get("Content-Length", "")
            kind = response.headers.get("Content-Type", "")
            answer = "file"
            if response.status_code >= 400:
                answer = f"{response.status_code} {response.reason}"
            elif "text/html" in kind:
                answer = "a page"
    except AddressError as error:
        answer = str(error)
    except requests.RequestException as error:
        answer = reason_of(error)
    seconds = f"{time.monotonic() - start:.1f}"
    return entry.name, file.name, address.host, address.at, answer, size, kind, seconds
