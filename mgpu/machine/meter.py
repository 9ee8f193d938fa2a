"""GPUs in, what the driver says of each just now out: memory, processes, utilization, power, temperature.

A process of its own asks, so a driver that hangs holds up nobody, and what its library takes is given back.
Standard library only: the keeper imports this.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress

from mgpu.machine import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "driver.py")
PIECE = 2**16


class Reading:
    """What the driver says of one GPU, None where it does not: `free` and `used` in bytes, `utilization` in %, `power`
    in W, `temperature` in degrees Celsius; `processes` are those that compute, as (pid, bytes), `graphics` those that
    draw, as a desktop's."""

    __slots__ = ("free", "graphics", "power", "processes", "temperature", "used", "utilization")

    def __init__(self, told: dict[str, Any]) -> None:
        self.free: int | None = told.get("free")
        self.used: int | None = told.get("used")
        self.utilization: int | None = told.get("utilization")
        self.power: float | None = told.get("power")
        self.temperature: int | None = told.get("temperature")
        self.processes: list[tuple[int, int | None]] = told.get("processes") or []
        self.graphics: list[tuple[int, int | None]] = told.get("graphics") or []


class Meter:
    """Asks after these GPUs when it is told to. `latest` is the last answer, by GPU, and `at` when it was asked for
    (monotonic seconds; 0.0 before the first). `absent` says that there is no driver to ask; `pid` is whoever asks."""

    def __init__(self, gpus: Iterable[str], env: Mapping[str, str], private: Iterable[int] = ()) -> None:
        """`env` is what finds the driver's library; the descriptors `private` are not for the process that asks."""
        marks = (processes.RUN, processes.TASK, processes.GPUS)
        self.gpus = sorted(gpus)
        self.latest: dict[str, Reading] = {}
        self.at = 0.0
        self.absent = not self.gpus
        self.pid: int | None = None
        self._env = {name: value for name, value in env.items() if name not in marks}
        self._private = tuple(private)
        self._since: float | None = None
        self._said = b""
        self._mouth = self._ear = -1

    def ask(self) -> None:
        """Ask now, unless a question is under way. No error is told: no answer comes then."""
        if self.absent or self._since is not None:
            return
        try:
            if self.pid is None:
                self._start()
            self._since = time.monotonic()
            os.write(self._mouth, b"\n")
        except BrokenPipeError:
            pass  # it has said why, and that is read
        except OSError:  # too little is left for another process
            self.close()

    def look(self) -> None:
        """Take the answer, if it has come."""
        while self._since is not None:
            try:
                piece = os.read(self._ear, PIECE)
            except BlockingIOError:
                return
            self._said += piece
            if not piece or self._said.endswith(b"\n"):
                self._take(self._said, self._since)

    def _take(self, text: bytes, since: float) -> None:
        self._said, self._since = b"", None
        try:
            told = json.loads(text)
            self.latest, self.at = {gpu: Reading(told[gpu]) for gpu in self.gpus}, since
        except (ValueError, TypeError, KeyError):  # null, or it died over the question
            self.absent = True

    def _start(self) -> None:
        source, self._mouth = os.pipe()
        self._ear, output = os.pipe()
        os.set_blocking(self._ear, False)
        actions: list[Any] = [
            (os.POSIX_SPAWN_DUP2, source, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in self._private),
        ]
        argv = [sys.executable, "-I", "-S", DRIVER, *self.gpus]
        try:
            self.pid = os.posix_spawn(sys.executable, argv, self._env, file_actions=actions, setsigmask=())
        finally:
            os.close(source)
            os.close(output)

    def close(self) -> None:
        """Let whoever asks go, and end it where it hangs; what it has said stays known."""
        for descriptor in (self._mouth, self._ear):
            if descriptor >= 0:
                os.close(descriptor)
        self._mouth = self._ear = -1
        self._since, self._said = None, b""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            self.pid = None
