"""A Document and changes in, its text with just those changes out: comments, order and style of all else stay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mgpu.errors import SpecError, UsageError
from mgpu.spec.document import read, scalar
from mgpu.spec.override import changed
from mgpu.spec.tree import Node, tree, walk
from mgpu.values.document import Document, Written
from mgpu.values.mark import Path

PLAIN = re.compile(r"[A-Za-z0-9./][A-Za-z0-9._/+-]*")
"""A text that needs no quotes, in a list or mapping in brackets either."""


def edited(document: Document, changes: Mapping[Path, Any]) -> str:
    """The text of `document` with every one of `changes`: a value for the key at the path, which is added where it is
    not there, or None to take it away. Raises UsageError for a text in which that cannot be done in place."""
    text = document.text
    for path, value in changes.items():
        wanted = changed(read(document.name, text), {path: value}).data
        try:
            text = _edited(text, read(document.name, text).data, path, value)
            found = read(document.name, text).data
        except (ValueError, LookupError, SpecError) as error:
            raise _by_hand(document, path, value) from error
        if not same(found, wanted):
            raise _by_hand(document, path, value)
    return text


def diff(old: str, new: str, name: str) -> str:
    """How `new` differs from `old`, as `patch` takes it; empty where it does not."""
    import difflib

    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), name, name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def same(a: Any, b: Any) -> bool:
    """Whether two documents' data are the same, the spelling of their numbers too."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return str(a) == str(b) and isinstance(a, str) == isinstance(b, str)


def flow(value: Any, quoted: bool = False) -> str:
    """A value on one line, in YAML; `quoted`: as JSON has it."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_text(str(key), quoted)}: {flow(item, quoted)}" for key, item in value.items())
        return "{" + inner + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item, quoted) for item in value) + "]"
    if isinstance(value, str):
        return _text(value, quoted)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value.text if isinstance(value, Written) else repr(value)


def _text(text: str, quoted: bool) -> str:
    if not quoted and PLAIN.fullmatch(text) and scalar(text) == text:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _by_hand(document: Document, path: Path, value: Any) -> UsageError:
    where = ".".join(map(str, path))
    what = "take it away" if value is None else f"write {flow(value)}"
    return UsageError(f"{where} in {document.name} is written so that mgpu cannot change it in place", f"there, {what}")


def _edited(text: str, data: Any, path: Path, value: Any) -> str:
    text = _without_aliases(text, data, path)
    root = tree(text)
    at, node = 0, root
    while at < len(path) and path[at] in node.children:
        node = node.children[path[at]]
        at += 1
    if value is None:
        return _removed(text, root, path) if at == len(path) else text
    quoted = _json(text, root)
    for name in reversed(path[at + 1 :]):
        value = {name: value}
    empty = text[node.start : node.end].strip() in ("", "~", "null") and node is not root
    if at == len(path) or empty:
        whole = value if at == len(path) else {path[at]: value}
        return _replaced(text, node, flow(whole, quoted))
    if node.kind != "mapping":
        raise ValueError("not a mapping")
    return _added(text, node, f"{_text(str(path[at]), quoted)}: {flow(value, quoted)}")


def _without_aliases(text: str, data: Any, path: Path) -> str:
    """The text with every alias written out that a change at `path` would reach, or whose anchor it would take."""
    while True:
        nodes = list(walk(tree(text)))
        anchors = {node.anchor for at, node in nodes if node.kind != "alias" and node.anchor and _touch(at, path)}
        aliases = [
            (at, node)
            for at, node in nodes
            if node.kind == "alias" and (node.anchor in anchors or (at == path[: len(at)] and at != path))
        ]
        if not aliases:
            return text
        at, node = aliases[-1]
        value = data
        for name in at:
            value = value[name]
        text = text[: node.start] + flow(value, _json(text, tree(text))) + text[node.end :]


def _touch(a: Path, b: Path) -> bool:
    """Whether one of the two is, or lies in, the other."""
    return a[: len(b)] == b or b[: len(a)] == a


def _json(text: str, root: Node) -> bool:
    """Whether the text quotes its keys, as JSON does."""
    first = next(iter(root.children.values()), None)
    return root.flow and first is not None and text[first.begin] == '"'


def _line_end(text: str, at: int) -> int:
    """The end of the line that `at` is on, before its line break."""
    if at and text[at - 1] == "\n":
        return at - (2 if text[:at].endswith("\r\n") else 1)
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return end - 1 if text[end - 1 : end] == "\r" and end > at else end


def _replaced(text: str, node: Node, new: str) -> str:
    """`new` in the place of a value. What stood below its key goes, what is said beside the key stays."""
    beside = _line_end(text, node.key_end)
    if node.start == node.end:
        colon = " " if node.colon else ": "
        return f"{text[: node.start]}{colon}{new}{text[node.end :]}"
    if node.start > beside and node.key_end > node.begin:
        colon_end = text.index(":", node.key_end) + 1
        below = _line_end(text, node.end)
        return f"{text[:colon_end]} {new}{text[colon_end:beside]}{text[below:]}"
    rest = text[node.end :]
    return text[: node.start] + new + (f"\n{rest}" if text[node.end - 1] == "\n" else rest)


def _added(text: str, mapping: Node, item: str) -> str:
    """`item` at the end of a mapping, as its other items are written."""
    children = list(mapping.children.values())
    if mapping.flow:
        if not children:
            opening = text.index("{", mapping.start) + 1
            return text[:opening] + item + text[opening:]
        return f"{text[: children[-1].end]}, {item}{text[children[-1].end :]}"
    first, last = children[0], children[-1]
    indent = " " * (first.begin - text.rfind("\n", 0, first.begin) - 1)
    newline = "\r\n" if "\r\n" in text else "\n"
    if last.end and text[last.end - 1] == "\n":
        return f"{text[: last.end]}{indent}{item}{newline}{text[last.end :]}"
    end = _line_end(text, last.end)
    return f"{text[:end]}{newline}{indent}{item}{text[end:]}"


def _removed(text: str, root: Node, path: Path) -> str:
    """The text without the item at `path`; with its lines, where it has them to itself."""
    parent = root
    for name in path[:-1]:
        parent = parent.children[name]
    children = list(parent.children.values())
    gone = parent.children[path[-1]]
    at = children.index(gone)
    if parent.kind != "mapping":
        raise ValueError("not a mapping")
    if len(children) == 1:
        return _replaced(text, parent, "{}")
    if parent.flow:
        following = children[at + 1].begin if at + 1 < len(children) else None
        return text[: gone.begin] + text[following:] if following else text[: children[at - 1].end] + text[gone.end :]
    start = text.rfind("\n", 0, gone.begin) + 1
    if text[start : gone.begin].strip():
        return text[: gone.begin] + text[children[at + 1].begin :]
    end = gone.end if text[gone.end - 1] == "\n" else _line_end(text, gone.end) + 1
    return text[:start] + text[end + text.startswith("\r\n", end - 1) :]
