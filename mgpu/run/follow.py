"""The folder of a run in, what it writes and what happens to it out, as it comes, until it is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from mgpu.machine import locks
from mgpu.run import state

CHUNK = 64 * 1024
PAUSE = 0.02

Say = Callable[[dict[str, Any]], None]


class Tail:
    """The end of one growing log; `prefix` goes before each of its lines."""

    def __init__(self, path: str, prefix: bytes) -> None:
        self.path, self.prefix = path, prefix
        self.file: IO[bytes] | None = None
        self.rest = b""

    def copy(self, out: IO[bytes]) -> bool:
        """Copy the next piece to `out`; False where there is nothing new. Without a prefix every byte goes as it is."""
        if self.file is None:
            try:
                self.file = open(self.path, "rb")  # noqa: SIM115 - it stays open as long as the run is followed
            except OSError:
                return False
        piece = self.file.read(CHUNK)
        if piece and not self.prefix:
            out.write(piece)
        elif piece:
            self.rest = self._lines(out, self.rest + piece)
        return bool(piece)

    def _lines(self, out: IO[bytes], text: bytes) -> bytes:
        """Write the whole lines of `text`; a line that is longer than a piece is written as it is."""
        lines, newline, rest = text.rpartition(b"\n")
        if newline:
            out.write(b"".join(self.prefix + line + b"\n" for line in lines.split(b"\n")))
        if len(rest) > CHUNK:
            out.write(self.prefix + rest + b"\n")
            rest = b""
        return rest

    def close(self, out: IO[bytes]) -> None:
        """Write what is left of the last line."""
        if self.rest:
            out.write(self.prefix + self.rest + b"\n")
            self.rest = b""
        if self.file:
            self.file.close()


def tails(folder: str, tasks: list[str]) -> list[Tail]:
    """A tail for each task's log; with the task's name before each line where there are several."""
    width = max(map(len, tasks), default=0)
    return [Tail(state.log(folder, t), f"{t:<{width}} | ".encode() if len(tasks) > 1 else b"") for t in tasks]


def follow(
    folder: str, tasks: list[str], out: IO[bytes], say: Say, lives: Callable[[], bool] = lambda: False
) -> dict[str, Any] | None:
    """Copy the logs to `out` and tell every event to `say` until the run is over.

    Returns the event that ended it, or None where the keeper is gone without having said so; it goes on then for as
    long as `lives` says that anything of the run does.
    """
    logs, news = tails(folder, tasks), _news(folder)
    lock = os.path.join(folder, state.LOCK)
    over = None
    try:
        while over is None:
            kept = locks.held(lock) or lives()
            moved = _copied(logs, out)
            for event in next(news):
                say(event)
                over = event if event["what"] == "over" else over
            if over is None and not kept:
                return None
            if not moved and over is None:
                time.sleep(PAUSE)
        while _copied(logs, out):
            pass
        return over
    finally:
        for log in logs:
            log.close(out)
        out.flush()


def _copied(logs: list[Tail], out: IO[bytes]) -> bool:
    moved = [log.copy(out) for log in logs]
    if any(moved):
        out.flush()
    return any(moved)


def _news(folder: str) -> Iterator[list[dict[str, Any]]]:
    """Again and again, the events that are new since the last time."""
    path = os.path.join(folder, "events.jsonl")
    seen = size = 0
    while True:
        try:
            now = os.stat(path).st_size
        except OSError:
            now = 0
        every = list(state.events(folder)) if now != size else []
        yield every[seen:]
        if now != size:
            seen, size = len(every), now


def last(folder: str, task: str, lines: int = 20) -> list[str]:
    """The last lines of a task's log."""
    try:
        with open(state.log(folder, task), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - CHUNK))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
