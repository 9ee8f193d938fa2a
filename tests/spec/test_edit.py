"""An edit changes what it says and not a byte beside it; the text says afterwards what the changed data say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mgpu.errors import UsageError
from mgpu.spec.document import read
from mgpu.spec.edit import diff, edited, flow, same
from mgpu.spec.override import changed
from mgpu.spec.tree import tree
from mgpu.values.mark import Path

SERVER = """\
# A chat server for the team.
kind: inference   # not training

engine: vllm
model: meta-llama/Llama-3.1-70B-Instruct  # the big one
gpus: 2
args:
  # seen to help
  enable-prefix-caching: true
  max-num-seqs: 256   # as measured

env: {A: "1", B: two}  # of ours
"""
PIPE = """\
kind: pipeline
jobs:
  llm: {kind: inference, engine: vllm, model: m, gpus: 1}
  prompt:
    kind: task
    command: [python, x.py]   # glue
"""


def after(text: str, changes: dict[Path, Any]) -> str:
    return edited(read("spec.yaml", text), changes)


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        (("gpus",), 4, "gpus: 2\n", "gpus: 4\n"),
        (("gpus",), "auto", "gpus: 2\n", "gpus: auto\n"),
        (("gpus",), {"count": 2, "name": "H100 80GB"}, "gpus: 2\n", 'gpus: {count: 2, name: "H100 80GB"}\n'),
        (("kind",), "training", "kind: inference   # not", "kind: training   # not"),
        (("args", "max-num-seqs"), 64, "seqs: 256   # as", "seqs: 64   # as"),
        (("args", "max-num-seqs"), None, "  max-num-seqs: 256   # as measured\n", ""),
        (("args", "enable-prefix-caching"), None, "  enable-prefix-caching: true\n", ""),
        (("args", "dtype"), "half", "# as measured\n", "# as measured\n  dtype: half\n"),
        (("args",), None, SERVER[SERVER.index("args:") : SERVER.index("\nenv:")], ""),
        (("args",), {"a": 1}, SERVER[SERVER.index("args:") : SERVER.index("\nenv:")], "args: {a: 1}\n"),
        (("context_length",), 8192, "# of ours\n", "# of ours\ncontext_length: 8192\n"),
        (("parallel", "tensor"), 2, "# of ours\n", "# of ours\nparallel: {tensor: 2}\n"),
        (("env", "C"), "3", "B: two}", 'B: two, C: "3"}'),
        (("env", "A"), "yes: no", '"1"', '"yes: no"'),
        (("env", "A"), None, 'A: "1", B', "B"),
        (("env", "B"), None, ", B: two", ""),
        (("no", "such"), None, "", ""),
    ],
)  # fmt: skip
def test_one_change(path: Path, value: object, old: str, new: str) -> None:
    assert SERVER.count(old) == 1 or not old
    assert after(SERVER, {path: value}) == (SERVER.replace(old, new) if old else SERVER)


def test_a_job_of_a_pipeline() -> None:
    changes = {("jobs", "llm", "args", "max-num-seqs"): 64, ("jobs", "prompt", "gpus"): 1, ("jobs", "llm", "gpus"): 2}
    assert after(PIPE, changes) == PIPE.replace("gpus: 1}", "gpus: 2, args: {max-num-seqs: 64}}").replace(
        "# glue\n", "# glue\n    gpus: 1\n"
    )


@pytest.mark.parametrize(
    ("text", "changes", "result"),
    [
        ("a: 1", {("b",): 2}, "a: 1\nb: 2"),
        ("a: 1\r\nb: 2\r\nc: 3\r\n", {("b",): None, ("d",): 4}, "a: 1\r\nc: 3\r\nd: 4\r\n"),
        ("a: 1\nb: 2", {("b",): None}, "a: 1\n"),
        ("a: |\n  x\n\n# end\n", {("b",): 1}, "a: |\n  x\nb: 1\n\n# end\n"),
        ("a: |+\n  x\n\n# end\n", {("b",): 1}, "a: |+\n  x\n\nb: 1\n# end\n"),
        ("a: |+\n  x\n\nb: 1\n", {("a",): 2}, "a: 2\nb: 1\n"),
        ("a: |+\n  x\n\nb: 1\n", {("a",): None}, "b: 1\n"),
        ("a: >-\n  x\n  y\nb: 1\n", {("a",): "z"}, "a: z\nb: 1\n"),
        ("a:\nb: 1\n", {("a",): 2}, "a: 2\nb: 1\n"),
        ("a:   # later\nb: 1\n", {("a", "x"): 2}, "a: {x: 2}   # later\nb: 1\n"),
        ("a:  # why\n  b: 1  # lost with it\nc: 2\n", {("a",): 3}, "a: 3  # why\nc: 2\n"),
        ("a:\n- x: 1\n  y: 2\n- z\n", {("a", 0, "x"): None}, "a:\n- y: 2\n- z\n"),
        ("a:\n- x: 1\n- z\n", {("a", 0): 3, ("a", 1): "w"}, "a:\n- 3\n- w\n"),
        ("a:\n  b: 1\nc: 2\n", {("a", "b"): None}, "a: {}\nc: 2\n"),
        ("a: {b: 1}\n", {("a", "b"): None}, "a: {}\n"),
        ("a: {}\n", {("a", "b"): True}, "a: {b: true}\n"),
        ("a: {b: 1,}\n", {("a", "c"): 2}, "a: {b: 1, c: 2,}\n"),
        ("a: {b}\n", {("a", "b"): 2}, "a: {b: 2}\n"),
        ('{"a": 1}', {("b", "c"): "x"}, '{"a": 1, "b": {"c": "x"}}'),
        ("a: &k {x: 1}\nb: *k\n", {("b", "x"): 2}, "a: &k {x: 1}\nb: {x: 2}\n"),
        ("a: &k {x: 1}\nb: *k\n", {("a", "x"): 2}, "a: &k {x: 2}\nb: {x: 1}\n"),
        ("a: &k 1\nb: *k\nc: 3\n", {("a",): None}, "b: 1\nc: 3\n"),
        ("a: &k 1\nb: *k\n", {("b",): 2}, "a: &k 1\nb: 2\n"),
    ],
)
def test_every_style(text: str, changes: dict[Path, Any], result: str) -> None:
    assert after(text, changes) == result


def test_a_path_through_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match=r"gpus\.count leads nowhere"):
        after("gpus: 2\n", {("gpus", "count"): 3})


def test_what_cannot_be_changed_in_place_says_what_to_write() -> None:
    with pytest.raises(UsageError) as caught:
        after("? a\n: 1\n", {("b",): [1, "x y"]})
    assert caught.value.hint == 'there, write [1, "x y"]'


def test_a_diff_can_be_read() -> None:
    assert diff("a: 1\nb: 2", "a: 1\nb: 3", "x.yaml") == (
        "--- x.yaml\n+++ x.yaml\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n\\ No newline at end of file\n+b: 3\n"
        "\\ No newline at end of file\n"
    )
    assert diff("a: 1\n", "a: 1\n", "x.yaml") == ""


NAMES = some.sampled_from(["a", "b", "c-d", "e f", "on", "1"])
TEXTS = some.sampled_from(["x", "", "no", "1.5", "a: b", "# c", "two\nlines", "ünï", "\u2028", "-", "7", "*a", "null"])
VALUES = some.recursive(
    TEXTS | some.integers(-9, 9) | some.booleans() | some.floats(-9, 9),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TABLES = some.dictionaries(NAMES, VALUES, min_size=1, max_size=4)


@some.composite
def texts(draw: some.DrawFn) -> str:
    """A document in a mix of styles, with a comment on every line that can take one."""
    return "\n".join(block(draw(TABLES), 0, draw)) + draw(some.sampled_from(["", "\n", "\n# end\n"]))


def block(table: dict[str, Any], indent: int, draw: some.DrawFn) -> list[str]:
    lines = []
    for key, value in table.items():
        start = " " * indent + flow(key) + ":"
        if isinstance(value, dict) and value and draw(some.booleans()):
            lines += [f"{start}  # {len(lines)} of {indent}", *block(value, indent + draw(some.integers(1, 3)), draw)]
        elif value == "two\nlines" and draw(some.booleans()):
            inner = " " * (indent + 2)
            lines += [f"{start} |-", f"{inner}two", f"{inner}lines"]
        else:
            lines.append(f"{start} {flow(value)}" + draw(some.sampled_from(["", f"  # beside {indent}"])))
        lines += draw(some.sampled_from([[], [""], [f"{' ' * indent}# below"]]))
    return lines


def paths(data: Any, path: Path = ()) -> list[Path]:
    """Every key of a mapping, and a new one in each."""
    if not isinstance(data, dict):
        return []
    return [(*path, "new"), (*path, "n", "m")] + [
        found for key, item in data.items() for found in ((*path, key), *paths(item, (*path, key)))
    ]


@settings(max_examples=400, deadline=None)
@given(some.data())
def test_the_text_says_what_the_data_say_and_the_rest_is_as_it_was(data: some.DataObject) -> None:
    text = data.draw(texts())
    document = read("spec.yaml", text)
    path = data.draw(some.sampled_from(paths(document.data)))
    value = data.draw(some.none() | VALUES)
    if value is None and len(path) == 1 and len(document.data) == 1:
        return
    new = edited(document, {path: value})
    assert same(read("spec.yaml", new).data, changed(document, {path: value}).data)
    kept = untouched(text, path, gone=value is None)
    rest = iter(new.splitlines())
    assert all(line in rest for line in kept), (text, new)


def untouched(text: str, path: Path, *, gone: bool) -> list[str]:
    """The lines of the text but those on which what is at `path` stands, or what it is added to."""
    nodes = [tree(text)]
    for name in path:
        if name not in nodes[-1].children:
            break
        nodes.append(nodes[-1].children[name])
    there = len(nodes) == len(path) + 1
    at = nodes[-2] if there and gone and len(nodes[-2].children) == 1 else nodes[-1]
    lines = text.splitlines()
    if not there and (gone or (at.kind == "mapping" and not at.flow)):
        return lines
    first = text.count("\n", 0, at.begin)
    last = text.count("\n", 0, max(at.begin, at.end))
    return lines[:first] + lines[last + 1 :]
