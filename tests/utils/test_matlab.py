import numpy as np
import pytest
from scipy.io import loadmat, savemat

from utils import matlab
from utils.errors import UserError
from utils.matlab import read_matlab


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"])
def test_arrays_are_those_that_scipy_reads(tmp_path, kind, compressed):
    arrays = {
        "K": np.arange(60).reshape(3, 4, 5, 1),
        "one": np.array([[7]]),
        "long_name": np.arange(-3, 4),
        "none": np.zeros((0, 3)),
    }
    typed = {name: array.astype(kind) for name, array in arrays.items()}
    savemat(tmp_path / "a.mat", typed, do_compression=compressed)
    expected = loadmat(tmp_path / "a.mat")
    for name in arrays:
        array = read_matlab(tmp_path / "a.mat", name)
        assert array.dtype == expected[name].dtype and np.array_equal(array, expected[name]), name


def test_what_is_no_array_of_numbers_is_said(tmp_path):
    content = {
        "text": "abc",
        "cells": np.array([1, "x"], dtype=object),
        "fields": {"a": 1},
        "turns": np.array([1j]),
    }
    kinds = {
        "text": "text",
        "cells": "a cell array",
        "fields": "a structure",
        "turns": "no real array",
    }
    path = tmp_path / "a.mat"
    savemat(path, content)
    for name, kind in kinds.items():
        with pytest.raises(UserError, match=f"a.mat: {name} is {kind}, numbers are expected"):
            read_matlab(path, name)
    with pytest.raises(UserError, match="holds text, cells, fields, turns, no array called K"):
        read_matlab(path, "K")


def test_an_array_that_unpacks_to_too_much(tmp_path, monkeypatch):
    savemat(tmp_path / "a.mat", {"K": np.zeros((90, 90))}, do_compression=True)
    assert (tmp_path / "a.mat").stat().st_size < 1000
    monkeypatch.setattr(matlab, "MAX_BYTES", 60_000)
    with pytest.raises(UserError, match="a.mat can't be read.*unpacks to more than 60,000 bytes"):
        read_matlab(tmp_path / "a.mat", "K")
