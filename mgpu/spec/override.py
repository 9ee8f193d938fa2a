"""A Document and ``path=value`` words in, the Document with those values changed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mgpu.errors import UsageError
from mgpu.spec.document import MAX_DEPTH, read
from mgpu.values.document import Document
from mgpu.values.mark import Path


def override(document: Document, sets: Sequence[str]) -> Document:
    """`document` with each of `sets` applied; values are read as YAML. Raises UsageError for a path to nowhere."""
    data = _copied(document.data)
    given: dict[Path, str] = {}
    for words in sets:
        dotted, equals, text = words.partition("=")
        if not equals or not dotted:
            raise UsageError(f"--set {words} is not path=value", "--set gpus=2")
        value = read("--set", f"value: {text}\n").data["value"]
        given[_put(data, dotted.split("."), value, f"--set {words}")] = words
    return replace(document, data=data, given=given)


def changed(document: Document, changes: Mapping[Path, Any]) -> Document:
    """`document` with the value of every path changed; None takes the key away. Raises UsageError for a path to
    nowhere."""
    data = _copied(document.data)
    for path, value in changes.items():
        if value is None:
            _take(data, path)
        else:
            _put(data, [str(part) for part in path], value, ".".join(map(str, path)))
    return replace(document, data=data)


def _take(data: Any, path: Path) -> None:
    for name in path[:-1]:
        there = isinstance(data, dict) or (isinstance(data, list) and isinstance(name, int) and name < len(data))
        data = (data.get(name) if isinstance(data, dict) else data[name]) if there else None
    if isinstance(data, dict):
        data.pop(path[-1], None)


def _copied(value: Any) -> Any:
    """A copy that shares nothing, not even what aliases share: a change in one place stays there."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _put(data: Any, names: list[str], value: Any, words: str) -> Path:
    """Put `value` where `names` lead, making the mappings that lack on the way, and return its path."""
    path: list[str | int] = []
    for at, name in enumerate(names):
        last = at == len(names) - 1
        if isinstance(data, dict) and name and at < MAX_DEPTH:
            path.append(name)
            data[name] = value if last else {} if data.get(name) is None else data[name]
        elif isinstance(data, list) and name.isdecimal() and len(name) < 5 and int(name) < len(data):
            path.append(int(name))
            data[int(name)] = value if last else data[int(name)]
        else:
            raise UsageError(f"{words} leads nowhere in the spec", "name a key of a mapping, or a place in a list")
        data = data[path[-1]]
    return tuple(path)
