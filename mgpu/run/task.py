"""One command of a run, and how far it is. Standard library only: the keeper imports this."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mgpu.run.probes import Watch


MOST_DEATHS, LONG = 10, 60.0
"""So often in a row may what stands for a container be killed and be started anew; once it has lived for LONG seconds
the row is over."""

MOMENT = 0.5
"""Seconds within which what serves a process, as Python's resource tracker does, sees its end and ends as well."""


class Task:
    """One command of the run and how far it is."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.name: str = command["task"]
        self.pid: int | None = None
        self.started = self.latest = 0.0
        self.ready = False
        self.code: int | None = None
        self.failed = False
        self.gone = False
        self.stopping: float | None = None
        self.killed = self.cleared = self.told = False
        self.ended = 0.0
        self.why: int | None = None
        self.watch: Watch | None = None
        self.boxed: bool = command["container"] is not None
        self.deaths = 0
        self.again: float | None = None

    @property
    def running(self) -> bool:
        return self.pid is not None and not self.gone

    def moved(self) -> float:
        """When it was last seen to come nearer to being ready: its start, or a percentage in its log that moved."""
        return max(self.started, self.watch.moved() if self.watch else 0.0)

    def is_so(self, wanted: str) -> bool:
        """Whether the task is `wanted`: started, ready or done."""
        if wanted == "done":
            return self.gone and self.code == 0
        return self.ready if wanted == "ready" else self.pid is not None

    def begun(self) -> None:
        """Its process was started just now, for the first time or anew."""
        self.latest = time.monotonic()
        self.started = self.started or self.latest
        self.code, self.again = None, None

    def stays(self) -> bool:
        """Whether it is to be told, once, that what the first process has left behind stays."""
        now = time.monotonic()
        self.ended = self.ended or now
        tell = not self.told and now > self.ended + MOMENT
        self.told = self.told or tell
        return tell

    def died(self) -> bool:
        """Whether the process that stands for a container was killed, which says nothing of the container; it is then
        settled when to start it anew."""
        if not self.boxed or self.code is None or self.code >= 0:
            return False
        if self.again is None and time.monotonic() > self.latest + LONG:
            self.deaths = 0
        if self.again is None and self.deaths >= MOST_DEATHS:
            return False
        if self.again is None:
            self.again = time.monotonic() + 0.05 * 2**self.deaths
            self.deaths += 1
        return True
