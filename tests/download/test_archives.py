"""Archives of strangers: what they hold stays in its folder, and is plain files."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from utils.download import archives
from utils.download.archives import is_archive, unpack
from utils.errors import UserError


@pytest.fixture
def unpacked(tmp_path):
    """A function that unpacks bytes as they are and returns {path: content}."""

    def run(*parts: bytes, layout=Path) -> dict[str, bytes]:
        paths = []
        for number, body in enumerate(parts):
            path = tmp_path / f"packed{number}"
            path.write_bytes(body)
            paths.append(path)
        folder = tmp_path / "in" / "folder"
        unpack(paths, layout, folder)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    return run


FILES = {"a/one.txt": b"1" * 5000, "a/b/two.txt": b"", "three.txt": b"3"}


def test_zip_and_tar_of_every_kind_hold_the_same(unpacked, zipped, tarred, tmp_path):
    assert unpacked(zipped(FILES | {"__MACOSX/a/._one.txt": b"", "a/.DS_Store": b"x"})) == FILES
    for number, kind in enumerate(("", "gz", "bz2", "xz")):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=f"w:{kind}") as archive:
            for name, body in FILES.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(body)
                archive.addfile(info, io.BytesIO(body))
        (tmp_path / "t").write_bytes(packed.getvalue())
        assert is_archive(tmp_path / "t"), kind
        folder = tmp_path / f"tar{number}"
        assert unpack([tmp_path / "t"], Path, folder).written == 3
        assert (folder / "a/one.txt").read_bytes() == FILES["a/one.txt"]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_an_archive_cut_into_parts_is_read_without_joining_it(unpacked, zipped, count):
    packed = zipped(FILES)
    size = len(packed) // count + 1
    parts = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert len(parts) == count and unpacked(*parts) == FILES


def test_a_layout_renames_and_leaves_out(unpacked, zipped):
    def layout(name):
        return Path("x", Path(name).name) if name.startswith("a/") else None

    found = unpacked(zipped(FILES), layout=layout)
    assert found == {"x/one.txt": FILES["a/one.txt"], "x/two.txt": b""}


@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "..\\out.txt", "C:\\out.txt", "C:/o"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(unpacked, zipped, tarred, tmp_path, name, kind):
    pack = {"zip": zipped, "tar": tarred}[kind]
    with pytest.raises(UserError, match="leads out of its folder"):
        unpacked(pack({"fine.txt": b"1", name: b"2"}))
    written = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(written) <= {"packed0", "fine.txt"} and not Path("/tmp/out.txt").exists()


def linked(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "fine.txt"),
        (tarfile.LNKTYPE, "../../secret"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""),
    ],
)
def test_links_and_devices_of_tar_are_refused(unpacked, tarred, kind, target):
    with pytest.raises(UserError, match="'l', which is a link or a device"):
        unpacked(tarred({"l": linked("l", kind, target), "l/inside.txt": b"2"}))


def test_links_of_zip_are_refused(unpacked):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo("l")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
        archive.writestr("l/passwd", "mine")
    with pytest.raises(UserError, match="'l', which is a link or a device"):
        unpacked(packed.getvalue())


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_bombs_are_not_unpacked(unpacked, zipped, tarred, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "MORE_BYTES", 1000)
    pack = {"zip": zipped, "tar": tarred}[kind]
    with pytest.raises(UserError, match="would become more than 200 times as large"):
        unpacked(pack({"zeros": bytes(4_000_000)}))
    written = sum(path.stat().st_size for path in (tmp_path / "in").rglob("*") if path.is_file())
    assert written < 2_000_000


def test_a_zip_that_lies_about_its_size_is_not_unpacked(unpacked, zipped, monkeypatch):
    """The size in the directory is small, what is behind it is not."""
    packed = bytearray(zipped({"zeros": bytes(1_000_000)}))
    size = (1_000_000).to_bytes(4, "little")
    for position in (packed.find(size), packed.rfind(size)):
        packed[position : position + 4] = (10).to_bytes(4, "little")
    with pytest.raises(UserError, match="no archive that can be read"):
        unpacked(bytes(packed))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"7z\xbc\xaf\x27\x1c rest", "7-Zip archive, which is not read"),
        (b"Rar!\x1a\x07 rest", "RAR archive, which is not read"),
        (b"PK\x03\x04 rest", "no archive that can be read"),
        (b"\x1f\x8b rest", "no archive that can be read"),
        (b"something else", "no archive that can be read"),
        (b"", "no archive that can be read"),
    ],
)
def test_other_files_are_a_sentence(unpacked, body, said):
    with pytest.raises(UserError, match=said):
        unpacked(body)


@pytest.mark.parametrize("cut", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_truncated_archives_are_a_sentence(unpacked, zipped, tarred, kind, cut):
    noise = {name: bytes(range(256)) * 40 for name in "abc"}
    packed = {"zip": zipped, "tar": tarred}[kind](noise)
    with pytest.raises(UserError, match="no archive that can be read"):
        unpacked(packed[: int(len(packed) * cut)])


def test_an_encrypted_zip_is_a_sentence(unpacked, zipped):
    packed = bytearray(zipped({"a": b"1"}))
    position = packed.find(b"PK\x01\x02")
    packed[position + 8] |= 1
    with pytest.raises(UserError, match="is encrypted"):
        unpacked(bytes(packed))


def test_two_members_of_one_path_are_refused(unpacked, zipped):
    with pytest.raises(UserError, match="holds two files for same"):
        unpacked(zipped({"a/x": b"1", "b/x": b"2"}), layout=lambda name: Path("same"))


def test_weights_of_pytorch_are_no_archives(tmp_path, zipped):
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pth")
    (tmp_path / "p.zip").write_bytes(zipped({"model/w.pth": b"1"}))
    assert not is_archive(tmp_path / "w.pth") and is_archive(tmp_path / "p.zip")
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    assert not is_archive(tmp_path / "old.pkl")
