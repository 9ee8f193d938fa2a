"""The runs of this user: made with names that are free, found again by id or name, and told how they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from mgpu.errors import HostError, UsageError
from mgpu.machine import locks, processes
from mgpu.run import state

HINT = "free some space, or name another folder with MGPU_STATE_DIR"


class New(NamedTuple):
    """A run's folder, just made; `lock` is the descriptor whose lock says that the run has a keeper."""

    id: str
    name: str
    folder: str
    lock: int

    def discard(self) -> None:
        """Remove what there is of a run that did not come about."""
        import shutil

        os.close(self.lock)
        shutil.rmtree(self.folder, ignore_errors=True)


class Run(NamedTuple):
    """A run as its folder tells it. `state` is running, unkept (processes, but no keeper), ended, failed, lost, newer
    (its format) or unreadable."""

    id: str
    folder: str
    state: str
    data: dict[str, Any]
    tasks: dict[str, dict[str, Any]]
    pids: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        return str(self.data.get("name", self.id))

    @property
    def alive(self) -> bool:
        return self.state in ("running", "unkept")


def user() -> str:
    """The name of this user; the number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def new(name: str) -> New:
    """Make the folder of a new run. Raises UsageError where a live run has the name, HostError if the disk refuses."""
    root = state.root()
    try:
        os.makedirs(root, 0o700, exist_ok=True)
        gate = locks.reach(os.path.join(root, ".names.lock"))
    except OSError as error:
        raise HostError(f"the folder of runs cannot be made: {error.strerror}: {root}", HINT) from error
    try:
        locks.lock(gate, wait=True)
        for run in found():
            if run.name == name and run.alive:
                hint = f"stop it: mgpu stop {name}; or give this one another name: --name {name}-2"
                raise UsageError(f"{name} is running already (run {run.id})", hint)
        return _made(root, name)
    finally:
        os.close(gate)


def _made(root: str, name: str) -> New:
    import secrets

    identity = f"{name}-{secrets.token_hex(4)}"
    folder = os.path.join(root, identity)
    try:
        os.mkdir(folder, 0o700)
        os.mkdir(os.path.join(folder, "logs"), 0o700)
        state.write(
            os.path.join(folder, "run.json"), {"format": state.FORMAT, "id": identity, "name": name, "commands": []}
        )
        lock = locks.reach(os.path.join(folder, state.LOCK))
    except OSError as error:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
        raise HostError(f"the state of the run cannot be written: {error.strerror}: {folder}", HINT) from error
    locks.lock(lock)
    return New(identity, name, folder, lock)


def found() -> Iterator[Run]:
    """Every run of this user, the oldest first."""
    root = state.root()
    try:
        folders = [entry.path for entry in os.scandir(root) if entry.is_dir()]
    except OSError:
        return
    living = processes.by_run() if folders else {}
    yield from sorted((_read(folder, living) for folder in folders), key=lambda run: (_created(run), run.id))


def _created(run: Run) -> float:
    return float(run.data.get("created", 0))


def _read(folder: str, living: dict[str, set[int]]) -> Run:
    """The run of this folder; whatever its files hold, an answer."""
    try:
        run = _told(folder, living)
        _created(run)
        return run
    except (OSError, ValueError, TypeError, KeyError, AttributeError, HostError):
        return Run(os.path.basename(folder), folder, "unreadable", {}, {})


def _told(folder: str, living: dict[str, set[int]]) -> Run:
    identity = os.path.basename(folder)
    data = state.read(os.path.join(folder, "run.json"))
    if data is None:
        return Run(identity, folder, "unreadable", {}, {})
    if data.get("format", 0) > state.FORMAT:
        return Run(identity, folder, "newer", {"name": data.get("name", identity)}, {})
    pids = frozenset(living.get(identity, ()))
    tasks: dict[str, dict[str, Any]] = {command["task"]: {} for command in data.get("commands", ())}
    over = None
    for event in state.events(folder):
        over = event if event["what"] == "over" else over
        if event.get("task") in tasks:
            tasks[event["task"]] |= event
    if locks.held(os.path.join(folder, state.LOCK)):
        how = "running"
    elif pids:
        how = "unkept"
    elif over:
        how = "failed" if over.get("code") else "ended"
    else:
        how = "lost"
    return Run(identity, folder, how, data, tasks, pids)


def named(word: str) -> Run:
    """The run of this id or name: the live one, else the newest. Raises UsageError where there is none."""
    from mgpu.spec.nearest import did_you_mean

    every = list(found())
    matching = [run for run in every if word in (run.id, run.name)]
    if not matching:
        raise UsageError(
            f"there is no run {word!r}", did_you_mean(word, {run.name for run in every}) or "see: mgpu ps --all"
        )
    return next((run for run in matching if run.alive), matching[-1])
