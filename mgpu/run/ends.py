"""A task that has ended in, how it ended out, as the restart policy wants to know it: with its cause, if one is known.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os
import signal
import time

from mgpu.run.restarts import End, Policy
from mgpu.run.task import FAILED, IDLE, MOST_DEATHS, STOPPED, TIMED_OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mgpu.run.task import Task

TAIL = 256 * 1024
"""How much of the log of a life is read for its cause, in bytes."""
NOT_EXECUTED = (126, 127)
"""The codes of what could not be executed, a shell's and Docker's too."""


def policy_of(task: Task) -> Policy | None:
    """The policy of a task that may be started anew; None where it has none, or was ended as it should be."""
    given = task.command.get("restart")
    return Policy(**given) if given and task.why not in (STOPPED, IDLE) else None


def ended(task: Task, log: str) -> End:
    """How the life of a settled task ended; `log` is the path of its log."""
    now = time.monotonic()
    life = now - task.since if task.ready else 0.0
    code = task.code or 0
    helpless = _helpless(task, code) if task.failed else ""
    end = End(now, life, code, task.failed, helpless)
    if not task.failed or helpless:
        return end
    from mgpu.run.diagnosis import first

    cause = first(written(log, task.log), code, task.command.get("engine"))
    return end._replace(cause=cause.id, words=cause.cause, lasting=cause.lasting) if cause else end


def _helpless(task: Task, code: int) -> str:
    """Why it would not help to start it anew, whatever its log says."""
    if task.why == TIMED_OUT:
        return "its time is over"
    if task.pid is None:
        return "it cannot be started"
    if task.why is None and code in NOT_EXECUTED:
        return "what it is to execute cannot be executed"
    if task.why is None and task.boxed and code == FAILED:
        return "Docker refuses its container"
    killed = task.deaths >= MOST_DEATHS and code == 128 + signal.SIGKILL
    return "what stands for its container is killed again and again" if killed else ""


def written(log: str, place: int) -> str:
    """What a log has from this place on: the end of it, where that is much."""
    try:
        with open(log, "rb") as file:
            file.seek(max(place, os.fstat(file.fileno()).st_size - TAIL))
            return file.read(TAIL).decode(errors="replace")
    except OSError:
        return ""
