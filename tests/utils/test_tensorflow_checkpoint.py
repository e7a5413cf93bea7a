"""The reader of TensorFlow's checkpoints on a file that TensorFlow wrote, whole and damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.golden.fill import fill_state_dict
from tests.golden.make_srn_checkpoint import variables
from utils.errors import UserError
from utils.tensorflow_checkpoint import find_prefix, is_checkpoint, read_checkpoint

PREFIX = Path(__file__).parents[1] / "golden" / "srn_tiny.model-523000"


@pytest.fixture
def copy(tmp_path):
    for file in PREFIX.parent.glob("srn_tiny.model*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_every_variable_is_read():
    found = read_checkpoint(PREFIX)
    expected = fill_state_dict(variables())
    others = {
        "g_net/enc1_1/weights/Adam",
        "g_net/enc1_1/weights/Adam_1",
        "beta1_power",
        "beta2_power",
        "Variable",
    }
    assert found.keys() == expected.keys() | others
    for name, value in expected.items():
        assert found[name].dtype == np.float32, name
        assert np.array_equal(found[name], value), name
    step = found["Variable"]
    assert (step, step.dtype, step.shape) == (523000, np.int64, ())


def test_a_folder_means_its_latest_step(copy):
    for ending in ("index", "data-00000-of-00001"):
        shutil.copy(copy / f"srn_tiny.model-523000.{ending}", copy / f"srn_tiny.model-90.{ending}")
    assert is_checkpoint(copy)
    assert find_prefix(copy).name == "srn_tiny.model-523000"
    assert find_prefix(copy, 90).name == "srn_tiny.model-90"
    message = "no TensorFlow checkpoint of step 7 in .* it has the steps 90, 523000"
    with pytest.raises(UserError, match=message):
        find_prefix(copy, 7)


def test_damage_is_named(copy):
    index = copy / "srn_tiny.model-523000.index"
    data = copy / "srn_tiny.model-523000.data-00000-of-00001"
    content = index.read_bytes()
    index.write_bytes(content[:-30])
    message = "can't be read as the index of a TensorFlow checkpoint, .*: the magic number"
    with pytest.raises(UserError, match=message):
        read_checkpoint(index)
    index.write_bytes(content)
    data.write_bytes(data.read_bytes()[:20000])
    with pytest.raises(UserError, match="ends before variable g_net/"):
        read_checkpoint(index)
    data.unlink()
    with pytest.raises(UserError, match="data-00000-of-00001 is missing"):
        read_checkpoint(index)
    with pytest.raises(UserError, match="no TensorFlow checkpoint at .*nothing.index is missing"):
        find_prefix(copy / "nothing")
