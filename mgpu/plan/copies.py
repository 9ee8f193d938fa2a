"""A job in, its copies out: every replica is a task of its own, with its own name and port."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mgpu.spec.between import port_of
from mgpu.values.spec import Job


class Copy(NamedTuple):
    """One replica of a job, before it is placed."""

    name: str
    job: Job
    number: int

    @property
    def port(self) -> int | None:
        """Where it listens: replicas have ports in a row."""
        first = port_of(self.job)
        return first + self.number if first else None


def copies_of(job: Job) -> Iterator[Copy]:
    """The replicas of a job."""
    for number in range(job.replicas):
        yield Copy(job.name if job.replicas == 1 else f"{job.name}.{number}", job, number)


def started(copies: Sequence[Copy]) -> list[str]:
    """The names of copies in the order of starting: each after those of the jobs that it needs, else as written."""
    jobs = {copy.job.name for copy in copies}
    waiting: dict[str, int] = {}
    for copy in copies:
        waiting[copy.job.name] = waiting.get(copy.job.name, 0) + 1
    ordered: dict[str, None] = {}
    while len(ordered) < len(copies):
        able = (c for c in copies if c.name not in ordered and not any(waiting[n] for n in c.job.needs if n in jobs))
        found = next(able)
        ordered[found.name] = None
        waiting[found.job.name] -= 1
    return list(ordered)
