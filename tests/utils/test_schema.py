import json

import pytest

from utils.errors import UserError
from utils.safe_yaml import MAX_LEVELS, read_yaml
from utils.schema import (
    anything,
    both,
    either,
    fields,
    items,
    number,
    parse_json,
    read_json,
    require,
    shown,
    text,
    values,
)

SIZE = items(number(1, 64, whole=True), minimum=2)
ENTRY = fields({"name": text(9), "size": SIZE}, score=number())
TREE = fields({"data": items(ENTRY)})


def entry(**changes) -> dict:
    return {"data": [{"name": "a", "size": [1, 64]}, {"name": "b", "size": [2, 3], **changes}]}


def test_what_fits_passes():
    require(TREE, entry(score=0.5, other={"any": ["thing", None]}), "file")
    require(both(values(number()), fields({"a": number(0, 1)})), {"a": 1, "b": -2.5}, "file")
    require(either(number(), text()), "a", "file")
    require(anything, float("nan"), "file")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": [1, 65]}, r"data\[1\].size\[1\] is 65, not a whole number from 1 to 64"),
        ({"size": [1, 2.0]}, r"size\[1\] is 2.0, not a whole number"),
        ({"size": [True, 2]}, r"size\[0\] is True, not a whole number"),
        ({"size": [1]}, r"data\[1\].size is a list of 1, not a list of at least 2 items"),
        ({"size": {"1": 2}}, r"size is a mapping of 1, not a list"),
        ({"size": None}, "size is None, not a list"),
        ({"score": float("nan")}, "score is nan, not a number"),
        ({"score": float("inf")}, "score is inf, not a number"),
        ({"score": 2**70}, "score is 1180591620717411303424, not a number"),
        ({"score": "0.5"}, "score is '0.5', not a number"),
        ({"name": 5}, "name is 5, not text of at most 9 characters"),
        ({"name": "n" * 10}, "name is 'nnnnnnnnnn', not text"),
        ({"name": "\ud800"}, r"name is '\\ud800', not text in Unicode"),
        ({"name": "a\0"}, r"name is 'a\\x00', not text"),
    ],
)
def test_what_does_not_is_named_with_its_way(changes, sentence):
    with pytest.raises(UserError, match=f"^file: .*{sentence}"):
        require(TREE, entry(**changes), "file")


def test_missing_keys_and_other_top_levels():
    for value, sentence in (
        ({}, "the top level is a mapping of 0, not a mapping with data"),
        ([], "the top level is a list of 0, not a mapping"),
        (None, "the top level is None, not a mapping"),
        ({"data": ["x"]}, r"data\[0\] is 'x', not a mapping"),
    ):
        with pytest.raises(UserError, match=sentence):
            require(TREE, value, "file")


def test_a_value_is_shown_in_one_short_line():
    assert shown("a\nb\x1b\u2028") == r"'a\nb\x1b\u2028'"
    assert len(shown("x" * 10**6)) < 80 and shown([[1]] * 3) == "a list of 3"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "can't be read as JSON"),
        (b"\xff\xfe\0", "can't be read as JSON"),
        (b'{"data": [', "can't be read as JSON"),
        (b"[" * 100_000, "can't be read as JSON"),
        (b"[" * 65 + b"1" + b"]" * 65, "more than 64 levels"),
        (b'{"data": ' + b"9" * 5000 + b"}", "a number of 5,000 digits"),
        (b'{"data": 1e999}', "data is inf, not a list"),
        (b"null", "the top level is None"),
    ],
)
def test_files_that_are_no_such_json(tmp_path, content, sentence):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.json.*{sentence}"):
        read_json(path, TREE)


def test_a_file_is_read_with_a_bom_and_within_its_limit(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(entry()), encoding="utf-8-sig")
    assert read_json(path, TREE) == entry()
    with pytest.raises(UserError, match="at most 9 of such a file"):
        read_json(path, TREE, maximum=9)
    assert parse_json('{"a": 12345678901234567890}', anything, "x") == {"a": 12345678901234567890}


def test_yaml_of_plain_values_with_aliases(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [1, 2.5, x]\nb: *a\nc: {<<: {d: null}, e: true}\n", encoding="utf-8-sig")
    plain = [1, 2.5, "x"]
    assert read_yaml(path) == {"a": plain, "b": plain, "c": {"d": None, "e": True}}


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("a0: &a0 [x, x, x]\n" + LAUGHS, "100,000 values"),
        ("a: &a [*a]\n", r"\*a holds itself"),
        ("a: &a {b: [{c: *a}]}\n", r"\*a holds itself"),
        ("a: " + "[" * 9000, "32 levels"),
        ("- " * 9000 + "1", "32 levels"),
        (f"a: {'9' * 5000}\n", "a value of 5,000 characters"),
        ("a: *none\n", "undefined alias"),
        ("a: [1\n", "expected"),
        ("a: 2024-99-99\n", "month must be in"),
        ("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
        ("{a: 1, [b]: 2}\n", "unhashable key"),
    ],
)
def test_yaml_that_is_refused(tmp_path, words, sentence):
    path = tmp_path / "a.yaml"
    path.write_text(words)
    with pytest.raises(UserError, match=f"a.yaml is not valid YAML: .*{sentence}"):
        read_yaml(path)


def test_the_deepest_yaml_is_read(tmp_path):
    path = tmp_path / "a.yaml"
    levels = MAX_LEVELS - 1
    path.write_text("[" * levels + "]" * levels)
    value = read_yaml(path)
    depth = 0
    while value is not None:
        value = value[0] if value else None
        depth += 1
    assert depth == levels
