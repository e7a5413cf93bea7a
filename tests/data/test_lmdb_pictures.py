import lmdb
import numpy as np
import pytest

from data.lmdb_pictures import main, unpack
from data.photo_catalog import find_pairs
from tests.commands import pattern
from utils.errors import UserError
from utils.image import encode_image, read_image


def write_lmdb(folder, entries):
    folder.mkdir()
    with (
        lmdb.open(str(folder), map_size=2**24) as database,
        database.begin(write=True) as transaction,
    ):
        for name, value in entries.items():
            transaction.put(name.encode(), value)
    return folder


def test_nafnets_lmdb_folders_become_pairs(tmp_path):
    """blur_300.lmdb and sharp_300.lmdb: names without suffix, bytes of the files."""
    pictures = {f"00{n}_0000000{n}": pattern((20, 24), n) for n in range(3)}
    entries = {name: encode_image(pixels, ".png") for name, pixels in pictures.items()}
    for kind, folder in (("blur_300", "val_blur_jpeg"), ("sharp_300", "val_sharp")):
        write_lmdb(tmp_path / f"{kind}.lmdb", entries)
        main([str(tmp_path / f"{kind}.lmdb"), str(tmp_path / "REDS/val" / folder)])
    found = find_pairs(tmp_path / "REDS/val", "blur_jpeg", need_sharp=True)
    assert [picture.name for picture in found.pictures] == list(pictures)
    for picture in found.pictures:
        assert picture.blurry.read_bytes() == entries[picture.name]
        assert np.array_equal(read_image(picture.sharp), pictures[picture.name])
    assert unpack(tmp_path / "blur_300.lmdb", tmp_path / "REDS/val/val_blur_jpeg") == 3


def test_what_cannot_be_unpacked_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="is no lmdb folder"):
        unpack(tmp_path, tmp_path / "out")
    write_lmdb(tmp_path / "words.lmdb", {"a": b"no picture"})
    with pytest.raises(UserError, match="a is neither a PNG nor a JPEG file"):
        unpack(tmp_path / "words.lmdb", tmp_path / "out")
    write_lmdb(tmp_path / "out_of.lmdb", {"../a.png": b"x"})
    with pytest.raises(UserError, match="leads out of"):
        unpack(tmp_path / "out_of.lmdb", tmp_path / "out")
    (tmp_path / "bad.lmdb").mkdir()
    (tmp_path / "bad.lmdb/data.mdb").write_bytes(b"damaged" * 2000)
    with pytest.raises(UserError, match="bad.lmdb can't be read as an lmdb folder"):
        unpack(tmp_path / "bad.lmdb", tmp_path / "out")
    with pytest.raises(UserError, match="give the lmdb folder"):
        main([])
