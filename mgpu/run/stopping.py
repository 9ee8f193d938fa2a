"""A run in, the run ended out: by its keeper, or where that is gone by signalling what is left of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from mgpu.errors import HostError
from mgpu.machine import locks, processes
from mgpu.run import boxes, held, proof, runs, state

SLACK = 5.0
"""Seconds beyond every grace period within which the kernel must have ended what was killed."""


def ask(folder: str, now: bool = False) -> bool:
    """Ask the keeper to stop its run, with grace or `now`. False where there is no keeper."""
    if not locks.held(os.path.join(folder, state.LOCK)):
        return False
    keeper = _keeper(folder)
    return keeper is not None and processes.send(keeper, signal.SIGQUIT if now else signal.SIGTERM)


def _keeper(folder: str) -> processes.Process | None:
    """The keeper of the run: the one that an event names, or where a full disk lost that, the one of this folder."""
    noted = next((event.get("pid") for event in state.events(folder) if event["what"] == "kept"), None)
    pids = [noted] if isinstance(noted, int) else processes.pids()
    return next((processes.read(pid) for pid in pids if _is_keeper(pid, folder)), None)


def _is_keeper(pid: int, folder: str) -> bool:
    words = _words(pid)
    return os.fsencode(folder) in words and any(word.endswith(b"keeper.py") for word in words)


def _words(pid: int) -> list[bytes]:
    """The command line of a process; nothing where it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def stop(run: runs.Run, now: bool = False, reap: bool = False) -> None:
    """End `run` and return once nothing of it lives and its GPUs are free; `now`: without grace, `reap`: end what else
    holds the GPUs, too. Raises HostError where something stays."""
    asked = _asked(run, now)
    commands = (state.read(os.path.join(run.folder, "run.json")) or run.data).get("commands", ())
    deadline = time.monotonic() + (0.0 if now else sum(command["stop"]["grace"] for command in commands))
    if asked:
        _until(lambda: _proving(run), deadline + SLACK)
    if _left(run):
        state.note(run.folder, "stopping")
        _signal(run, commands, now)
    if not _until(lambda: not _left(run), deadline):
        _signal(run, commands, now=True)
        if not _until(lambda: not _left(run), time.monotonic() + SLACK):
            raise HostError(
                f"{run.name} will not end: {', '.join(_left(run))}", "it may hang in the driver: look at it"
            )
    _freed(run, reap)
    boxes.sweep(run.id)
    if not _over(run):
        state.note(run.folder, "over", code=143, by=None)


def _proving(run: runs.Run) -> bool:
    """Whether the keeper is gone, or all that it keeps is the lease of GPUs that somebody else holds."""
    return not _kept(run) or held.stuck(run.folder) is not None


def _freed(run: runs.Run, reap: bool) -> None:
    """Return once the GPUs are free. Raises HostError where somebody holds one."""
    if not _until(lambda: _proving(run), time.monotonic() + proof.WITHIN + SLACK):
        raise HostError(f"the keeper of {run.name} will not end", "it may hang in the driver: look at it")
    event = _holding(run)
    if event and reap:
        held.reap(run, event)
        _until(lambda: not _kept(run), time.monotonic() + proof.WITHIN)
        event = _holding(run)
    if event:
        raise held.refusal(run, event)


def _holding(run: runs.Run) -> dict[str, Any] | None:
    """The event that tells what holds the run's GPUs: the keeper's, or where it is gone unseen one of this process."""
    if _kept(run):
        return held.stuck(run.folder)
    return None if _over(run) else held.proven(run)


def _over(run: runs.Run) -> bool:
    return any(event["what"] == "over" for event in state.events(run.folder))


def _asked(run: runs.Run, now: bool) -> bool:
    """Whether the run's keeper was asked; one that is only just given the run, and not told of yet, is waited for."""
    return _until(lambda: ask(run.folder, now) or not _kept(run), time.monotonic() + SLACK) and _kept(run)


def _kept(run: runs.Run) -> bool:
    return locks.held(os.path.join(run.folder, state.LOCK))


def _until(check: Callable[[], bool], deadline: float) -> bool:
    """Wait until `check` holds; False where it does not by then."""
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _signal(run: runs.Run, commands: Iterable[dict[str, Any]], now: bool) -> None:
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
    stood = {event.get("task") for event in state.events(run.folder) if event.get("pid") in standins}
    words = {command["task"]: command["stop"]["signal"] for command in commands}

    def word_for(task: str) -> str | None:
        if now:
            return "SIGKILL"
        return None if task in stood else words.get(task, "SIGTERM")

    boxes.signal(run.id, word_for)


def _stands_in(pid: int) -> bool:
    return b"mgpu.run.container" in _words(pid)


def _left(run: runs.Run) -> list[str]:
    """What lives of the run, in words: processes, and containers."""
    lives = runs.living()
    pids = [f"process {pid}" for pid in sorted(lives.pids.get(run.id, ()))]
    unknown = [f"a container, maybe: {lives.silent}"] if lives.silent and runs.boxed(run.data) else []
    return pids + [f"container {box.name}" for box in lives.boxes.get(run.id, ())] + unknown
