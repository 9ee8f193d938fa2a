"""The runs of this user: made with names that are free, found again by id or name, and told how they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from mgpu.errors import HostError, UsageError
from mgpu.machine import daemon, locks, processes
from mgpu.run import state

ASIDE = frozenset(("boxed", "resumed", "refused", "memory", "exited", "gave-up"))
"""Events that tell something of a task, and not how far it is."""
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
    """A run as its folder tells it. `state` is running, stuck (it has ended, and its GPUs are held, as `stuck` says),
    unkept (processes or containers, but no keeper), ended, failed, stopped, lost, newer (its format) or unreadable;
    `boxes` are its containers that live."""

    id: str
    folder: str
    state: str
    data: dict[str, Any]
    tasks: dict[str, dict[str, Any]]
    pids: frozenset[int] = frozenset()
    boxes: tuple[daemon.Box, ...] = ()
    stuck: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return str(self.data.get("name", self.id))

    @property
    def alive(self) -> bool:
        return self.state in ("running", "unkept", "stuck")


def user() -> str:
    """The name of this user; the number where it has none."""
    return processes.called(os.getuid())


def seen(name: str) -> bool:
    """Whether there has been a run of this name: to ask whether one lives takes longer."""
    try:
        return any(identity.rpartition("-")[0] == name for identity in os.listdir(state.root()))
    except OSError:
        return False


def single(name: str, content: str) -> None:
    """Raise UsageError where a live run has the name; `content` tells whether it is of the same spec."""
    for run in found(ended=False):
        if run.name == name and run.alive:
            known = run.data.get("content")
            same = "of this very spec, unchanged" if known == content else "of another spec, or of what this one was"
            hint = f"stop it: mgpu stop {name}; or give this one another name: --name {name}-2"
            raise UsageError(f"{name} is running already (run {run.id})" + (f", {same}" if known else ""), hint)


def content(data: object, folder: str = "") -> str:
    """The hash of a spec's content, however it is written, and of the folder that its paths start from."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps([data, folder], sort_keys=True, default=str).encode()).hexdigest()


def new(name: str, identity: str, content: str = "") -> New:
    """Make the folder of a new run. Raises UsageError where a live run has the name, HostError if the disk refuses."""
    root = state.root()
    try:
        os.makedirs(root, 0o700, exist_ok=True)
        gate = locks.reach(os.path.join(root, ".names.lock"))
    except OSError as error:
        raise HostError(f"the folder of runs cannot be made: {error.strerror}: {root}", HINT) from error
    try:
        locks.lock(gate, wait=True)
        single(name, content)
        return _made(name, identity)
    finally:
        os.close(gate)


def _made(name: str, identity: str) -> New:
    path = state.folder(identity)
    try:
        os.mkdir(path, 0o700)
        os.mkdir(os.path.join(path, "logs"), 0o700)
        state.write(
            os.path.join(path, "run.json"), {"format": state.FORMAT, "id": identity, "name": name, "commands": []}
        )
        lock = locks.reach(os.path.join(path, state.LOCK))
    except OSError as error:
        import shutil

        shutil.rmtree(path, ignore_errors=True)
        raise HostError(f"the state of the run cannot be written: {error.strerror}: {path}", HINT) from error
    locks.lock(lock)
    return New(identity, name, path, lock)


class Living(NamedTuple):
    """What lives of this user's runs, by their ids: processes, and containers; `silent` says why an engine that is
    there does not tell of any."""

    pids: dict[str, set[int]]
    boxes: dict[str, tuple[daemon.Box, ...]]
    silent: str | None = None


def living() -> Living:
    """What lives now."""
    pids = processes.by_run()
    try:
        every = daemon.boxes(f"{daemon.OWNER}={os.getuid()}") if daemon.there() else []
    except daemon.Unreachable as error:
        return Living(pids, {}, str(error))
    return Living(pids, _by_run(box for box in every if box.lives))


def _by_run(boxes: Iterable[daemon.Box]) -> dict[str, tuple[daemon.Box, ...]]:
    found: dict[str, tuple[daemon.Box, ...]] = {}
    for box in boxes:
        run = box.labels.get(daemon.RUN)
        if run:
            found[run] = (*found.get(run, ()), box)
    return found


def found(ended: bool = True) -> Iterator[Run]:
    """Every run of this user, the oldest first; last those that only the labels of their containers tell of. Without
    the `ended` ones those that are over are passed by unread."""
    lives = living()
    paths = folders()
    wanted = [path for path in paths if ended or not settled(path, lives)]
    every = [run for path in wanted if (run := read(path, lives))]
    yield from sorted(every, key=lambda run: (_created(run), run.id))
    known = {os.path.basename(path) for path in paths}
    for identity, boxes in lives.boxes.items():
        if identity not in known:
            name = boxes[0].labels.get(daemon.NAME, identity)
            pids = frozenset(lives.pids.get(identity, ()))
            yield Run(identity, state.folder(identity), "unkept", {"name": name}, {}, pids, boxes)


def folders() -> list[str]:
    """The folders of this user's runs."""
    try:
        return [entry.path for entry in os.scandir(state.root()) if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def settled(folder: str, lives: Living) -> bool:
    """Whether the run of this folder is over and nothing of it lives: its files need not be read."""
    identity = os.path.basename(folder)
    return (
        os.path.exists(os.path.join(folder, state.OVER))
        and identity not in lives.pids
        and identity not in lives.boxes
        and not locks.held(os.path.join(folder, state.LOCK))
    )


def _created(run: Run) -> float:
    return float(run.data.get("created", 0))


def read(folder: str, lives: Living) -> Run | None:
    """The run of this folder; whatever its files hold, an answer. None where it was removed meanwhile."""
    try:
        run = _told(folder, lives)
        _created(run)
        return run if os.path.isdir(folder) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, HostError):
        return Run(os.path.basename(folder), folder, "unreadable", {}, {})


def _told(folder: str, lives: Living) -> Run:
    identity = os.path.basename(folder)
    data = state.read(os.path.join(folder, "run.json"))
    if data is None and not os.path.exists(os.path.join(folder, "run.json")):
        data = {"format": state.FORMAT, "name": identity, "commands": []}  # not yet, or who made it was killed
    if data is None:
        return Run(identity, folder, "unreadable", {}, {})
    if data.get("format", 0) > state.FORMAT:
        return Run(identity, folder, "newer", {"name": data.get("name", identity)}, {})
    pids, boxes = frozenset(lives.pids.get(identity, ())), lives.boxes.get(identity, ())
    tasks: dict[str, dict[str, Any]] = {command["task"]: {} for command in data.get("commands", ())}
    over = stuck = None
    for event in state.events(folder):
        over = event if event["what"] == "over" else over
        stuck = event if event["what"] == "stuck" else None if event["what"] in ("freed", "over") else stuck
        if event.get("task") in tasks:
            tasks[event["task"]] |= {key: event[key] for key in event if key != "what" or event[key] not in ASIDE}
    if locks.held(os.path.join(folder, state.LOCK)):
        how = "stuck" if stuck else "running"
    elif pids or boxes or (lives.silent and not over and boxed(data)):
        how = "unkept"
    elif stuck:
        how = "stuck"
    elif over:
        how = "failed" if over.get("by") else "stopped" if over.get("code") else "ended"
    else:
        how = "lost"
    return Run(identity, folder, how, data, tasks, pids, boxes, stuck)


def kept(folder: str) -> bool:
    """Whether the run of this folder has its keeper."""
    return locks.held(os.path.join(folder, state.LOCK))


def boxed(data: dict[str, Any]) -> bool:
    """Whether a run, as its run.json tells it, has containers."""
    return any(command.get("container") for command in data.get("commands", ()))


def attended() -> Callable[[str], bool]:
    """Tells of a run of this user's whether anything is there to look after its containers: its keeper, or a process.

    The processes are looked at once.
    """
    pids = processes.by_run()
    return lambda run: run in pids or locks.held(os.path.join(state.folder(run), state.LOCK))


def lives(identity: str) -> bool:
    """Whether a process or a container of this user's run lives."""
    now = living()
    return identity in now.pids or identity in now.boxes


def named(word: str) -> Run:
    """The run of this id or name: the live one, else the newest. Raises UsageError where there is none."""
    from mgpu.machine.tickets import Queue
    from mgpu.spec.nearest import did_you_mean

    every = list(found())
    matching = [run for run in every if word in (run.id, run.name)]
    if not matching:
        waiter = next((one for one in Queue().waiters(whys=True) if word in (one.run, one.name)), None)
        if waiter:
            hint = "^C where it was started gives its place up; mgpu ps shows the queue"
            raise UsageError(f"{word} has not started: it waits {waiter.why}".rstrip(), hint)
        names = dict.fromkeys(run.name for run in reversed(every))
        raise UsageError(f"there is no run {word!r}", did_you_mean(word, names) or "see: mgpu ps --all")
    return next((run for run in matching if run.alive), matching[-1])


def called(every: Iterable[Run]) -> dict[str, Run]:
    """Which of these each name means: the live one, else the newest, which is the last."""
    found: dict[str, Run] = {}
    for run in every:
        if run.alive or run.name not in found or not found[run.name].alive:
            found[run.name] = run
    return found
