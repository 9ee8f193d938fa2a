"""Every mistake is told with its exact line and column, in words, with the change that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgpu.errors import SpecError
from mgpu.spec.check import check
from mgpu.spec.document import MAX_BYTES, read
from tests.compiler.cases import REWRITE, Case, cases, rewrite

FILE = Path(__file__).with_name("bad_specs.txt")
DIVIDER = "# error"


def problems(text: str) -> str:
    """What is wrong with the spec, as line:column: message, and the hint below it."""
    with pytest.raises(SpecError) as caught:
        check(read("spec.yaml", text))
    lines = []
    for problem in caught.value.problems:
        assert problem.mark
        lines.append(f"{problem.mark.line}:{problem.mark.column}: {problem.message}")
        lines += [f"  = {problem.hint}"] if problem.hint else []
    return "\n".join(lines)


if REWRITE:
    rewrite(FILE, DIVIDER, problems)


@pytest.mark.parametrize("case", list(cases(FILE, DIVIDER)), ids=lambda case: case.name)
def test_bad_spec(case: Case) -> None:
    assert problems(case.text) == case.expected


def test_there_are_many() -> None:
    assert len(list(cases(FILE, DIVIDER))) >= 90


@pytest.mark.parametrize(("text", "expected"), [
    ("kind: task\r\ncommand: [a]\r\ngpu: 1\r\n", "3:1: unknown key 'gpu'"),
    ("\ufeffkind: task\ncommand: [a]\ngpu: 1\n", "3:1: unknown key 'gpu'"),
    ("kind: task\nname: \x07\n", "2:7: a control character stands here"),
    ("# " + "x" * MAX_BYTES, "1:1: this document has more than 256 KiB"),
    ("kind: task\ncommand: [" + "a, " * 6000 + "]", "2:15002: this document has more than 5,000 values"),
    ("kind: task\ncommand: [a]\ntimeout: " + "9" * 39 + "\n", "3:10: timeout wants a length of time"),
    ("kind: inference\nengine: vllm\nmodel: a\ngpus: 99999\n", "4:7: gpus wants a number from 0 to 4096"),
    ("kind: inference\nengine: vllm\nmodel: a\nport: .nan\n", "4:7: port wants a whole number"),
    ("kind: task\ncommand: [a]\ntimeout: .inf\n", "3:10: timeout wants a length of time"),
    ("kind: task\ncommand: ['" + "\U0001f600" * 9 + "', 1.5]\n", "2:24: command[1] wants text, and 1.5 is not"),
])  # fmt: skip
def test_odd_texts(text: str, expected: str) -> None:
    assert problems(text).startswith(expected)
