"""A command that shows readiness in, whether it has ended with 0 out: asked again and again, and never waited for.

Of a process the keeper runs it itself, and its loop calls `look`; inside a container what stands for that does, and
says so. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os
import signal
import time

from mgpu.machine import processes
from mgpu.run.probes import OFTEN, PATIENCE, SELDOM, SOON, Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mgpu.run.starting import Voice


class Commanded:
    """Starts the command by `spawn`, which gives its pid, until it has ended well; one that takes too long is killed,
    with all that descends from it."""

    def __init__(self, words: str, spawn: Callable[[], int], log: str, place: int) -> None:
        self.ready = False
        self.refusal = "it was never asked"
        self._words = words
        self._spawn = spawn
        self._progress = Progress(log, place)
        self._moved = self._began = time.monotonic()
        self._next = self._deadline = 0.0
        self._pid: int | None = None

    def moved(self) -> float:
        """When a percentage in the log was last seen to move."""
        if self._progress():
            self._moved = time.monotonic()
        return self._moved

    def look(self) -> None:
        """Ask, if it is time to; end what was asked, if that takes too long."""
        now = time.monotonic()
        if self._pid is None and not self.ready and now >= self._next:
            self._deadline = now + PATIENCE
            try:
                self._pid = self._spawn()
            except (OSError, ValueError) as error:
                self._refused(f"cannot be started: {getattr(error, 'strerror', None) or error}")
        elif self._pid is not None and now > self._deadline:
            self._kill()

    def reaped(self, pid: int, status: int) -> None:
        """A child of the keeper's has ended: this command, it may be."""
        if pid != self._pid:
            return
        self._pid = None
        code = os.waitstatus_to_exitcode(status)
        self.ready = code == 0
        late = time.monotonic() > self._deadline
        self._refused(
            f"did not end within {PATIENCE:g} s" if late else f"ended with {code if code >= 0 else 128 - code}"
        )

    def close(self) -> None:
        """Ask no more."""
        self._next = float("inf")
        if self._pid is not None:
            self._kill()

    def _refused(self, how: str) -> None:
        now = time.monotonic()
        self.refusal = f"{self._words} {how}"
        self._next = max(self._next, now + (OFTEN if now - self._began < SOON else SELDOM))

    def _kill(self) -> None:
        table = processes.table()
        for pid in processes.descendants([self._pid] if self._pid else [], table):
            processes.send(table[pid], signal.SIGKILL)


class Told:
    """The same of a command inside a container, by the words of what stands for it."""

    def __init__(self, voice: Voice, log: str, place: int) -> None:
        self._voice = voice
        self._progress = Progress(log, place)
        self._moved = time.monotonic()

    @property
    def ready(self) -> bool:
        return bool(self._voice.said.get("ready"))

    @property
    def refusal(self) -> str:
        return str(self._voice.said.get("refusal", "it was never asked"))

    def heed(self, voice: Voice) -> None:
        """Another process stands for the container from now on."""
        self._voice = voice

    def moved(self) -> float:
        """When a percentage in the log was last seen to move."""
        if self._progress():
            self._moved = time.monotonic()
        return self._moved

    def close(self) -> None:
        """Nobody asks from here."""
