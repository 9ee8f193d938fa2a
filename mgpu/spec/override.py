"""A Document and ``path=value`` words in, the Document with those values changed out."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from mgpu.errors import UsageError
from mgpu.spec.document import read
from mgpu.values.document import Document
from mgpu.values.mark import Path


def override(document: Document, sets: Sequence[str]) -> Document:
    """`document` with each of `sets` applied; values are read as YAML. Raises UsageError for a path to nowhere."""
    data = deepcopy(document.data)
    given = {}
    for words in sets:
        dotted, equals, text = words.partition("=")
        if not equals or not dotted:
            raise UsageError(f"--set {words} is not path=value", "--set gpus=2")
        path: Path = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
        _put(data, path, read("--set", f"value: {text}\n").data["value"], words)
        given[path] = words
    return replace(document, data=data, given=given)


def _put(data: Any, path: Path, value: Any, words: str) -> None:
    for part in path[:-1]:
        if isinstance(data, dict) and isinstance(part, str):
            data = data.setdefault(part, {})
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
    last = path[-1]
    if isinstance(data, dict):
        data[str(last)] = value
    elif isinstance(data, list) and isinstance(last, int) and last < len(data):
        data[last] = value
    else:
        raise UsageError(f"--set {words} leads nowhere in the spec", "name a key of a mapping, or a place in a list")
