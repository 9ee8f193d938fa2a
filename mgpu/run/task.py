"""One command of a run in, its process out, and how far it is. Standard library only: the keeper imports this."""

from __future__ import annotations

import os
import signal
import time
from fnmatch import fnmatchcase

from mgpu.machine import processes
from mgpu.values.secrets import secret_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mgpu.run.probes import Watch


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

    @property
    def running(self) -> bool:
        return self.pid is not None and not self.gone

    def is_so(self, wanted: str) -> bool:
        """Whether the task is `wanted`: started, ready or done."""
        if wanted == "done":
            return self.gone and self.code == 0
        return self.ready if wanted == "ready" else self.pid is not None

    def spawn(self, env: Mapping[str, str], log: str) -> None:
        """Start the process: a session of its own, no input, all output appended to `log`. Raises OSError.

        Inheritable descriptors go with it: those of the leases.
        """
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.chdir(self.command["cwd"])
            self.pid = os.posix_spawn(
                found(self.command["argv"][0], env.get("PATH", os.defpath)),
                self.command["argv"],
                env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP],
            )
        finally:
            os.close(output)
        self.started = time.monotonic()


def environment(
    run: str, command: Mapping[str, Any], caller: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, str]:
    """The caller's environment less what a job must not inherit; then the command's own, its secrets, and the marks."""
    kept = {
        name: value
        for name, value in caller.items()
        if not any(fnmatchcase(name, pattern) for pattern in command["unset"]) and not secret_name(name)
    }
    return {**kept, **command["env"], **secrets, processes.RUN: run, processes.TASK: command["task"]}


def found(program: str, path: str) -> str:
    """The file that a program's name means; the name itself where there is none, for the kernel to refuse."""
    if "/" in program:
        return program
    for folder in path.split(os.pathsep):
        file = os.path.join(folder or ".", program)
        if os.access(file, os.X_OK) and not os.path.isdir(file):
            return file
    return program
