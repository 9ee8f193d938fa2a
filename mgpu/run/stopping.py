"""A run in, the run ended out: by its keeper, or where that is gone by signalling what is left of it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from mgpu.errors import HostError
from mgpu.machine import locks, processes
from mgpu.run import runs, state

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
        _signal(run.id, signal.SIGKILL if now else signal.SIGTERM)
    if not _gone(run, grace):
        _signal(run.id, signal.SIGKILL)
        if not _gone(run, SLACK):
            left = sorted(processes.of_run(run.id))
            raise HostError(f"{run.name} will not end: {left}", "look at these processes: they may hang in the driver")
    if not any(event["what"] == "over" for event in state.events(run.folder)):
        state.note(run.folder, "over", code=143, by=None)


def _signal(identity: str, number: int) -> None:
    for pid in processes.of_run(identity):
        process = processes.read(pid)
        if process:
            processes.send(process, number)


def _gone(run: runs.Run, within: float) -> bool:
    lock = os.path.join(run.folder, state.LOCK)
    deadline = time.monotonic() + within
    while locks.held(lock) or processes.of_run(run.id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def outcome(folder: str) -> dict[str, Any] | None:
    """The event that ended the run, or None while it goes on."""
    return next((event for event in state.events(folder) if event["what"] == "over"), None)
