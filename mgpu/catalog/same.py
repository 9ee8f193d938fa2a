"""A flag of one engine in, what another calls the same thing out (same.json): people bring flags along."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from mgpu.values.flag import plain

SPEC = "mgpu"
"""The column of a row that names the spec's own key."""
OTHERS = "others"
"""The column with what the thing is called where mgpu has no list: in older versions, other programs, and by hand."""


@cache
def _rows() -> tuple[tuple[dict[str, str], frozenset[str]], ...]:
    """Each row, and every name in it."""
    data = json.loads(Path(__file__).with_name("same.json").read_text("utf-8"))
    rows = []
    for row in data["same"].values():
        names = [*row.get(OTHERS, []), *(name for column, name in row.items() if column not in (OTHERS, SPEC))]
        rows.append((row, frozenset(plain(name).lower() for name in names)))
    return tuple(rows)


def called(flag: str, name: str) -> str | None:
    """What the list `name` calls that which another list calls `flag`; None where it has no such thing."""
    return next((row[name] for row, names in _rows() if name in row and plain(flag).lower() in names), None)


def spec_key(flag: str) -> str | None:
    """The spec's own key for what some list calls `flag`; None where it has none."""
    return next((row[SPEC] for row, names in _rows() if SPEC in row and plain(flag).lower() in names), None)
