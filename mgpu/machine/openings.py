"""Resources in, GPUs by their ids and ports as ``port-<n>``, those that nobody holds out, and the notes of holders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from mgpu.machine import leases, locks, notes
from mgpu.machine.notes import Holder


def noted(resources: Iterable[str]) -> dict[str, list[Holder]]:
    """By resource, a GPU's id or ``port-<n>``, the notes of those who hold a lock on it; free ones are left out, and a
    holder without a note has none."""
    found: dict[str, list[Holder]] = {}
    for name in resources:
        try:
            handle = locks.opened(leases.lock_file(name))
        except OSError:
            continue
        try:
            if locks.locked(handle):
                found[name] = [note for start, note in notes.every(handle) if locks.locked(handle, start, 1)]
        finally:
            os.close(handle)
    return found


def free(resources: Iterable[str], shares: Mapping[str, leases.Share] | None = None) -> dict[str, int]:
    """Those of the resources whose lock nobody holds, or of which so much is nobody's as `shares` says; each with the
    time (ns) of the last writing to its file: a taker writes there, so one that was taken and let go since the last
    look is told from one that was not."""
    found: dict[str, int] = {}
    for name in resources:
        with suppress(OSError):
            share = (shares or {}).get(name)
            if _has_room(leases.lock_file(name), share) if share else not locks.held(leases.lock_file(name)):
                found[name] = _written(name)
    return found


def _has_room(path: str, share: leases.Share) -> bool:
    """Whether a piece of the card that large is nobody's."""
    try:
        handle = locks.opened(path)
    except FileNotFoundError:
        return True
    try:
        return locks.somewhere(handle, share.mib, share.of) is not None
    finally:
        os.close(handle)


def _written(resource: str) -> int:
    try:
        return os.stat(leases.lock_file(resource)).st_mtime_ns
    except FileNotFoundError:
        return 0
