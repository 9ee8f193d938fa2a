"""The folder of a run: what it is (run.json), what happened (events.jsonl, only appended to), what it wrote (logs/).

Standard library only: the keeper imports this too.
"""

from __future__ import annotations

import json
import os
import time

from mgpu.machine import kept
from mgpu.machine.kept import read, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["events", "folder", "identity", "log", "note", "read", "root", "settle_in", "write"]

FORMAT = 1
LOCK = "keeper.lock"
BEGIN = '{"time": '
"""How the line of an event begins."""
OVER = "over"
"""The name of the file that says that a run is over, so that nobody has to read how."""


def root() -> str:
    """The folder of all runs of this user. Raises HostError where this user has no home, and has named no folder."""
    return os.path.join(kept.folder(), "runs")


def identity(name: str) -> str:
    """An id for a new run of this name."""
    import secrets

    return f"{name}-{secrets.token_hex(4)}"


def folder(identity: str) -> str:
    """The folder of the run with this id."""
    return os.path.join(root(), identity)


def note(folder: str, what: str, task: str | None = None, **more: Any) -> None:
    """Append an event. A full disk loses the event, never the job."""
    event = {"time": round(time.time(), 3), "task": task, "what": what, **more}
    line = json.dumps(event) + "\n"
    try:
        handle = os.open(
            os.path.join(folder, "events.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError:
        return
    try:
        os.write(handle, line.encode())
        if what == OVER:
            os.close(os.open(os.path.join(folder, OVER), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        return
    finally:
        os.close(handle)


def events(folder: str) -> Iterator[dict[str, Any]]:
    """The events so far; one that was cut off by a full disk is passed over, and not what follows in its line."""
    try:
        with open(os.path.join(folder, "events.jsonl"), encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line[max(0, line.rfind(BEGIN)) :])
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and "what" in event:
            yield event


def settle_in(folder: str) -> None:
    """Let go of the terminal, and of whoever reads there: from now on this process speaks to a log in the folder."""
    log = os.open(os.path.join(folder, "keeper.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for here, there in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(here, there)
    os.close(nothing)
    os.close(log)


def log(folder: str, task: str) -> str:
    """The log file of a task."""
    return os.path.join(folder, "logs", f"{task}.log")


def size(path: str) -> int:
    """How long a file is, in bytes; 0 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
