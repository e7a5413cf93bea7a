"""Bytes that come whole whatever the server does, or a reason why not."""

import hashlib
import random
from pathlib import Path

import pytest

from tests.commands import largest_file
from tests.download.packings import leftovers
from utils.download import drive, store, transfer
from utils.download.record import read_record
from utils.download.store import Options, get
from utils.download.table import Address, Entry, Licence, PublishedFile
from utils.errors import UserError

BODY = random.Random(0).randbytes(100_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MIT = Licence("MIT", "MIT", True)
URL = "https://one.example/dir/w.pth"
OTHER = "https://two.example/w.pth"


def entry(*addresses: str, hash: str = f"sha256:{SHA256}", name: str = "w.pth", **more) -> Entry:
    """Weights of one file at some addresses."""
    offered = tuple(Address(address) for address in addresses or (URL,))
    file = PublishedFile(name, offered, hash)
    page = "https://authors.example/page"
    settings = {"gives": (name,), "hash_from": "a table", "licence": MIT, "files": (file,)}
    return Entry(name, "weights", "tests", page=page, **settings | more)


def test_a_file_comes_whole_and_is_recorded(server, tmp_path):
    server.put(URL, BODY)
    assert get(entry(), tmp_path, Options()) is True
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert leftovers(tmp_path) == ["hashes.json", "w.pth"]
    row = read_record(tmp_path)["w.pth"]
    assert row["sha256"] == SHA256 and row["basis"] == "checked against a table"
    assert row["size"] == len(BODY) and row["address"] == URL
    assert get(entry(), tmp_path, Options()) is False and len(server.asked) == 1


@pytest.mark.parametrize("says_length", [True, False])
def test_the_size_may_be_told_or_not(server, tmp_path, says_length):
    server.put(URL, BODY, says_length=says_length)
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    server.put(URL, BODY, cuts=[32_768, 0, 49_152])
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY
    ranges = [wanted for _, wanted, _ in server.asked]
    assert ranges == ["", "bytes=32768-", "bytes=32768-", "bytes=81920-"]


def test_what_came_is_kept_and_another_call_continues(server, tmp_path):
    page = server.put(URL, BODY, cuts=[32_768, 0, 0, 0, 0])
    with pytest.raises(UserError, match="again and again; what came is kept"):
        get(entry(), tmp_path, Options())
    assert not (tmp_path / "w.pth").exists()
    page.cuts = []
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert server.asked[-1][1] == "bytes=32768-"


def part_of(server, tmp_path, **settings):
    """32,768 bytes of an interrupted call."""
    page = server.put(URL, BODY, cuts=[32_768, 0, 0, 0, 0], **settings)
    with pytest.raises(UserError):
        get(entry(), tmp_path, Options())
    page.cuts = []
    return page


def test_another_edition_is_taken_from_its_start(server, tmp_path):
    part_of(server, tmp_path, edition="old")
    server.put(URL, BODY, edition="new")
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_server_without_ranges_starts_again(server, tmp_path):
    part_of(server, tmp_path).ranges = False
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, tmp_path):
    part_of(server, tmp_path)
    with open(tmp_path / ".download/w.pth/w.pth.part", "ab") as part:
        part.write(bytes(len(BODY)))
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_begun_address_comes_before_a_better_one(server, tmp_path):
    both = entry("https://github.com/a/releases/w.pth", URL)
    page = server.put(URL, BODY, cuts=[32_768, 0, 0, 0, 0])
    with pytest.raises(UserError, match="github.com: answers 404"):
        get(both, tmp_path, Options())
    page.cuts = []
    server.put("https://github.com/a/releases/w.pth", BODY)
    get(both, tmp_path, Options())
    assert server.asked[-1][:2] == ("/one.example/dir/w.pth", "bytes=32768-")


def test_redirects_are_followed(server, tmp_path):
    server.put(URL, status=302, location="/three.example/there")
    server.put("https://three.example/there", BODY)
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_redirect_without_end_is_a_sentence(server, tmp_path):
    server.put(URL, status=302, location="/one.example/dir/w.pth")
    with pytest.raises(UserError, match="one redirect after the other"):
        get(entry(), tmp_path, Options())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"status": 404}, "answers 404 Not Found"),
        ({"status": 503}, "answers 503"),
        ({"status": 403}, "answers 403, no access"),
        ({"body": b" <!DOCTYPE html><html>sorry"}, "answers with a page .HTML. instead"),
        ({"body": BODY[:-1]}, f"another file came: its hash is .*, not {SHA256} .a table."),
    ],
)
def test_bad_answers_lead_to_the_next_address(server, tmp_path, capsys, settings, reason):
    server.put(URL, **{"body": BODY} | settings)
    where = r"https://authors.example/page in a browser, put the file at .*/w.pth$"
    with pytest.raises(UserError, match=f"{reason}.*Open {where}"):
        get(entry(), tmp_path, Options())
    assert not (tmp_path / "w.pth").exists()
    server.put(OTHER, BODY)
    get(entry(URL, OTHER), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert "another address is tried" in capsys.readouterr().err


def test_a_wrong_file_is_moved_aside(server, tmp_path):
    server.put(URL, b"other weights")
    with pytest.raises(UserError, match=r"it lies at .*/w\.pth\.unexpected"):
        get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth.unexpected").read_bytes() == b"other weights"
    assert "w.pth" not in read_record(tmp_path)


@pytest.mark.parametrize("hash", [f"sha256:{SHA256[:8]}", f"md5:{hashlib.md5(BODY).hexdigest()}"])
def test_beginnings_of_hashes_and_md5_are_compared_too(server, tmp_path, hash):
    server.put(URL, BODY)
    get(entry(hash=hash), tmp_path, Options())
    assert read_record(tmp_path)["w.pth"]["basis"] == "checked against a table"
    server.put(URL, BODY[1:])
    with pytest.raises(UserError, match="another file came"):
        get(entry(hash=hash), tmp_path / "again", Options())


def test_a_first_file_is_trusted_and_later_ones_must_equal_it(server, tmp_path):
    server.put(URL, BODY)
    unknown = entry(hash="")
    get(unknown, tmp_path, Options())
    basis = read_record(tmp_path)["w.pth"]["basis"]
    assert basis.startswith("first seen on 20")
    (tmp_path / "w.pth").unlink()
    server.put(URL, BODY[1:])
    with pytest.raises(UserError, match=f"not {SHA256} .first seen on 20"):
        get(unknown, tmp_path, Options())
    server.put(URL, BODY)
    get(unknown, tmp_path, Options())
    assert read_record(tmp_path)["w.pth"]["basis"] == basis


def test_a_damaged_record_is_a_sentence(server, tmp_path):
    server.put(URL, BODY)
    for text in ("[1, 2]", "{", '{"w.pth": 3}'):
        (tmp_path / "hashes.json").write_text(text)
        with pytest.raises(UserError, match="hashes.json is damaged: remove it"):
            get(entry(hash=""), tmp_path, Options())
    (tmp_path / "hashes.json").unlink()
    get(entry(hash=""), tmp_path, Options())
    assert len(server.asked) == 1, "what came before is kept"


def test_an_inferred_hash_is_no_demand(server, tmp_path, capsys):
    server.put(URL, BODY[1:])
    file = PublishedFile("w.pth", (Address(URL, hash_inferred=True),), f"sha256:{SHA256}")
    get(entry(files=(file,)), tmp_path, Options())
    assert read_record(tmp_path)["w.pth"]["basis"].startswith("first seen")
    assert "not the one known from another address" in capsys.readouterr().err


def test_without_network_the_page_and_the_path_are_named(server, tmp_path):
    server.close()
    with pytest.raises(
        UserError, match="one.example: no connection.*Open https://authors.example/page"
    ):
        get(entry(), tmp_path, Options())
    assert list(tmp_path.iterdir()) == []


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE_S", 0.1)
    server.put(URL, BODY, pause=2)
    with pytest.raises(UserError, match="no answer in time|no connection"):
        get(entry(), tmp_path, Options())


def test_a_full_disk_keeps_what_came(server, tmp_path):
    server.put(URL, BODY)
    with largest_file(50_000), pytest.raises(OSError):
        get(entry(), tmp_path, Options())
    assert not (tmp_path / "w.pth").exists()
    get(entry(), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert server.asked[-1][1] != ""


def test_room_is_looked_for_before_anything_comes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "check_free", transfer.check_free)
    usage = type("Usage", (), {"free": 99_999})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    server.put(URL, BODY)
    with pytest.raises(UserError, match=r"w\.pth needs 100 KB on the disk.*100 KB are free"):
        get(entry(), tmp_path, Options())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_an_error_with_its_name(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as error:
        get(entry(), tmp_path / "file", Options())
    assert "file" in str(error.value.filename)


def test_a_read_only_folder_is_an_error_with_its_name(server):
    with pytest.raises(OSError) as error:
        get(entry(), Path("/sys/blurlab"), Options())
    assert "/sys/blurlab" in str(error.value.filename) and server.asked == []


def test_mirrors_are_chosen_by_kind_or_by_address(server, tmp_path):
    server.put(f"{server.address}/mine/w.pth".replace(server.address, ""), BODY)
    get(entry(), tmp_path / "mine", Options(mirror=f"{server.address}/mine/"))
    assert server.asked[-1][0] == "/mine/w.pth"
    server.put("https://huggingface.co/a/w.pth", BODY)
    both = entry(URL, "https://huggingface.co/a/w.pth")
    get(both, tmp_path / "kind", Options(mirror="huggingface"))
    assert server.asked[-1][0] == "/huggingface.co/a/w.pth"
    with pytest.raises(UserError, match="it has no address of that kind"):
        get(both, tmp_path / "none", Options(mirror="dropbox"))
    with pytest.raises(UserError, match="--mirror moon: one of github-release, huggingface"):
        get(both, tmp_path / "none", Options(mirror="moon"))


def test_huggingface_has_a_mirror_and_a_token(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.put("https://mirror.example/a/w.pth", BODY)
    get(entry("https://huggingface.co/a/w.pth"), tmp_path, Options())
    assert server.asked[-1] == ("/mirror.example/a/w.pth", "", "Bearer secret")
    server.put(OTHER, BODY)
    get(entry(OTHER), tmp_path / "other", Options())
    assert server.asked[-1][2] == "", "the token is for HuggingFace alone"
    server.put("https://mirror.example/a/w.pth", status=401)
    with pytest.raises(UserError, match="answers 401, no access; set HF_TOKEN"):
        get(entry("https://huggingface.co/a/w.pth"), tmp_path / "third", Options())


ID = "1AbcDefGhiJklMnoPqrStuVwxYz01234"
DRIVE_FILE = f"{drive.DRIVE}/uc?export=download&id={ID}"
QUESTION = (
    '<form id="download-form" action="https://drive.usercontent.google.com/download">'
    '<input type="hidden" name="id" value="{id}"><input type="hidden" name="confirm" value="t">'
    "</form>"
)


def test_google_drive_asks_before_large_files(server, tmp_path):
    server.put(DRIVE_FILE, QUESTION.format(id=ID).encode(), kind="text/html; charset=utf-8")
    answer = f"https://drive.usercontent.google.com/download?id={ID}&confirm=t"
    server.put(answer, BODY, cuts=[10_000])
    get(entry(f"gdrive:{ID}"), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert read_record(tmp_path)["w.pth"]["address"] == f"gdrive:{ID}"


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("<title>Google Drive - Quota exceeded</title>", "Drive's quota for this file is used up"),
        ("<p>sign in</p>", "answers with a page instead of the file"),
    ],
)
def test_pages_of_google_drive_are_no_files(server, tmp_path, page, reason):
    server.put(DRIVE_FILE, page.encode(), kind="text/html")
    link = f"{drive.DRIVE}/file/d/{ID}/view"
    with pytest.raises(UserError, match=f"{reason}.*Open .* or {link}"):
        get(entry(f"gdrive:{ID}"), tmp_path, Options())


def test_a_file_of_a_google_drive_folder_is_found_by_its_name(server, tmp_path):
    folder = "1FolderFolderFolderFolderFolder1"
    link = f'<a href="https://drive.google.com/file/d/{ID}/view">w.pth</a>'
    view = f"https://drive.google.com/embeddedfolderview?id={folder}"
    server.put(view, f"<html><title>models</title>{link}</html>".encode(), kind="text/html")
    server.put(DRIVE_FILE, BODY)
    get(entry(f"gdrive-folder:{folder}"), tmp_path, Options())
    assert (tmp_path / "w.pth").read_bytes() == BODY
    with pytest.raises(UserError, match="Google Drive's folder has no v.pth"):
        get(entry(f"gdrive-folder:{folder}", name="v.pth"), tmp_path, Options())
    server.put(view, b"<html>used up</html>", kind="text/html")
    with pytest.raises(UserError, match=f"does not list the folder.*drive/folders/{folder}"):
        get(entry(f"gdrive-folder:{folder}", name="v.pth"), tmp_path, Options())
