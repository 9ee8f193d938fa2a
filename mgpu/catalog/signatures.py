"""The failures that are known by what they leave in a log (signatures.json), as values; standard library only."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from typing import NamedTuple

FILE = os.path.join(os.path.dirname(__file__), "signatures.json")
ROOT, FOLLOWS, WRAPPER = 0, 1, 2
"""Ranks: an error that stands for itself; one that others bring about as well, as a peer's that has gone; a line that
only says that something failed."""
RANKS = {"root": ROOT, "follows": FOLLOWS, "wrapper": WRAPPER}


class Signature(NamedTuple):
    """How a failure shows. One of `patterns` must match, and each of `also`, none of `unless`; `near` is how many
    characters around the match `also` is looked for in (0: anywhere). No pattern matches across lines. `codes` are the
    exit codes it comes with, `engines` those it is of (empty: all). Named groups of the pattern fill the words."""

    id: str
    short: str
    cause: str
    hint: str
    patterns: tuple[re.Pattern[str], ...]
    also: tuple[re.Pattern[str], ...]
    unless: tuple[re.Pattern[str], ...]
    near: int
    codes: frozenset[int]
    engines: frozenset[str]
    rank: int
    lasting: bool
    memory: bool
    source: str


@cache
def signatures() -> tuple[Signature, ...]:
    """All of them, in the order of the file."""
    with open(FILE, encoding="utf-8") as file:
        rows = json.load(file)["signatures"]
    return tuple(
        Signature(
            id=row["id"],
            short=row["short"],
            cause=row["cause"],
            hint=row["change"],
            patterns=_compiled(row["patterns"]),
            also=_compiled(row.get("also", ())),
            unless=_compiled(row.get("unless", ())),
            near=row.get("near", 0),
            codes=frozenset(row.get("codes", ())),
            engines=frozenset(row.get("engines", ())),
            rank=RANKS[row.get("rank", "root")],
            lasting=row["lasting"],
            memory=row.get("memory", False),
            source=row["source"],
        )
        for row in rows
    )


def _compiled(patterns: list[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns)
