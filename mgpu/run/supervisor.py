"""The tasks of a run in, each started in its order, watched, and stopped, until nothing of them is left; the code out.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os
import signal
import time

from mgpu.machine import processes
from mgpu.run import kin, state
from mgpu.run.bell import Bell
from mgpu.run.probes import Watch
from mgpu.run.task import FAILED, STOPPED, TIMED_OUT, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mgpu.run.starting import Starter

TICK = 0.25
"""Seconds between looks at clocks when nothing else happens."""


class Supervisor:
    """The run's state and the one loop that changes it."""

    def __init__(self, folder: str, starter: Starter, commands: Iterable[dict[str, Any]]) -> None:
        self.folder = folder
        self.starter = starter
        self.tasks = {command["task"]: Task(command) for command in commands}
        self.ending = False
        self.first: Task | None = None
        self.bell = Bell()

    def keep(self) -> int:
        """Carry the run through; returns its exit code."""
        self.bell.listen()
        while not self.finished():
            self.reap()
            self.watch_clocks()
            self.start_what_can()
            self.end_what_must()
            if not self.finished():
                self.bell.wait(TICK)
        return self.code()

    def note(self, what: str, task: Task | None = None, **more: Any) -> None:
        state.note(self.folder, what, task.name if task else None, **more)

    def start_what_can(self) -> None:
        if self.ending or self.bell.asked:
            return
        for task in self.tasks.values():
            needs = task.command["needs"].items()
            if task.pid is None and not task.gone and all(self.tasks[name].is_so(wanted) for name, wanted in needs):
                self.start(task)

    def start(self, task: Task) -> None:
        try:
            self.starter.start(task)
        except (OSError, ValueError) as error:
            task.gone = True
            self.settle(task, 127 if isinstance(error, FileNotFoundError) else 126, why=str(error))
            return
        task.begun()
        self.note("started", task, pid=task.pid)
        probe = task.command["probe"]
        if probe:
            token = self.starter.secrets.get(task.name, {}).get(probe["bearer"] or "")
            task.watch = Watch({**probe, "token": token}, state.log(self.folder, task.name), self.bell.rope)
        else:
            self.become_ready(task)

    def start_anew(self, task: Task) -> None:
        """Start what stands for a container once more; what the task was asked meanwhile it is asked now."""
        try:
            self.starter.start(task)
        except OSError:
            task.again = time.monotonic() + 1.0
            return
        task.begun()
        self.note("resumed", task, pid=task.pid)
        if task.killed:
            self.send(task, signal.SIGKILL)
        elif task.stopping is not None:
            self.send(task, signal.SIGTERM)

    def become_ready(self, task: Task) -> None:
        task.ready = True
        if task.watch:
            task.watch.close()
        self.note("ready", task, after=round(time.monotonic() - task.started, 3))

    def reap(self) -> None:
        """Take the exit status of whatever has ended: tasks, and orphans that the kernel handed to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            self.starter.reaped(pid)
            task = next((task for task in self.tasks.values() if task.pid == pid), None)
            if task:
                task.code = os.waitstatus_to_exitcode(status)
        for task in self.tasks.values():
            if task.code is not None and not task.gone and not task.died():
                self.clear(task)

    def clear(self, task: Task) -> None:
        """The task's own process has ended: end what it left behind, and settle it once nothing is left."""
        left = self.left(task)
        if not left:
            task.gone = True
            code = task.code or 0
            self.settle(task, 128 - code if code < 0 else code)
        elif task.stays():
            self.note("leftover", task, pids=sorted(left))
        elif not task.cleared:
            task.cleared = True
            if task.stopping is None:
                self.stop(task)
            else:
                self.send(task, signal.SIGTERM)

    def left(self, task: Task) -> set[int]:
        """The live processes of this task."""
        warm = self.starter.warm
        return kin.of(task, self.tasks, warm.pid if warm else None)

    def settle(self, task: Task, code: int, **more: Any) -> None:
        """Record how the task ended, and whether that ends the run."""
        more = task.settled(code) | more
        self.note("failed" if task.failed else "ended", task, code=task.code, **more)
        if task.failed:
            self.first = self.first or task
            self.ending = True

    def watch_clocks(self) -> None:
        now = time.monotonic()
        for task in self.tasks.values():
            if not task.running:
                continue
            probe, limit = task.command["probe"], task.command["timeout"]
            if task.again is not None and now > task.again:
                self.start_anew(task)
            if task.watch and task.watch.ready and not task.ready:
                self.become_ready(task)
            if self.bell.asked > 1:
                self.kill(task)
            elif task.stopping is not None:
                if now > task.stopping + task.command["stop"]["grace"]:
                    self.kill(task)
            elif limit and now > task.started + limit:
                self.note("timeout", task, after=limit)
                task.why = TIMED_OUT
                self.stop(task)
            elif probe and not task.ready and task.code is None and now > task.moved() + probe["within"]:
                self.note("late", task, after=probe["within"], why=task.watch.refusal if task.watch else None)
                task.why = FAILED
                self.stop(task)

    def end_what_must(self) -> None:
        """Stop what has to stop now: everything that nothing else still needs, where the run is ending."""
        finite = [task for task in self.tasks.values() if not task.command["serves"]]
        if finite and all(task.gone for task in finite):
            self.ending = True
        if self.bell.asked and not self.ending:
            self.ending = True
            self.note("stopping")
        if not self.ending:
            return
        for task in self.tasks.values():
            if task.pid is None:
                task.gone = True
            elif task.running and task.stopping is None and not self.needed(task):
                task.why = STOPPED
                self.stop(task)

    def needed(self, task: Task) -> bool:
        """Whether a live task needs this one, so that it is stopped later."""
        return any(other.running and task.name in other.command["needs"] for other in self.tasks.values())

    def stop(self, task: Task) -> None:
        task.stopping = time.monotonic()
        self.send(task, signal.SIGTERM if task.boxed else getattr(signal, task.command["stop"]["signal"]))

    def kill(self, task: Task) -> None:
        if not task.killed:
            self.note("killed", task)
        task.killed = True
        task.stopping = task.stopping or time.monotonic()
        if task.code is None:
            task.why = task.why or STOPPED
        self.send(task, signal.SIGKILL)

    def send(self, task: Task, number: int) -> None:
        """Signal the task's first process, as a container's is; to kill, or when that is gone already, all else of it.

        An engine that ends its ranks itself takes the end of one that was signalled as well for a crash. The process
        that stands for a container is never killed: it kills the container, and ends with that.
        """
        if task.boxed and number == signal.SIGKILL:
            number = signal.SIGQUIT
        for pid in self.left(task):
            process = processes.read(pid)
            if process and (number == signal.SIGKILL or task.code is not None or pid == task.pid):
                processes.send(process, number)
                processes.send(process, signal.SIGCONT)

    def finished(self) -> bool:
        return all(task.gone for task in self.tasks.values())

    def code(self) -> int:
        """The run's exit code: that of the first task that failed."""
        if self.first:
            return self.first.code or 0
        return 130 if self.bell.asked else 0
