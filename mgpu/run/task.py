"""One command of a run, and how far it is. Standard library only: the keeper imports this."""

from __future__ import annotations

import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mgpu.run.probes import Watch


MOST_DEATHS, LONG = 10, 60.0
"""So often in a row may what stands for a container be killed and be started anew; once it has lived for LONG seconds
the row is over."""

STOPPED, TIMED_OUT, FAILED = 143, 124, 125
"""The codes of tasks that mgpu ends: as it was asked to, after their time, for it could not carry them out."""

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

    def settled(self, code: int) -> dict[str, str]:
        """It has ended with this status: what its code is and whether it has failed; the reason, where there is one."""
        why = ""
        if self.why in (TIMED_OUT, FAILED):
            code = self.why
        elif self.why is None and code == 0 and not self.ready:
            refusal = f" ({self.watch.refusal})" if self.watch else ""
            code, why = 1, f"it ended before it was ready{refusal}"
        elif self.why is None and code == 0 and self.command["serves"]:
            code, why = 1, "nobody stopped this server, and it has ended by itself"
        elif self.why is None and code == 128 + signal.SIGKILL:
            why = "SIGKILL ended it: the kernel for want of memory, somebody, or it itself; its log may say"
        self.code, self.failed = code, code != 0 and self.why != STOPPED
        return {"why": why} if why else {}

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
