"""A run that waits in, its ticket out: a file in the folder of the leases that counts while its runner holds its lock.

Nothing that a ticket says is trusted beyond words and the place in the order: whose it is the file itself tells, and
it is worth nothing once its lock is free. So whoever dies has left the queue, and a lie costs others a wait at most.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from mgpu.errors import HostError
from mgpu.machine import leases, locks, processes
from mgpu.values.queue import Waiter, Want

ENDING = ".wait"
NEW = ".joining"
GATE = "queue.gate"
PATIENCE = 2.0
"""Seconds after which it is done without the gate: whoever stops inside costs others the exact order, and no more."""
LARGEST = 2**18
"""Bytes of a ticket that are read."""
WHY = 2048
"""Bytes for the reason, at the end of a ticket: it is written anew in its place."""
MOST = 4096
"""Tickets that are looked at."""
OLD = 60.0
"""Seconds after which the ticket of somebody who died while joining is cleared away."""


class Ticket:
    """A place in the queue, held until `leave`, or until this process ends."""

    def __init__(self, path: str, handle: int, waiter: Waiter, size: int) -> None:
        self.path, self.handle, self.waiter, self.size = path, handle, waiter, size

    def says(self, why: str) -> None:
        """Say why it waits; a full disk costs the words."""
        with suppress(OSError):
            os.pwrite(self.handle, _reason(why), self.size)

    def leave(self) -> None:
        """Give the place up."""
        if self.handle >= 0:
            with suppress(OSError):
                os.unlink(self.path)
            os.close(self.handle)
            self.handle = -1


def join(run: str, name: str, priority: int, wants: tuple[Want, ...], lasts: float | None) -> Ticket:
    """Take the last place among those of this priority. Raises HostError where the ticket cannot be written."""
    folder = leases.folder()
    path, new = os.path.join(folder, run + ENDING), os.path.join(folder, run + NEW)
    since = time.time()
    told = {"run": run, "name": name, "since": since, "priority": priority, "lasts": lasts,
            "wants": [[want.amount, sorted(want.of)] for want in wants]}  # fmt: skip
    handle = -1
    try:
        handle = locks.reach(new)
        locks.lock(handle)
        with _gate(folder):
            number = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            text = json.dumps({**told, "number": number}).encode() + b"\n"
            if os.pwrite(handle, text + _reason(""), 0) < len(text) + WHY:
                raise OSError(28, "No space left on device", new)
            os.rename(new, path)
    except OSError as error:
        if handle >= 0:
            with suppress(OSError):
                os.unlink(new)
            os.close(handle)
        raise HostError(
            f"the queue cannot be joined: {error.strerror}: {folder}", "free some space there, or run without --wait"
        ) from error
    except BaseException:
        os.close(handle)
        raise
    waiter = Waiter(run, name, _called(os.geteuid()), since, priority, number, wants, lasts, uid=os.geteuid())
    return Ticket(path, handle, waiter, len(text))


def _reason(why: str) -> bytes:
    words = "".join(filter(str.isprintable, why))[: WHY // 4 - 2]
    return json.dumps(words, ensure_ascii=False).encode().ljust(WHY)


@contextmanager
def _gate(folder: str) -> Iterator[None]:
    """One after the other, so that whoever gets a later number has seen those before; without it after a while."""
    try:
        handle = locks.reach(os.path.join(folder, GATE))
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + PATIENCE
        while not locks.lock(handle) and time.monotonic() < deadline:
            time.sleep(0.005)
        yield
    finally:
        os.close(handle)


class Queue:
    """The tickets as one process sees them: what has been read once is not read again."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, int], Waiter | None] = {}

    def waiters(self, whys: bool = False, closely: bool = True) -> list[Waiter]:
        """Those who wait now, in no order; `whys` reads anew why they do. Dead ones' tickets are cleared away; without
        `closely` who was known before and has not left counts as alive."""
        try:
            names = sorted(os.listdir(locks.place()))
        except OSError:
            return []
        found: dict[tuple[str, int], Waiter | None] = {}
        believed = {} if closely else {key[0]: (key, waiter) for key, waiter in self.known.items()}
        for name in [name for name in names if name.endswith((ENDING, NEW))][:MOST]:
            path = os.path.join(locks.place(), name)
            if path in believed:
                key, waiter = believed[path]
                found[key] = waiter
                continue
            with suppress(OSError):
                found |= self._read(path, whys) if name.endswith(ENDING) else _swept(path)
        self.known = found
        return [waiter for waiter in found.values() if waiter]

    def _read(self, path: str, whys: bool) -> dict[tuple[str, int], Waiter | None]:
        handle = locks.opened(path)
        try:
            if not locks.locked(handle):
                os.unlink(path)
                return {}
            facts = os.fstat(handle)
            key = (path, facts.st_ino)
            if key in self.known and not whys:
                return {key: self.known[key]}
            return {key: _waiter(os.pread(handle, LARGEST, 0), facts.st_uid)}
        finally:
            os.close(handle)


def _swept(path: str) -> dict[tuple[str, int], Waiter | None]:
    """Nothing; the file of somebody who died before the ticket was whole is removed."""
    if os.lstat(path).st_mtime < time.time() - OLD and not locks.held(path):
        os.unlink(path)
    return {}


def _waiter(text: bytes, uid: int) -> Waiter | None:
    """The waiter that a ticket tells of, whose file is of the user `uid`; None where it tells of none."""
    first, _, second = text.partition(b"\n")
    try:
        said = json.loads(first)
        wants = tuple(Want(int(_number(count, 1, MOST)), frozenset(map(_word, of))) for count, of in said["wants"])
        since = float(_number(said["since"], 0, 2**40))
        time.localtime(since)
        lasts = None if said["lasts"] is None else float(_number(said["lasts"], 0, 2**40))
        priority, number = int(_number(said["priority"], -(2**31), 2**31)), int(_number(said["number"], 0, 2**63))
        return Waiter(_word(said["run"]), _word(said["name"]), _called(uid), since, priority, number,
                      wants, lasts, _why(second), uid)  # fmt: skip
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError):
        return None


def _number(said: Any, least: int, most: int) -> Any:
    if isinstance(said, bool) or not isinstance(said, (int, float)) or not math.isfinite(said):
        raise ValueError("no number")
    if not least <= said <= most:
        raise ValueError("no such number")
    return said


def _word(said: Any) -> str:
    if not isinstance(said, str):
        raise ValueError("no word")
    return "".join(filter(str.isprintable, said))[:100]


def _why(text: bytes) -> str:
    """Why it waits; nothing where that is just being written."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return "".join(filter(str.isprintable, said))[:WHY] if isinstance(said, str) else ""


_called = lru_cache(maxsize=256)(processes.called)
"""A user's name, asked for once: who waits looks many times a second."""
