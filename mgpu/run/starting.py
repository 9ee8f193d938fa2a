"""A task of a run in, its process out: with what the caller's environment leaves it, its secrets, and the leases.

A container's process is one of mgpu's own, run.container, that stands for it. Standard library only: the keeper imports
this.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from fnmatch import fnmatchcase

from mgpu.machine import processes
from mgpu.run import handover, state
from mgpu.values.secrets import secret_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mgpu.run.task import Task


class Starter:
    """What the tasks of a run are started with: the caller's environment and module path, secrets, leases."""

    def __init__(self, folder: str, hello: dict[str, Any]) -> None:
        self.folder = folder
        self.run = os.path.basename(folder)
        self.caller: dict[str, str] = hello["env"]
        self.path: str = hello["path"]
        self.warm: Standin | None = self.standin() if hello["boxed"] else None
        self.secrets: dict[str, dict[str, str]] = {}
        self.leases: list[int] = []

    def take_over(self, secrets: dict[str, dict[str, str]], leases: list[int]) -> None:
        """There is a run: `leases` are the descriptors that hold its GPUs and ports, and go with every process."""
        self.secrets, self.leases = secrets, leases
        for lease in leases:
            os.set_inheritable(lease, True)

    def start(self, task: Task) -> None:
        """Start the task's process, or its stand-in anew. Raises OSError, or ValueError for what none can be given."""
        secrets = self.secrets.get(task.name, {})
        if task.boxed:
            standin, self.warm = self.warm or self.standin(), None
            task.pid = standin.pid
            with suppress(OSError):  # it is dead already, and that is seen when it is reaped
                standin.begin({"task": task.name, "secrets": secrets, "life": len(task.ends)}, self.leases)
            task.voice = Voice(standin.end)
        else:
            env = environment(self.run, task.command, self.caller, secrets)
            task.pid = process(task.command, env, state.log(self.folder, task.name))

    def ask(self, task: Task, argv: list[str]) -> int:
        """The pid of a command that is run as the task is, of which nothing is heard. Raises OSError, ValueError."""
        env = environment(self.run, task.command, self.caller, self.secrets.get(task.name, {}))
        return process({**task.command, "argv": argv}, env, os.devnull)

    def reaped(self, pid: int) -> None:
        """A child is gone: it may be the stand-in that waits."""
        if self.warm and self.warm.pid == pid:
            self.warm = None

    def standin(self) -> Standin:
        """A new process to stand for a container. Raises OSError."""
        marks = {processes.RUN: self.run, "PYTHONPATH": self.path}
        return Standin({**without_secrets(self.caller), **marks}, self.folder)


class Standin:
    """What stands for a container, once it is told for which. It answers no signal before it can hand it on.

    It has none of this process's stderr: until the run is there that is the caller's, who may wait for its end.
    """

    def __init__(self, env: Mapping[str, str], folder: str) -> None:
        argv = [sys.executable, "-m", "mgpu.run.container", folder]
        self.end, its = handover.pair()
        os.chdir("/")
        with its:
            self.pid = spawned(sys.executable, argv, env, its.fileno(), 1, blocked=handover.STOPPING)

    def begin(self, orders: dict[str, Any], leases: list[int]) -> None:
        """Tell it the task, the task's secrets, and which of its lives this is; and give it the leases to hold."""
        handover.send(self.end, orders, leases)


class Voice:
    """What a stand-in says of its container, as far as it has been heard: `first` is the pid of its first process;
    `ready` that the command which shows this has ended well, `refusal` why not yet."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""
        self._said: dict[str, Any] = {}

    @property
    def said(self) -> dict[str, Any]:
        """All of it, the last word for each thing."""
        with suppress(OSError):
            while piece := self._end.recv(4096, socket.MSG_DONTWAIT):
                *lines, self._rest = (self._rest + piece).split(b"\n")
                for line in lines:
                    self._said |= json.loads(line)
        return self._said


def process(command: Mapping[str, Any], env: Mapping[str, str], log: str) -> int:
    """The pid of a command's new process: no input, all output appended to `log`. Raises OSError.

    Inheritable descriptors go with it: those of the leases.
    """
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.chdir(command["cwd"])
        return spawned(found(command["argv"][0], env.get("PATH", os.defpath)), command["argv"], env, nothing, output)
    finally:
        os.close(output)
        os.close(nothing)


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
    marks = {processes.RUN: run, processes.TASK: command["task"], processes.GPUS: ",".join(command["gpus"])}
    return {**kept, **command["env"], **secrets, **marks}


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
