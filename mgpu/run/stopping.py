"""A run in, the run ended out: by its keeper, or where that is gone by signalling what is left of it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from mgpu.errors import HostError
from mgpu.machine import locks, processes
from mgpu.run import boxes, runs, state

SLACK = 5.0
"""Seconds beyond every grace period within which the kernel must have ended what was killed."""


def ask(folder: str, now: bool = False) -> bool:
    """Ask the keeper to stop its run, with grace or `now`. False where there is no keeper."""
    pid = next((event.get("pid") for event in state.events(folder) if event["what"] == "kept"), None)
    if not isinstance(pid, int) or not locks.held(os.path.join(folder, state.LOCK)):
        return False
    keeper = processes.read(pid)
    return (
        keeper is not None
        and _is_keeper(pid, folder)
        and processes.send(keeper, signal.SIGQUIT if now else signal.SIGTERM)
    )


def _is_keeper(pid: int, folder: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(folder) in file.read().split(b"\0")
    except OSError:
        return False


def stop(run: runs.Run, now: bool = False) -> None:
    """End `run` and return once nothing of it lives; `now`: without grace. Raises HostError where something stays."""
    grace = sum(command["stop"]["grace"] for command in run.data.get("commands", ())) + SLACK
    if not ask(run.folder, now):
        state.note(run.folder, "stopping")
        _signal(run, now)
    if not _gone(run, grace):
        _signal(run, now=True)
        if not _gone(run, SLACK):
            raise HostError(
                f"{run.name} will not end: {', '.join(_left(run))}", "it may hang in the driver: look at it"
            )
    boxes.sweep(run.id)
    if not any(event["what"] == "over" for event in state.events(run.folder)):
        state.note(run.folder, "over", code=143, by=None)


def _signal(run: runs.Run, now: bool) -> None:
    """Ask what lives of the run to end, or kill it. What stands for a container hands that on; where it is gone, the
    engine is asked, and no process inside a container is signalled on its own."""
    pids = [pid for pid in processes.of_run(run.id) if not processes.inside(pid)]
    standins = {pid for pid in pids if _stands_in(pid)}
    for pid in pids:
        process = processes.read(pid)
        if process:
            processes.send(
                process, signal.SIGTERM if not now else signal.SIGQUIT if pid in standins else signal.SIGKILL
            )
    if not standins:
        commands = {command["task"]: command for command in run.data.get("commands", ())}
        boxes.signal(
            run.id, {name: "SIGKILL" if now else command["stop"]["signal"] for name, command in commands.items()}
        )


def _stands_in(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"mgpu.run.container" in file.read().split(b"\0")
    except OSError:
        return False


def _gone(run: runs.Run, within: float) -> bool:
    lock = os.path.join(run.folder, state.LOCK)
    deadline = time.monotonic() + within
    while locks.held(lock) or _left(run):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _left(run: runs.Run) -> list[str]:
    """What lives of the run, in words: processes, and containers."""
    lives = runs.living()
    pids = [f"process {pid}" for pid in sorted(lives.pids.get(run.id, ()))]
    return pids + [f"container {box.name}" for box in lives.boxes.get(run.id, ())]


def outcome(folder: str) -> dict[str, Any] | None:
    """The event that ended the run, or None while it goes on."""
    return next((event for event in state.events(folder) if event["what"] == "over"), None)
