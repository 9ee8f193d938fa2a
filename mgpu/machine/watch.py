"""Resources in, GPUs by their ids and ports as ``port-<number>``; which may be had, and who holds the others, out.

It is what somebody who waits looks at, many times a second: locks and notes, and nothing else of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from mgpu.machine import leases, locks, notes
from mgpu.machine.leases import Share
from mgpu.machine.notes import Holder


def free(resources: Iterable[str], shares: Mapping[str, Share] | None = None) -> dict[str, int]:
    """Those of the resources whose lock nobody holds, and those in `shares` of which so much can be had in one piece,
    each with the time (ns) of the last writing to its file: a taker writes there, so one that was taken and let go
    since the last look is told from one that was not."""
    found: dict[str, int] = {}
    for name in resources:
        with suppress(OSError):
            written = _had(leases.path_of(name), (shares or {}).get(name))
            found |= {} if written is None else {name: written}
    return found


def _had(path: str, share: Share | None) -> int | None:
    """When the file was last written to, 0 where there is none; None where what is wanted of it cannot be had."""
    try:
        handle = locks.opened(path)
    except FileNotFoundError:
        return 0
    try:
        room = locks.somewhere(handle, share.mib, share.of) is not None if share else not locks.locked(handle)
        return os.fstat(handle).st_mtime_ns if room else None
    finally:
        os.close(handle)


def noted(resources: Iterable[str]) -> dict[str, list[Holder]]:
    """By resource the notes of those who hold a lock on it; free ones are left out, and who left no note has none."""
    found: dict[str, list[Holder]] = {}
    for name in resources:
        with suppress(OSError):
            handle = locks.opened(leases.path_of(name))
            try:
                if locks.locked(handle):
                    found[name] = [note for start, note in notes.every(handle) if locks.locked(handle, start, 1)]
            finally:
                os.close(handle)
    return found
