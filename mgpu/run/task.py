"""One command of a run, and how far it is. Standard library only: the keeper imports this."""

from __future__ import annotations

import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mgpu.run.commanded import Commanded, Told
    from mgpu.run.idle import Usage
    from mgpu.run.probes import Watch
    from mgpu.run.restarts import Again, End
    from mgpu.run.starting import Voice


MOST_DEATHS, LONG = 10, 60.0
"""So often in a row may what stands for a container be killed and be started anew; once it has lived for LONG seconds
the row is over."""

STOPPED, TIMED_OUT, FAILED, IDLE = 143, 124, 125, 0
"""The codes of tasks that mgpu ends: as it was asked to, after their time, for it could not carry them out, and since
nobody used them."""

MOMENT = 0.5
"""Seconds within which what serves a process, as Python's resource tracker does, sees its end and ends as well."""


class Task:
    """One command of the run and how far it is: in its first life, or in one after a restart, which are `ends` before.

    `born` is when it was started for the first time, `due` when it will be anew.
    """

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.name: str = command["task"]
        self.boxed: bool = command["container"] is not None
        self.born = self.due = 0.0
        self.ends: tuple[End, ...] = ()
        self.anew()

    def anew(self) -> None:
        """Nothing of a new life has happened yet."""
        self.pid: int | None = None
        self.started = self.latest = 0.0
        self.ready: bool = False
        self.since = 0.0
        self.log = 0
        self.code: int | None = None
        self.failed = False
        self.gone = False
        self.stopping: float | None = None
        self.killed = self.cleared = self.told = False
        self.ended = 0.0
        self.why: int | None = None
        self.watch: Watch | Commanded | Told | None = None
        self.usage: Usage | None = None
        self.voice: Voice | None = None
        self.deaths = 0
        self.again: float | None = None

    def rest(self, end: End, restart: Again) -> None:
        """Its life has ended so, and it is to be started anew."""
        self.ends = (*self.ends, end)
        self.anew()
        self.due = time.monotonic() + restart.after

    @property
    def running(self) -> bool:
        return self.pid is not None and not self.gone

    @property
    def waiting(self) -> bool:
        """Whether it is not started, and may be: for the first time, or anew."""
        return self.pid is None and not self.gone

    @property
    def inside(self) -> int | None:
        """A process of the network that it is in; None where none is known."""
        return self.voice.said.get("first") if self.voice else self.pid

    def dues(self) -> Iterator[float]:
        """When it has to be looked at, once it is as it shall be; in monotonic seconds."""
        if self.command["timeout"]:
            yield self.born + self.command["timeout"]
        if self.usage:
            yield self.usage.due

    @property
    def restless(self) -> bool:
        """Whether it is on its way: to be ready, to be gone, to be started."""
        settled = self.ready and self.code is None and self.stopping is None
        return not self.gone and not settled

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
        self.born = self.born or self.latest
        self.code, self.again = None, None

    def settled(self, code: int) -> dict[str, str]:
        """It has ended with this status: what its code is and whether it has failed; the reason, where there is one."""
        why = ""
        if self.why in (TIMED_OUT, FAILED, IDLE):
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
