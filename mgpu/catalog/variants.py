"""A model of the catalogue in, the repositories that hold it in fewer bits out (variants.json, with sources)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Variant(NamedTuple):
    """A repository whose weights are those of a model, stored in `format`."""

    format: str
    repository: str


@cache
def _known() -> dict[str, tuple[Variant, ...]]:
    rows = json.loads(Path(__file__).with_name("variants.json").read_text("utf-8"))["variants"]
    known: dict[str, tuple[Variant, ...]] = {}
    for row in rows:
        known[row["model"]] = (*known.get(row["model"], ()), Variant(row["format"], row["repository"]))
    return known


def variants(model: str) -> tuple[Variant, ...]:
    """What else there is of the model with this id, the most bits first; its own repository is not among it."""
    return _known().get(model, ())
