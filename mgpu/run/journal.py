"""A run's events, one JSON object a line: appended by the keeper, read by everybody else."""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEPT = 1000
"""How many events are held back while the disk takes none."""


class Journal:
    """The writing end. A disk that takes no more costs events for as long, never the job."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._waiting: list[bytes] = []
        self._torn = False

    def add(self, what: str, task: str | None = None, **facts: Any) -> None:
        """Append an event: the time in seconds of the epoch, the task (None: the run), what happened, and its facts."""
        event = {"time": round(time.time(), 3), "task": task, "what": what, **facts}
        self._waiting = [*self._waiting, json.dumps(event).encode() + b"\n"][-KEPT:]
        while self._waiting and self._write(self._waiting[0]):
            del self._waiting[0]

    def _write(self, line: bytes) -> bool:
        line = b"\n" + line if self._torn else line
        try:
            written = os.write(self._file, line)
        except OSError:
            return False
        self._torn = written < len(line)
        return not self._torn


class Reader:
    """The reading end: every call gives the whole events that are new."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0

    def news(self) -> list[dict[str, Any]]:
        """The events appended since the last call; a torn or foreign line is left out."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for event in map(_event, whole.splitlines()) if event]


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    well = isinstance(event, dict) and isinstance(event.get("what"), str) and isinstance(event.get("time"), (int, float))
    return event if well else None
