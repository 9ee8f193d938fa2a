"""Texts that no file of cases can hold, --set where values are shared, and what validate prints read again."""

from __future__ import annotations

from typing import Any

import pytest

from mgpu.cli.validate import resolved
from mgpu.errors import SpecError, UsageError
from mgpu.spec.between import MOST_TASKS
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.spec.override import override
from mgpu.spec.references import asked
from mgpu.values.document import Written

TASK = "kind: task\ncommand: [a]\n"


def problems(text: str) -> list[str]:
    """What is wrong with the spec, as line:column: message."""
    with pytest.raises(SpecError) as caught:
        check(read("spec.yaml", text))
    marks = [(problem.mark, problem.message) for problem in caught.value.problems]
    return [f"{mark.line}:{mark.column}: {message}" for mark, message in marks if mark]


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("place", ["# a{}b\n", "x: 'a{}b'\n", "x: a{}b\n"])
def test_line_breaks_that_nobody_sees(char: str, place: str) -> None:
    column = place.index("{") + 1
    expected = f"3:{column}: an invisible line separator stands here: {char!a}"
    assert problems(TASK + place.format(char) + "gpu: 1\n") == [expected]


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\ufeff", "\xa0", "\x7f"])
def test_the_same_written_as_escapes_are_text(char: str) -> None:
    (job,) = check(read("s", f'kind: task\ncommand: ["a\\u{ord(char):04x}b"]\n')).jobs
    assert job.command == (f"a{char}b",)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them(end: str) -> None:
    assert problems(TASK.replace("\n", end) + f"name: A{end}gpu: 1{end}") == [
        "3:7: name wants a name of small letters, digits and hyphens, not 'A'",
        "4:1: unknown key 'gpu'",
    ]


@pytest.mark.parametrize(("log", "message"), [
    ("(" * 900, "3:8: ready log is not a regular expression: it is nested too deep"),
    ("(" * 5000, "3:14: ready.log has more than 1,000 characters"),
])  # fmt: skip
def test_patterns_that_would_break_the_compiler(log: str, message: str) -> None:
    assert problems(TASK + f"ready: {{log: '{log}'}}\n") == [message]


def test_a_pattern_that_python_only_warns_of_is_good() -> None:
    assert check(read("s", TASK + "ready: {log: '[[a]'}\n")).jobs[0].ready.log == "[[a]"


def test_as_many_tasks_as_there_may_be() -> None:
    """In a chain, so that whatever walks along it comes as deep as it can."""
    last = MOST_TASKS - 1
    needs = [f", needs: {{j{at + 1}: done}}" if at < last else "" for at in range(MOST_TASKS)]
    lines = [f"  j{at}: {{kind: task, command: [a]{need}}}\n" for at, need in enumerate(needs)]
    assert len(check(read("s", "kind: pipeline\njobs:\n" + "".join(lines))).jobs) == MOST_TASKS


def test_references_are_found_in_one_pass() -> None:
    assert asked("${jobs." * 30_000 + "a.url}") == [("a", "url")]


def changed(text: str, *sets: str) -> Any:
    return override(read("s", text), sets).data


def test_a_change_stays_where_it_was_made() -> None:
    text = "kind: task\nenv: &e {A: x}\nother: *e\n"
    assert changed(text, "env.A=y") == {"kind": "task", "env": {"A": "y"}, "other": {"A": "x"}}


def test_names_of_digits_are_keys_of_mappings_and_places_in_lists() -> None:
    data = changed("jobs: {1: {command: [a, b]}}\n", "jobs.1.command.1=c", "jobs.2.gpus=1")
    assert data == {"jobs": {"1": {"command": ["a", "c"]}, "2": {"gpus": 1}}}


@pytest.mark.parametrize("words", ["command.9.x=1", "command.x=1", "command.-1=1", "command.²=1", ".=1", "a..b=1",
                                   "kind.0=1", "x." * 100 + "y=1", "command.0.x=1"])  # fmt: skip
def test_paths_that_lead_nowhere(words: str) -> None:
    with pytest.raises(UsageError, match="leads nowhere"):
        changed(TASK, words)


@pytest.mark.parametrize("text", [
    "env: {A: '3.10', B: 'true', C: '', D: ' x ', E: \"a\\nb\", F: '# no', G: 'null', H: '0x1f', I: '1e3'}\n",
    "script_args: {lr: 1.0e-4, n: .5, o: 0755, inf: .inf, not: .nan, big: 12345678901234567890, neg: -3}\n",
    "env: &a {A: " + "long " * 60 + "}\nother: *a\n",
    "command: [a, \"\\u2028\", 'é', \"\\t\", \"\\ud83d\\ude00\", '~', '- x', 'a: b', '{{ x }}', '%', '@', '`']\n",
])  # fmt: skip
def test_what_validate_prints_reads_as_the_same(text: str) -> None:
    document = read("s", "kind: task\n" + text)
    spec = type("S", (), {"document": document})
    again = read("s", resolved(spec))  # type: ignore[arg-type]
    assert plain(again.data) == plain(document.data)


def plain(value: Any) -> Any:
    """Plain data with numbers as they were written."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return ("number", value.text) if isinstance(value, Written) else (type(value).__name__, value)
