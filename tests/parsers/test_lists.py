"""The lists that come from parsers are what those parsers say, where they are installed in the version of a list."""

from __future__ import annotations

import pytest

from mgpu.catalog.flags import FOLDER, versions
from tests.parsers.built import MADE, OtherVersion, built
from tests.parsers.layout import text
from tests.parsers.merge import merged
from tests.parsers.oracle import ENGINES, interpreter
from tests.require import require

CASES = [(name, version) for name in MADE if name in ENGINES for version in versions(name)]


@pytest.mark.parametrize(("name", "version"), CASES)
def test_a_list_is_what_the_parser_says(name: str, version: str) -> None:
    python = interpreter(name)
    require(name, python is not None, "no interpreter has it")
    assert python
    try:
        data = built(name, version, python)
    except OtherVersion as other:
        pytest.skip(str(other))
    assert (FOLDER / name / f"{version}.json").read_text("utf-8") == text(data)


def test_what_is_known_lies_over_what_the_parser_says() -> None:
    parsed = {"port": {"kind": "int", "default": 1, "aliases": ["p"]}, "on": {"kind": "bool", "negative": "no-on"}}
    known = {
        "flags": {"port": {"low": 1, "default": None, "aliases": ["P"]}, "other": {"low": 1}},
        "removed": {"no-on": {"gone": "1.0"}, "off": {"gone": "1.1"}, "later": {"gone": "2.0"}},
        "excludes": [["port", "on"], ["port", "other"]],
    }
    data = merged(parsed, known, "1.2", "a parser")
    assert data["flags"]["port"] == {"kind": "int", "aliases": ["p", "P"], "low": 1}
    assert data["removed"] == {"off": {"gone": "1.1"}}
    assert data["excludes"] == [["port", "on"]]


def test_a_list_is_one_flag_a_line() -> None:
    data = {"source": "s", "flags": {"b": {"low": 0, "kind": "int"}, "a": {"kind": "bool"}}, "open": True}
    lines = ['"source": "s",', '"flags": {', '"a": {"kind": "bool"},', '"b": {"kind": "int", "low": 0}', "},"]
    assert text(data).splitlines() == ["{", *lines, '"open": true', "}"]
