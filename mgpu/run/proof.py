"""A run of which no process lives in, what still holds its GPUs out: bytes over their base, and the processes there.

The base is what was free when the run took the GPU. What another run, or who was there before, has taken or given back
since is not the run's, and a desktop is granted what it has. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import time

from mgpu.machine import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mgpu.machine.meter import Meter, Reading

    Held = list[dict[str, Any]]

SLACK = 256 * 2**20
"""Bytes over its base that are no sign of anything."""
WITHIN = 30.0
"""Seconds within which the driver may give back what dead processes had (Slurm drains a node after 60)."""
PATIENCE = 3.0
"""Seconds that the driver may take to answer."""


class Proof:
    """Asks whether a run's GPUs are given back. `data` is its run.json, whose ``base`` tells of each whole GPU what was
    ``free`` (bytes) and which ``others`` computed there (pid, bytes)."""

    def __init__(self, data: dict[str, Any], meter: Meter) -> None:
        self.run: str = data["id"]
        self.base: dict[str, dict[str, Any]] = data.get("base", {})
        self.meter = meter
        self.mine: dict[int, int] = {}

    def look(self) -> None:
        """Remember the processes of the run that the driver lists now, each by its pid and the tick of its birth."""
        for pid in {pid for reading in self.meter.latest.values() for pid, _ in reading.processes}:
            process = processes.read(pid)
            if process and processes.run_of(pid) == self.run:
                self.mine[pid] = process.start

    def held(self) -> Held | None:
        """What holds GPUs: of each its id, the bytes ``over`` the base, and the ``processes``. None where the driver
        does not answer."""
        began, pause = time.monotonic(), 0.001
        while self.meter.at < began:
            if self.meter.absent or time.monotonic() > began + PATIENCE:
                return None
            self.meter.ask()  # once more, where what was under way was asked before
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
            self.meter.look()
        every = (self._of(gpu, reading) for gpu, reading in self.meter.latest.items())
        return [held for held in every if held]

    def settled(self) -> Held:
        """What still holds GPUs WITHIN seconds on; nothing as soon as they are free, or where nobody can tell."""
        deadline, pause = time.monotonic() + WITHIN, 0.02
        while held := self.held():
            if time.monotonic() > deadline:
                return held
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        return []

    def _of(self, gpu: str, reading: Reading) -> dict[str, Any] | None:
        base = self.base.get(gpu)
        over = excess(base["free"], reading, self._others(base, reading)) if base and reading.free is not None else 0
        left = [(pid, memory) for pid, memory in reading.processes if self._is_mine(pid)]
        if over <= SLACK and not left:
            return None
        if over > SLACK and base:
            known = {pid for pid, _ in base["others"]}
            left = [(pid, memory) for pid, memory in reading.processes if pid not in known and self._may_be(pid)]
        return {"gpu": gpu, "over": over, "processes": [told(pid, memory) for pid, memory in left]}

    def _others(self, base: dict[str, Any], reading: Reading) -> int:
        """The bytes that others have taken since: other runs, who was there before, a desktop."""
        known = {pid for pid, _ in base["others"]}
        now = sum(memory or 0 for pid, memory in reading.processes if pid in known or not self._may_be(pid))
        return (
            now - sum(memory or 0 for _, memory in base["others"]) + sum(memory or 0 for _, memory in reading.graphics)
        )

    def _is_mine(self, pid: int) -> bool:
        """Whether it was seen to be the run's, and is no later process of the same pid."""
        now = processes.read(pid)
        return pid in self.mine and (now is None or now.start == self.mine[pid])

    def _may_be(self, pid: int) -> bool:
        return processes.run_of(pid) in (None, self.run)


def excess(free: int, reading: Reading, others: int) -> int:
    """The bytes that are in use beyond those that were when `free` were free, `others` of them accounted for."""
    return max(0, free - (reading.free or 0) - others)


def told(pid: int, memory: int | None) -> dict[str, Any]:
    """Who a process is: its pid, the tick of its birth, its name and its user, each None where it is not seen here."""
    from mgpu.machine.occupants import named, seen

    process = processes.read(pid) if seen(pid) else None
    owner = processes.owner(pid) if process else None
    return {
        "pid": pid,
        "start": process.start if process else None,
        "name": named(pid) if process else None,
        "user": None if owner is None else processes.called(owner),
        "memory": memory,
    }
