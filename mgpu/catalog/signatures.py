"""The failures that are known by what they leave in a log (signatures/*.json), as values; standard library only."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

FOLDER = os.path.join(os.path.dirname(__file__), "signatures")
RANKS = {"root": 0, "follows": 1, "wrapper": 2}
"""An error that stands for itself; one that others bring about as well, as a peer's that has gone; a line that only
says that something failed."""


class Signature(NamedTuple):
    """How a failure shows. One of `patterns` must match, each of `also` too (within `near` characters of the match; 0:
    anywhere), and none of `unless`; no pattern matches across lines. `codes` are the exit codes it comes with,
    `engines` those it is of, `over` the signatures that it makes idle, for it says more. Named groups of the pattern
    fill `cause` and `hint`."""

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
    over: frozenset[str]
    rank: int
    lasting: bool
    memory: bool
    source: str


@cache
def signatures() -> tuple[Signature, ...]:
    """All of them: family by family, each in the order of its file."""
    return tuple(_signature(name, row) for name, row in rows())


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """The id of each signature, and what its file says of it."""
    for name in sorted(os.listdir(FOLDER)):
        with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
            yield from json.load(file).items()


def _signature(name: str, row: dict[str, Any]) -> Signature:
    return Signature(
        id=name,
        short=row["short"],
        cause=row["cause"],
        hint=row["change"],
        patterns=_compiled(row["patterns"]),
        also=_compiled(row.get("also", ())),
        unless=_compiled(row.get("unless", ())),
        near=row.get("near", 0),
        codes=frozenset(row.get("codes", ())),
        engines=frozenset(row.get("engines", ())),
        over=frozenset(row.get("over", ())),
        rank=RANKS[row.get("rank", "root")],
        lasting=row["lasting"],
        memory=row.get("memory", False),
        source=row["source"],
    )


def _compiled(patterns: list[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns)
