"""The folder of a run in, what it writes and what happens to it out, as it comes, until it is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from mgpu.machine import locks
from mgpu.run import logcut, state

CHUNK = 64 * 1024
PAUSE = 0.02
NEWLINE = ord("\n")

Say = Callable[[dict[str, Any]], None]


class Tail:
    """The end of one growing log; `prefix` goes before each of its lines."""

    def __init__(self, path: str, prefix: bytes) -> None:
        self.path, self.prefix = path, prefix
        self.handle = -1
        self.place = 0
        self.rest = b""

    def copy(self, out: IO[bytes]) -> bool:
        """Copy the next piece to `out`; False where there is nothing new. Without a prefix every byte goes as it is."""
        if not self._opened():
            return False
        begin, piece = logcut.piece(self.handle, self.place, CHUNK)
        if begin > self.place:
            self._tell_gap(out, begin - self.place)
        self.place = begin + len(piece)
        if piece and not self.prefix:
            out.write(piece)
        elif piece:
            self.rest = self._lines(out, self.rest + piece)
        return bool(piece)

    def skip(self, lines: int) -> None:
        """Go on with the last so many lines of what there is now."""
        if not self._opened():
            return
        self.place = end = os.fstat(self.handle).st_size
        while self.place and lines > 0:
            wanted = max(0, self.place - CHUNK)
            begin, piece = logcut.piece(self.handle, wanted, self.place - wanted)
            piece = piece[: max(0, self.place - begin)]
            for at in (at for at in range(len(piece) - 1, -1, -1) if piece[at] == NEWLINE and begin + at + 1 < end):
                lines -= 1
                if lines == 0:
                    self.place = begin + at + 1
                    return
            self.place = min(begin, self.place)
            if begin > wanted:  # what was before is cut
                return

    def _opened(self) -> bool:
        try:
            self.handle = self.handle if self.handle >= 0 else os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _tell_gap(self, out: IO[bytes], size: int) -> None:
        """Tell that what comes now does not follow on what came before."""
        if self.rest:
            out.write(self.prefix + self.rest + b"\n")
            self.rest = b""
        out.write(self.prefix + f"[mgpu: {size} bytes of this log are gone: it keeps the newest]\n".encode())

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
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def tails(folder: str, tasks: list[str], lines: int | None = None) -> list[Tail]:
    """A tail for each task's log, at its beginning or before its last `lines`; with the task's name before each line
    where there are several."""
    width = max(map(len, tasks), default=0)
    found = [Tail(state.log(folder, t), f"{t:<{width}} | ".encode() if len(tasks) > 1 else b"") for t in tasks]
    for tail in found if lines is not None else ():
        tail.skip(lines or 0)
    return found


def follow(
    folder: str,
    tasks: list[str],
    out: IO[bytes],
    say: Say,
    lives: Callable[[], bool] = lambda: False,
    lines: int | None = None,
) -> dict[str, Any] | None:
    """Copy the logs, or what follows on their last `lines`, to `out` and tell every event to `say` until it is over.

    Returns the event that ended the run, or that it has ended and its GPUs are held. None where the keeper is gone
    without having said so; it goes on then for as long as `lives` says that anything of the run does.
    """
    logs, events = tails(folder, tasks, lines), news(folder)
    lock = os.path.join(folder, state.LOCK)
    over = None
    try:
        while over is None:
            kept = locks.held(lock) or lives()
            moved = _copied(logs, out)
            for event in next(events):
                say(event)
                over = event if event["what"] in ("over", "stuck") else over
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


def news(folder: str) -> Iterator[list[dict[str, Any]]]:
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
            place = max(0, os.fstat(file.fileno()).st_size - CHUNK)
            _, text = logcut.piece(file.fileno(), place, CHUNK)
            return text.decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
