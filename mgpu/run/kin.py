"""The tasks of a run in, the live processes of one of them out, orphans too, whatever sessions they are in.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os

from mgpu.machine import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from mgpu.run.task import Task


SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER, of prctl(2)."""


def adopt() -> None:
    """Have the kernel hand this process the orphans of its descendants."""
    import ctypes

    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def of(task: Task, tasks: Mapping[str, Task], aside: Set[int | None] = frozenset()) -> set[int]:
    """The live processes of `task`: all that descend from it, orphans by their mark, but for those `aside`.

    An orphan that has lost its mark belongs to the last task that is there. All descend from this process, which has
    adopted the orphans.
    """
    last = not any(other.running for other in tasks.values() if other is not task)
    table = processes.table()
    mine = processes.descendants([os.getpid()], table) - {os.getpid(), *aside}
    owners = (task.name, None) if last else (task.name,)
    names = {other.pid: name for name, other in tasks.items()}
    return {pid for pid in mine if _owner(pid, names, table) in owners}


def _owner(pid: int, names: Mapping[int | None, str], table: Mapping[int, processes.Process]) -> str | None:
    """The name of the task that a descendant belongs to."""
    while pid in table and pid != os.getpid():
        name = names.get(pid) or processes.variable(pid, processes.TASK)
        if name:
            return name
        pid = table[pid].parent
    return None
