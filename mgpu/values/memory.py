"""What a task takes on a GPU: lines of bytes, each with how sure it is and where that comes from, and their sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

GIB = 2**30
MIB = 2**20

Source = Literal["exact", "source", "calibrated", "guessed"]
"""Where a figure comes from: counted; the engine's code or published measurements; this host's own logs; neither."""

Verdict = Literal["fits", "tight", "does not fit"]


class Span(NamedTuple):
    """Bytes: at least `low`, most likely `expected`, at most `high`."""

    low: int
    expected: int
    high: int


def exactly(size: float) -> Span:
    """A size that is known."""
    return Span(int(size), int(size), int(size))


def span(low: float, expected: float, high: float) -> Span:
    """Whole bytes of the three."""
    return Span(int(low), int(expected), int(high))


def summed(spans: Iterable[Span]) -> Span:
    """The sum of each column."""
    all_ = tuple(spans)
    return Span(sum(s.low for s in all_), sum(s.expected for s in all_), sum(s.high for s in all_))


class Line(NamedTuple):
    """One thing that lies in a GPU's memory. `why` says in words how it was reckoned; `outside`: the engine does not
    count it against the budget that it gives itself."""

    name: str
    bytes: Span
    source: Source
    why: str = ""
    outside: bool = False


class Cache(NamedTuple):
    """A server's cache of keys and values on one GPU: `pool` bytes in all, of which one sequence of `context` tokens
    takes `sequence`; `tokens` is what the pool holds of such sequences, over all requests."""

    pool: Span
    sequence: int
    context: int
    tokens: int


@dataclass(frozen=True)
class Estimate:
    """What a task needs on one GPU (by `index`). Its `lines` hold, of the cache of keys and values, what one sequence
    of the whole context needs; `cache` says what the engine makes of all the rest.

    `room` is what is free on the GPU (bytes), or the task's share of it where it is `shared`, and `budget` what of it
    the engine allows itself, None where it takes what it needs. `fault` is a rule that this breaks whatever the sum, in
    words.
    """

    index: int
    lines: tuple[Line, ...]
    room: int
    budget: int | None = None
    cache: Cache | None = None
    fault: str | None = None
    shared: bool = False

    @cached_property
    def total(self) -> Span:
        """The sum of the lines."""
        return summed(line.bytes for line in self.lines)

    @cached_property
    def inside(self) -> Span:
        """The sum of the lines that count against the budget."""
        return summed(line.bytes for line in self.lines if not line.outside)

    @cached_property
    def taken(self) -> Span:
        """What will be in use once it runs: an engine with a budget fills it."""
        if self.budget is None:
            return self.total
        outside = summed(line.bytes for line in self.lines if line.outside)
        return Span(*(max(self.budget + out, total) for out, total in zip(outside, self.total, strict=True)))

    def over(self, at: Literal["low", "expected", "high"] = "expected") -> int:
        """Bytes that are missing if every line is as `at` says; 0 or less where it fits."""
        column = Span._fields.index(at)
        room = self.taken[column] - self.room
        return room if self.budget is None else max(room, self.inside[column] - self.budget)

    @property
    def longest(self) -> int | None:
        """Tokens of the longest single sequence that there is room for, as expected; None for what has no cache. Where
        the engine takes no more than it needs, what is left free would be taken by a longer one."""
        cache = self.cache
        if cache is None or self.over() > 0:
            return None
        if self.budget is not None or not cache.sequence:
            return cache.tokens
        return cache.context + cache.context * -self.over() // cache.sequence

    @property
    def verdict(self) -> Verdict:
        """`tight`: it fits as expected, and would not if every line were at its highest."""
        if self.fault or self.over() > 0:
            return "does not fit"
        return "tight" if self.over("high") > 0 else "fits"


@dataclass(frozen=True)
class Unknown:
    """Why there is no estimate, as a sentence, and what would give one."""

    why: str
    hint: str | None = None


class Correction(NamedTuple):
    """A line as a boot log of this host had it: `bytes` on a GPU of `product`, under `engine` of `version`, with the
    model in `tensor` x `pipeline` parts. `log` names the file it was read from."""

    engine: str
    version: str | None
    product: str
    line: str
    bytes: int
    tensor: int = 1
    pipeline: int = 1
    log: str = ""


class Knob(NamedTuple):
    """A change to a job that makes it need less: the `value` for the key at `path` (relative to the job; None takes
    the key away), what it means in words, and what it costs the user: 0 nothing, 1 speed, 2 requests at once,
    3 context, 4 accuracy, 5 another GPU."""

    path: tuple[str | int, ...]
    value: object
    what: str
    cost: int
