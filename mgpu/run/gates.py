"""GPUs that several tasks share in, leave to start on them out: to one at a time, which is on its way to be ready.

Within a run the keeper sees its tasks; between runs a lock beside the lease of each GPU is held from a start until the
task is ready, and freed by the kernel with the keeper. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mgpu.run.task import Task

ENDING = ".starting"


def crowded(task: Task, tasks: Iterable[Task]) -> bool:
    """Whether another task is on its way to be ready on one of this task's GPUs."""
    gpus = set(task.command["gpus"])
    return any(
        other.running and not other.ready and gpus.intersection(other.command["gpus"])
        for other in tasks
        if other is not task
    )


class Gates:
    """The gates that tasks with a share of a GPU have passed, in the folder of the leases."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._held: dict[str, list[int]] = {}

    def open(self, task: Task) -> bool:
        """Whether the task may start now, as far as other runs go; it then holds the gates of all its GPUs."""
        if not task.command.get("share"):
            return True
        from mgpu.machine import locks

        handles: list[int] = []
        place = locks.place(self._env)
        for gpu in sorted(task.command["gpus"]):
            try:
                handles.append(locks.reach(os.path.join(place, f"gpu-{gpu.replace('/', '_')}{ENDING}")))
            except OSError:
                continue  # its leases are held, so the folder was there; a job is not kept back for want of it
            if not locks.lock(handles[-1]):
                _close(handles)
                return False
        self._held[task.name] = handles
        return True

    def leave(self, task: Task) -> None:
        """The task is ready, or gone."""
        _close(self._held.pop(task.name, []))


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)
