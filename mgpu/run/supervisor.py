"""The tasks of a run in, each started in its order, watched, and stopped, until nothing of them is left; the code out.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from mgpu.run import kin, signals, state
from mgpu.run.bell import Bell
from mgpu.run.commanded import Commanded, Told
from mgpu.run.ends import ended, policy_of
from mgpu.run.gates import Gates, crowded
from mgpu.run.idle import Networks, Usage
from mgpu.run.probes import Watch
from mgpu.run.restarts import Again, Over, judged
from mgpu.run.task import FAILED, IDLE, STOPPED, TIMED_OUT, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mgpu.run.starting import Starter
    from mgpu.run.witness import Witness

TICK, CALM = 0.25, 1.0
"""Seconds between looks at clocks while a task is on its way, and while all are as they shall be."""


class Supervisor:
    """The run's state and the one loop that changes it."""

    def __init__(self, folder: str, starter: Starter, commands: Iterable[dict[str, Any]], witness: Witness) -> None:
        self.folder = folder
        self.starter = starter
        self.witness = witness
        self.tasks = {command["task"]: Task(command) for command in commands}
        self.ending = False
        self.first: Task | None = None
        self.bell = Bell()
        self.gates = Gates(starter.caller)
        self.networks = Networks()

    def keep(self) -> int:
        """Carry the run through; returns its exit code."""
        self.bell.listen()
        while not self.finished():
            self.reap()
            self.watch_clocks()
            self.start_what_can()
            self.end_what_must()
            self.witness.look(self.tasks.values())
            if not self.finished():
                self.bell.wait(min(self.pause(time.monotonic()), self.witness.pace))
        return self.code()

    def pause(self, now: float) -> float:
        """Seconds until a clock matters, at most."""
        if any(task.restless for task in self.tasks.values()):
            return TICK
        dues = [due - now for task in self.tasks.values() if not task.gone for due in task.dues()]
        return max(0.0, min([CALM, *dues]))

    def note(self, what: str, task: Task | None = None, **more: Any) -> None:
        state.note(self.folder, what, task.name if task else None, **more)

    def start_what_can(self) -> None:
        if self.ending or self.bell.asked:
            return
        now = time.monotonic()
        for task in self.tasks.values():
            if task.waiting and now >= task.due and self.may_start(task):
                self.start(task)

    def may_start(self, task: Task) -> bool:
        """Whether what it needs is there, and nobody else is on his way to be ready on its GPUs."""
        there = all(self.tasks[name].is_so(wanted) for name, wanted in task.command["needs"].items())
        return there and not crowded(task, self.tasks.values()) and self.gates.open(task)

    def start(self, task: Task) -> None:
        log = state.log(self.folder, task.name)
        task.log = state.size(log)
        try:
            self.starter.start(task)
        except (OSError, ValueError) as error:
            task.gone = True
            self.settle(task, 127 if isinstance(error, FileNotFoundError) else 126, why=str(error))
            return
        task.begun()
        self.note("started", task, pid=task.pid)
        if task.command["probe"]:
            task.watch = self.watch(task, task.command["probe"], log)
        else:
            self.become_ready(task)

    def watch(self, task: Task, probe: dict[str, Any], log: str) -> Watch | Commanded | Told:
        """Who asks whether the task is ready."""
        if probe["kind"] != "command":
            token = self.starter.secrets.get(task.name, {}).get(probe["bearer"] or "")
            return Watch({**probe, "token": token}, log, self.bell.rope, task.log)
        if task.voice:
            return Told(task.voice, log, task.log)
        return Commanded(probe["target"], partial(self.starter.ask, task, probe["argv"]), log, task.log)

    def start_anew(self, task: Task) -> None:
        """Start what stands for a container once more; what the task was asked meanwhile it is asked now."""
        try:
            self.starter.start(task)
        except OSError:
            task.again = time.monotonic() + 1.0
            return
        task.begun()
        if isinstance(task.watch, Told) and task.voice:
            task.watch.heed(task.voice)
        self.note("resumed", task, pid=task.pid)
        if task.killed:
            self.send(task, signal.SIGKILL)
        elif task.stopping is not None:
            self.send(task, signal.SIGTERM)

    def become_ready(self, task: Task) -> None:
        task.ready = True
        task.since = time.monotonic()
        if task.watch:
            task.watch.close()
        self.gates.leave(task)
        most = task.command.get("max_idle")
        if most:
            task.usage = Usage(most, task.command["port"], state.log(self.folder, task.name), task.since)
        self.note("ready", task, after=round(task.since - task.started, 3))

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
            for task in self.tasks.values():
                if isinstance(task.watch, Commanded):
                    task.watch.reaped(pid, status)
            its = next((task for task in self.tasks.values() if task.pid == pid), None)
            if its:
                its.code = os.waitstatus_to_exitcode(status)
        for task in self.tasks.values():
            if task.code is not None and not task.gone and not task.died():
                self.clear(task)

    def clear(self, task: Task) -> None:
        """The task's own process has ended: end what it left behind, and settle it once nothing is left."""
        if task.watch:
            task.watch.close()
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
        return kin.of(task, self.tasks, {warm.pid if warm else None, self.witness.meter.pid})

    def settle(self, task: Task, code: int, **more: Any) -> None:
        """Record how the task ended, and whether it is started anew, or that ends the run."""
        more = task.settled(code) | more
        self.gates.leave(task)
        policy = None if self.ending or self.bell.asked else policy_of(task)
        end = ended(task, state.log(self.folder, task.name)) if policy else None
        verdict = judged(policy, task.ends, end) if policy and end else None
        if isinstance(verdict, Again) and end:
            more |= {"cause": end.words} if end.words else {}
            self.note("restarting", task, code=task.code, **{**verdict._asdict(), **more})
            task.rest(end, verdict)
            return
        if isinstance(verdict, Over):
            self.note("gave-up", task, why=verdict.why)
        self.note("failed" if task.failed else "ended", task, code=task.code, **more)
        if task.failed:
            self.first = self.first or task
            self.ending = True

    def watch_clocks(self) -> None:
        now = time.monotonic()
        for task in self.tasks.values():
            limit = task.command["timeout"]
            if task.waiting and task.born and limit and now > task.born + limit:
                self.expired(task, limit)
            if not task.running:
                continue
            probe = task.command["probe"]
            if task.again is not None and now > task.again:
                self.start_anew(task)
            if task.watch and not task.ready:
                self.look(task, task.watch)
            if self.bell.asked > 1:
                self.kill(task)
            elif task.stopping is not None:
                if now > task.stopping + task.command["stop"]["grace"]:
                    self.kill(task)
            elif limit and now > task.born + limit:
                self.expired(task, limit)
            elif probe and not task.ready and task.code is None and now > task.moved() + probe["within"]:
                self.note("late", task, after=probe["within"], why=task.watch.refusal if task.watch else None)
                task.why = FAILED
                self.stop(task)
            elif task.usage and task.usage.over(None if self.wanted(task) else task.inside, now, self.networks):
                self.note("idle", task, after=task.usage.most)
                task.why = IDLE
                self.stop(task)

    def look(self, task: Task, watch: Watch | Commanded | Told) -> None:
        """Whether it has become ready."""
        if isinstance(watch, Commanded):
            watch.look()
        if watch.ready:
            self.become_ready(task)

    def expired(self, task: Task, limit: float) -> None:
        """It has had all its time, of which restarts and the waits before them are a part."""
        self.note("timeout", task, after=limit)
        task.why = TIMED_OUT
        if task.running:
            self.stop(task)
        else:
            task.gone = True
            self.settle(task, TIMED_OUT)

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
            if task.waiting:
                task.gone = True
                if task.ends:
                    self.note("ended", task, code=STOPPED)
            elif task.running and task.stopping is None and not self.needed(task):
                task.why = STOPPED
                self.stop(task)

    def needed(self, task: Task) -> bool:
        """Whether a live task needs this one, so that it is stopped later."""
        return any(other.running and task.name in other.command["needs"] for other in self.tasks.values())

    def wanted(self, task: Task) -> bool:
        """Whether another task needs this one, or will once it is started."""
        return any(not other.gone and task.name in other.command["needs"] for other in self.tasks.values())

    def stop(self, task: Task) -> None:
        task.stopping = time.monotonic()
        self.send(task, signals.stop(task))

    def kill(self, task: Task) -> None:
        if not task.killed:
            self.note("killed", task)
        task.killed = True
        task.stopping = task.stopping or time.monotonic()
        if task.code is None:
            task.why = task.why or STOPPED
        self.send(task, signal.SIGKILL)

    def send(self, task: Task, number: int) -> None:
        signals.send(task, self.left(task), number)

    def finished(self) -> bool:
        return all(task.gone for task in self.tasks.values())

    def code(self) -> int:
        """The run's exit code: that of the first task that failed."""
        if self.first:
            return self.first.code or 0
        return 130 if self.bell.asked else 0
