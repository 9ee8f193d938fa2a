"""One command of a run in, its process out, and how far it is. Standard library only: the keeper imports this.

A container's command is carried out by a process of mgpu's own, run.container, that lives and ends as the container.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from fnmatch import fnmatchcase

from mgpu.machine import processes
from mgpu.run import handover
from mgpu.values.secrets import secret_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mgpu.run.probes import Watch


MOST_DEATHS = 10
"""So often in a row may the process that stands for a container be killed, and be started anew."""
LONG = 60.0
"""Seconds after which a death of that process is no longer in a row with the one before."""


class Task:
    """One command of the run and how far it is."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.name: str = command["task"]
        self.pid: int | None = None
        self.started = 0.0
        self.ready = False
        self.code: int | None = None
        self.failed = False
        self.gone = False
        self.stopping: float | None = None
        self.killed = self.cleared = False
        self.why: int | None = None
        self.watch: Watch | None = None
        self.boxed: bool = command["container"] is not None
        self.deaths = 0
        self.boxed_at = 0.0
        self.again: float | None = None

    @property
    def running(self) -> bool:
        return self.pid is not None and not self.gone

    def moved(self) -> float:
        """When it was last seen to come nearer to being ready: its start, or a percentage in its log that moved."""
        return max(self.started, self.watch.moved if self.watch else 0.0)

    def is_so(self, wanted: str) -> bool:
        """Whether the task is `wanted`: started, ready or done."""
        if wanted == "done":
            return self.gone and self.code == 0
        return self.ready if wanted == "ready" else self.pid is not None

    def spawn(self, env: Mapping[str, str], log: str) -> None:
        """Start the process: a session of its own, no input, all output appended to `log`. Raises OSError.

        Inheritable descriptors go with it: those of the leases.
        """
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.chdir(self.command["cwd"])
            program = found(self.command["argv"][0], env.get("PATH", os.defpath))
            self.pid = spawned(program, self.command["argv"], env, nothing, output)
        finally:
            os.close(output)
            os.close(nothing)
        self.started = time.monotonic()

    def box(self, standin: Standin, secrets: Mapping[str, str], leases: list[int]) -> None:
        """Have `standin` stand for the container, for the first time or anew."""
        self.pid = standin.pid
        self.started = self.started or time.monotonic()
        self.code, self.again = None, None
        self.boxed_at = time.monotonic()
        with suppress(OSError):  # it is dead already, and that is seen when it is reaped
            standin.begin(self.name, secrets, leases)

    def died(self) -> bool:
        """Whether the process of a container was killed, which says nothing of the container; then when it is started
        anew is settled."""
        if not self.boxed or self.code is None or self.code >= 0:
            return False
        if self.again is None and time.monotonic() > self.boxed_at + LONG:
            self.deaths = 0
        if self.again is None and self.deaths >= MOST_DEATHS:
            return False
        if self.again is None:
            self.again = time.monotonic() + 0.05 * 2**self.deaths
            self.deaths += 1
        return True


class Standin:
    """What stands for a container, once it is told for which. It answers no signal before it can hand it on.

    It has none of this process's stderr: until the run is there that is the caller's, who may wait for its end.
    """

    def __init__(self, env: Mapping[str, str], folder: str) -> None:
        argv = [sys.executable, "-m", "mgpu.run.container", folder]
        self.end, its = handover.pair()
        os.chdir("/")
        with its:
            self.pid = spawned(sys.executable, argv, env, its.fileno(), 1, blocked=FORWARDED)

    def begin(self, task: str, secrets: Mapping[str, str], leases: list[int]) -> None:
        """Tell it the task, and give it the leases to hold."""
        with self.end:
            handover.send(self.end, {"task": task, "secrets": dict(secrets)}, leases)


FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def spawned(
    program: str, argv: list[str], env: Mapping[str, str], source: int, output: int, blocked: tuple[int, ...] = ()
) -> int:
    """The pid of a new process, in a session of its own, with these descriptors as its input and its output."""
    return os.posix_spawn(
        program,
        argv,
        env,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, source, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
        setsigmask=blocked,
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP],
    )


def environment(
    run: str, command: Mapping[str, Any], caller: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, str]:
    """The caller's environment less what a job must not inherit; then the command's own, its secrets, and the marks."""
    kept = {
        name: value
        for name, value in without_secrets(caller).items()
        if not any(fnmatchcase(name, pattern) for pattern in command["unset"])
    }
    return {**kept, **command["env"], **secrets, processes.RUN: run, processes.TASK: command["task"]}


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """The variables whose names do not say that they hold a secret."""
    return {name: value for name, value in env.items() if not secret_name(name)}


def found(program: str, path: str) -> str:
    """The file that a program's name means; the name itself where there is none, for the kernel to refuse."""
    if "/" in program:
        return program
    for folder in path.split(os.pathsep):
        file = os.path.join(folder or ".", program)
        if os.access(file, os.X_OK) and not os.path.isdir(file):
            return file
    return program
