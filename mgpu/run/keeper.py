"""The keeper of one run: starts its tasks in order, watches them, stops them, and holds the leases until all are gone.

A program of its own, standard library only: ``python -I -S keeper.py FOLDER``, with a socket as standard input. First
comes the caller's environment, then, once there is a run, the values of secrets and the leases themselves; where the
other end is closed before, there is none to keep. It is the subreaper of everything the run starts, so nothing of the
run outlives its notice; when it exits, the kernel frees the leases.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from mgpu.machine import notes, processes
from mgpu.run import handover, kin, state
from mgpu.run.probes import Watch
from mgpu.run.starting import Starter
from mgpu.run.task import FAILED, STOPPED, TIMED_OUT, Task
from mgpu.run.witness import Witness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TICK = 0.25
"""Seconds between looks at clocks when nothing else happens."""


class Keeper:
    """The run's state and the one loop that changes it."""

    def __init__(self, folder: str, hello: dict[str, Any]) -> None:
        self.folder = folder
        self.starter = Starter(folder, hello)
        self.tasks: dict[str, Task] = {}
        self.asked = 0
        self.ending = False
        self.first: Task | None = None
        self.wake, self.bell = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.bell, False)

    def take_over(self, run: dict[str, Any], secrets: dict[str, dict[str, str]], leases: list[int]) -> None:
        """There is a run: `leases` are the descriptors that hold its GPUs and ports."""
        self.tasks = {command["task"]: Task(command) for command in run["commands"]}
        self.starter.take_over(secrets, leases)
        self.witness = Witness(self.folder, run, self.starter.caller)

    def keep(self) -> int:
        """Carry the run through; returns its exit code."""
        self.listen()
        while not self.finished():
            self.reap()
            self.watch_clocks()
            self.start_what_can()
            self.end_what_must()
            self.witness.look(self.tasks.values())
            if not self.finished():
                self.wait()
        return self.code()

    def listen(self) -> None:
        for number in handover.STOPPING:
            signal.signal(number, self.ask)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.bell, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def ask(self, number: int, _: object) -> None:
        """Someone asks the run to stop: with grace, and the second time or by SIGQUIT at once."""
        self.asked = 2 if number == signal.SIGQUIT else self.asked + 1

    def wait(self) -> None:
        select.select([self.wake], [], [], TICK)
        try:
            while os.read(self.wake, 512):
                pass
        except BlockingIOError:
            return

    def note(self, what: str, task: Task | None = None, **more: Any) -> None:
        state.note(self.folder, what, task.name if task else None, **more)

    def start_what_can(self) -> None:
        if self.ending or self.asked:
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
            task.watch = Watch({**probe, "token": token}, state.log(self.folder, task.name), self.bell)
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
            if self.asked > 1:
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
        if self.asked and not self.ending:
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
        return 130 if self.asked else 0


def main(folder: str) -> int:
    """Wait for the run in `folder`, and keep it until nothing of it lives; its exit code."""
    end = socket.socket(fileno=os.dup(0))
    hello = handover.receive(end)
    if hello is None:
        return FAILED
    kin.adopt()
    keeper = Keeper(folder, hello[0])
    orders = handover.receive(end)
    run = state.read(os.path.join(folder, "run.json")) if orders else None
    if orders is None or run is None:
        return FAILED
    end.close()
    state.settle_in(folder)
    given, (lock, *leases) = orders
    keeper.take_over(run, given["secrets"], leases)
    try:
        code = keeper.keep()
        by = keeper.first.name if keeper.first else None
        keeper.witness.prove(code, by)
    except BaseException as error:
        state.note(folder, "broken", why=f"{type(error).__name__}: {error}")
        raise
    for lease, start in zip(leases, given["starts"], strict=True):
        notes.wipe(lease, start)
    state.note(folder, "over", code=code, by=by)
    os.close(lock)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
