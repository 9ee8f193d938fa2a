"""A job in, its copies out: every replica is a task of its own, with its own name and port."""

from __future__ import annotations

from collections.abc import Iterator
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
