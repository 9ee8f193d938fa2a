"""A config file's name and its plain data in, its text out: JSON or YAML as the name ends, text as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mgpu.values.document import Written

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
"""Text that needs no quotes in YAML, if it is none of the WORDS."""
WORDS = frozenset(["y", "yes", "n", "no", "true", "false", "on", "off", "null", "none", "nan", "inf"])
"""What some reader of YAML takes for something else than text (YAML 1.1, which PyYAML reads)."""


def dumped(name: str, content: Any) -> str:
    """The text of the file `name`. Numbers keep their value and mappings their order."""
    if isinstance(content, str):
        return content
    if name.endswith((".yaml", ".yml")):
        return "".join(f"{line}\n" for line in _lines(content, ""))
    return json.dumps(_numbers(content), indent=2, ensure_ascii=False) + "\n"


def _numbers(value: Any) -> Any:
    """The value with every number that was kept as written as the number that it is."""
    if isinstance(value, Written):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value


def _lines(value: Any, indent: str) -> Iterator[str]:
    """The lines of a block of YAML 1.1 and 1.2 alike."""
    rows = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    for key, item in rows:
        head = f"{indent}-" if key is None else f"{indent}{_scalar(str(key))}:"
        if isinstance(item, (Mapping, list, tuple)) and item:
            inner = list(_lines(item, indent + "  "))
            if key is None:
                yield f"{head} {inner[0].lstrip()}"
                yield from inner[1:]
            else:
                yield head
                yield from inner
        else:
            yield f"{head} {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, (bool, Mapping, list, tuple)):
        return json.dumps(value)
    return _number(value)


def _number(value: float) -> str:
    """A number that YAML 1.1 reads as one: it wants a point before the exponent."""
    text = repr(float(value)) if isinstance(value, float) else str(value)
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
