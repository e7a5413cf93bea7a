"""A training never validates on a test set without saying so."""

from importlib import import_module
from pathlib import Path

import pytest

from methods.common.validation import say_test_set
from utils.config import parse


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("dataset/GOPRO/test", True),
        ("dataset/DVD/test", True),
        ("dataset/RealBlur-J/Test/input", True),
        ("dataset/pictures/val_pairs", False),
        ("dataset/test/mine/val", False),
        (None, False),
    ],
)
def test_test_sets_are_named(path, said, capsys):
    say_test_set(path and Path(path))
    words = capsys.readouterr().out
    assert bool(words) == said
    if said:
        assert words.count("\n") == 1 and words.startswith(
            f"note: validation on {path}, a test set"
        )


@pytest.mark.parametrize("method", ["image_deblur", "video_deblur"])
def test_trainings_say_it(method, monkeypatch, capsys, make_videos, tmp_path):
    module = import_module(f"methods.{method}.train")
    monkeypatch.setattr(module, "train", lambda *arguments: {})
    make_videos("gopro", root=tmp_path / "SET/test", size=(48, 48))
    config_class = import_module(f"methods.{method}.config").TrainConfig
    words = ["--config", "tiny", "--val_path", str(tmp_path / "SET/test")]
    module.main(parse(config_class, method, "train", words))
    assert "a test set" in capsys.readouterr().out
