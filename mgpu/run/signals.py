"""The live processes of a task and a signal in, those that are meant by it signalled.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import signal

from mgpu.machine import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mgpu.run.task import Task


def stop(task: Task) -> int:
    """The signal that asks this task to end."""
    return int(signal.SIGTERM if task.boxed else getattr(signal, task.command["stop"]["signal"]))


def send(task: Task, pids: Iterable[int], number: int) -> None:
    """Signal the task's first process, as a container's is; to kill, or when that is gone already, all else of it.

    An engine that ends its ranks itself takes the end of one that was signalled as well for a crash. The process
    that stands for a container is never killed: it kills the container, and ends with that.
    """
    if task.boxed and number == signal.SIGKILL:
        number = signal.SIGQUIT
    for pid in pids:
        process = processes.read(pid)
        if process and (number == signal.SIGKILL or task.code is not None or pid == task.pid):
            processes.send(process, number)
            processes.send(process, signal.SIGCONT)
