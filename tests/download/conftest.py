"""The internet of these tests: every request goes to a server on loopback."""

import io
import sys
import tarfile
import zipfile
from urllib.parse import urlsplit

import pytest
import requests

from methods import download
from tests.download.server import Server
from utils.download import transfer


@pytest.fixture
def server(monkeypatch):
    """A server that answers for every host, https too; nothing waits between attempts."""
    running = Server()
    send = requests.adapters.HTTPAdapter.send

    def send_home(adapter, request, **options):
        parts = urlsplit(request.url)
        if parts.hostname != "127.0.0.1":
            request.url = f"{running.address}/{parts.netloc}{request.path_url}"
        return send(adapter, request, **options | {"proxies": {}})

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send_home)
    monkeypatch.setattr(transfer, "PAUSES_S", (0, 0, 0))
    for name in ("HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield running
    running.close()


@pytest.fixture
def zipped():
    """A function that packs {name: bytes} as .zip."""

    def pack(files: dict[str, bytes]) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in files.items():
                archive.writestr(name, body)
        return packed.getvalue()

    return pack


@pytest.fixture
def tarred():
    """A function that packs {name: bytes, or a TarInfo} as .tar.gz."""

    def pack(files: dict[str, bytes | tarfile.TarInfo]) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, body in files.items():
                if isinstance(body, tarfile.TarInfo):
                    archive.addfile(body)
                    continue
                info = tarfile.TarInfo(name)
                info.size = len(body)
                archive.addfile(info, io.BytesIO(body))
        return packed.getvalue()

    return pack


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that runs download.py in this process: (exit status, output, errors)."""

    def do(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["download.py", *map(str, words)])
        code = download.run()
        said = capsys.readouterr()
        return code, said.out, said.err

    return do
