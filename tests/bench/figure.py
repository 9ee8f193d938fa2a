"""Seconds measured in, a Figure with its bound out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple


class Figure(NamedTuple):
    """What was measured, its best value and its median, in `unit`; `bound` is what the best is held against."""

    name: str
    best: float
    median: float
    unit: str
    bound: float | None = None
    more_is_better: bool = False

    @property
    def within(self) -> bool:
        """Whether the best value keeps the bound; true where there is none."""
        if self.bound is None:
            return True
        return self.best >= self.bound if self.more_is_better else self.best <= self.bound


def milliseconds(name: str, seconds: Sequence[float], bound: float | None = None) -> Figure:
    """The figure of repeated runs."""
    return Figure(name, 1000 * min(seconds), 1000 * median(seconds), "ms", bound)


def interleaved(works: Sequence[Callable[[], object]], times: int) -> list[list[float]]:
    """The seconds that each of `works` took, each `times` times, in turns after one round that does not count."""
    rounds = [[timed(work) for work in works] for _ in range(times + 1)]
    return [list(seconds) for seconds in zip(*rounds[1:], strict=True)]


def repeated(work: Callable[[], object], times: int, most: float = 2.0) -> list[float]:
    """The seconds that `work` took: up to `times` times, no further once `most` seconds are spent in all."""
    taken = [timed(work)]
    while len(taken) < times and sum(taken) < most:
        taken.append(timed(work))
    return taken


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
