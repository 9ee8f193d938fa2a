"""The notes in a lock file: who took which bytes of it, in words, and which run to look for where nobody holds them.

A note stands in the slot of the first byte that was locked, and is wiped by its own holder at a clean end. So a note
whose byte nobody holds tells of a run whose keeper died: what is left of that run must be looked for.
Standard library only: the keeper imports this too.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SLOT = 512
"""Bytes that a note has at most. The file is sparse: a slot that was never written takes no room."""
SLOTS = 2**20
"""More than the largest card has MiB: behind them there is no note, whatever was written there."""


class Holder:
    """Who takes a lease: for words, and to look for what lives of a run that holds no lock any more, never to decide
    who owns what. `since` in seconds of the epoch, `tick` in seconds since the host was booted; `uid` is the user's
    number, and `boxed` says that the run has containers; by `until`, in seconds since the boot, it will have let go,
    where that is known."""

    __slots__ = ("boxed", "name", "run", "since", "tick", "uid", "until", "user")

    def __init__(
        self,
        run: str,
        name: str,
        user: str,
        since: float,
        uid: int | None = None,
        tick: float | None = None,
        boxed: bool = False,
        until: float | None = None,
    ) -> None:
        self.run, self.name, self.user, self.since, self.boxed, self.until = run, name, user, since, boxed, until
        self.uid = os.getuid() if uid is None else uid
        self.tick = time.clock_gettime(time.CLOCK_BOOTTIME) if tick is None else tick

    def __str__(self) -> str:
        return f"run {self.name} of {self.user} since {time.strftime('%H:%M on %d %b', time.localtime(self.since))}"


def write(handle: int, start: int, holder: Holder) -> None:
    """Write the note of whoever holds the byte `start`. A full disk costs the words, not the lease."""
    text = json.dumps({name: getattr(holder, name) for name in Holder.__slots__}).encode()
    try:
        os.pwrite(handle, text.ljust(SLOT, b"\0"), start * SLOT)
    except OSError:
        return


def wipe(handle: int, start: int) -> None:
    """Take the note of the byte `start` away."""
    try:
        os.pwrite(handle, bytes(SLOT), start * SLOT)
    except OSError:
        return


def read(handle: int, start: int) -> Holder | None:
    """The note of the byte `start`; anyone may have written there, so what is no note is none."""
    try:
        said = json.loads(os.pread(handle, SLOT, start * SLOT).rstrip(b"\0"))
        return _holder(said)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _holder(said: dict[str, Any]) -> Holder:
    run, name, user = ("".join(filter(str.isprintable, str(said[key])))[:100] for key in ("run", "name", "user"))
    since, tick = float(said["since"]), float(said["tick"])
    time.localtime(since), int(tick)  # raise what read() expects, where they are no times
    until = said.get("until")
    return Holder(run, name, user, since, int(said["uid"]), tick, bool(said["boxed"]), until and float(until))


def every(handle: int) -> Iterator[tuple[int, Holder]]:
    """Every note of the file, with the byte that it is about."""
    end = 0
    while end < SLOTS * SLOT:
        try:
            begin = os.lseek(handle, end, os.SEEK_DATA)
            end = os.lseek(handle, begin, os.SEEK_HOLE)
        except OSError:  # ENXIO: no data from here on
            return
        for start in range(begin // SLOT, min(-(-end // SLOT), SLOTS)):
            note = read(handle, start)
            if note:
                yield start, note
