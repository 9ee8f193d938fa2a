"""A flag of one engine in, what another calls the same thing out (same.json): people bring flags along."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from mgpu.values.flag import plain


@cache
def _rows() -> tuple[dict[str, str], ...]:
    data = json.loads(Path(__file__).with_name("same.json").read_text("utf-8"))
    return tuple(data["same"].values())


def called(flag: str, name: str) -> str | None:
    """What the list `name` calls that which another list calls `flag`; None where it has no such thing."""
    rows = (row for row in _rows() if name in row)
    return next((row[name] for row in rows if plain(flag) in {plain(other) for other in row.values()}), None)
