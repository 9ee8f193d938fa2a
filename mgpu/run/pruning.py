"""The folders of this user's runs in, fewer of them out: of those that are over the newest stay, and none for ever.

Nothing that lives, whose GPUs are held or that a newer mgpu has written is removed. A folder is first renamed, under
the lock of its keeper, so two that prune at once do not meet, and who reads sees a whole run or none.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from mgpu.errors import HostError
from mgpu.machine import locks
from mgpu.run import runs, state

RUNS = 200
"""Runs that are kept once they are over."""
NAME = "MGPU_KEEP_RUNS"
"""The variable that names another number."""
AGE = 30 * 86400.0
"""Seconds after which a run that is over goes anyway."""
LOST = 3600.0
"""Seconds after which a run that nobody saw end goes as one that is over."""
MARK = ".gone-"
"""How the name of a folder begins that is being removed."""


def prune() -> None:
    """Remove what is too much, or too old. What cannot be removed stays."""
    with suppress(HostError, OSError):
        _swept()
        begun = sorted(((_begun(path), path) for path in runs.folders()), reverse=True)
        horizon = time.time() - AGE
        if len(begun) <= _kept() and (not begun or begun[-1][0] > horizon):
            return
        lives, over = runs.living(), 0
        for begin, path in begun:
            if locks.held(os.path.join(path, state.LOCK)):
                continue
            over += 1
            if (over > _kept() or begin < horizon) and _removable(path, begin, lives):
                _remove(path)


def _kept() -> int:
    given = os.environ.get(NAME, "")
    return int(given) if given.isascii() and given.isdigit() else RUNS


def _begun(folder: str) -> float:
    """When the run was begun, seconds of the epoch: its run.json is written then, and not read for this."""
    for path in (os.path.join(folder, "run.json"), folder):
        with suppress(OSError):
            return os.stat(path).st_mtime
    return time.time()


def _removable(folder: str, begin: float, lives: runs.Living) -> bool:
    """Whether it is over, or lost for so long that it is not one that is being made; and this mgpu knows all of it."""
    if not os.path.exists(os.path.join(folder, state.OVER)) and begin > time.time() - LOST:
        return False
    run = runs.read(folder, lives)
    return run is not None and not run.alive and run.state not in ("newer", "unreadable")


def _remove(folder: str) -> None:
    import shutil

    try:
        lock = locks.reach(os.path.join(folder, state.LOCK))
    except OSError:
        return
    try:
        if not locks.lock(lock):
            return
        gone = os.path.join(os.path.dirname(folder), MARK + os.path.basename(folder))
        os.rename(folder, gone)
        shutil.rmtree(gone, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(lock)


def _swept() -> None:
    """Remove what one that was killed has left half removed."""
    import shutil

    for entry in list(os.scandir(state.root())):
        if entry.name.startswith(MARK):
            shutil.rmtree(entry.path, ignore_errors=True)
