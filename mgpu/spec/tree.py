"""A YAML text in, where each of its nodes begins and ends out: what an edit that touches nothing else must know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Union

from mgpu.values.mark import Path


@dataclass
class Node:
    """A value in the text, from `start` to `end` (offsets of characters). `begin` is where its item begins: its key, or
    its place in a list. `key_end` is the end of its key. `colon` says that a colon stands behind the key."""

    kind: str
    start: int
    end: int
    flow: bool = False
    anchor: str | None = None
    begin: int = 0
    key_end: int = 0
    colon: bool = True
    children: dict[Union[str, int], Node] = field(default_factory=dict)


def tree(text: str) -> Node:
    """The root of a text that `document.read` has read."""
    from ruamel.yaml import YAML

    events = iter(YAML(typ="safe", pure=True).parse(text))
    for event in events:
        if type(event).__name__ in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent"):
            return _node(event, events, text)
    raise ValueError("this text is empty")


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """The node and all below it, in the order of the text, each with its path."""
    yield path, node
    for name, child in node.children.items():
        yield from walk(child, (*path, name))


def _node(event: Any, events: Iterator[Any], text: str) -> Node:
    kind = type(event).__name__
    start, end = event.start_mark.index, event.end_mark.index
    if kind == "AliasEvent":
        return Node("alias", start, end, anchor=event.anchor)
    if kind == "ScalarEvent":
        return Node("scalar", start, _end(text, start, end, event.style), anchor=event.anchor)
    flow = bool(event.flow_style)
    node = Node("mapping" if kind == "MappingStartEvent" else "list", start, end, flow, event.anchor)
    (_pairs if kind == "MappingStartEvent" else _items)(node, events, text)
    return node


def _end(text: str, start: int, end: int, style: str | None) -> int:
    """Where a scalar ends: the empty lines below a block of text are its own only if it keeps them (``|+``)."""
    if style not in ("|", ">") or "+" in text[start : text.find("\n", start)]:
        return end
    return start + len(text[start:end].rstrip())


def _pairs(node: Node, events: Iterator[Any], text: str) -> None:
    for event in events:
        if type(event).__name__ == "MappingEndEvent":
            return _finish(node, event)
        child = _node(next(events), events, text)
        child.begin, child.key_end = event.start_mark.index, event.end_mark.index
        colon = re.compile(r"\s*:").match(text, child.key_end)
        child.colon = colon is not None
        if child.start == child.end and child.kind == "scalar":
            child.start = child.end = colon.end() if colon else child.key_end
        node.children[event.value] = child
    return None


def _items(node: Node, events: Iterator[Any], text: str) -> None:
    for event in events:
        if type(event).__name__ == "SequenceEndEvent":
            return _finish(node, event)
        child = _node(event, events, text)
        child.begin = child.key_end = child.start
        node.children[len(node.children)] = child
    return None


def _finish(node: Node, event: Any) -> None:
    """A bracket ends a node in flow style; one in block style ends with its last item."""
    last = max((child.end for child in node.children.values()), default=node.start)
    node.end = event.end_mark.index if node.flow else last
