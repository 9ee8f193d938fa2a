"""A run that is kept in; samples of its GPUs, logs within their bounds, and the proof that its GPUs are free out.

The keeper calls `look` in its loop and `prove` at its end. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import time

from mgpu.machine.meter import Meter
from mgpu.run import logcut, samples, state
from mgpu.run.proof import Proof
from mgpu.run.starting import without_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from mgpu.run.task import Task

OFTEN, SELDOM = 0.02, 0.5
"""Seconds from one look at the logs to the next: while one grows fast, and else."""
LOOK = 1.0
"""Seconds between two looks at GPUs that somebody holds though the run has ended."""


class Witness:
    """What the keeper sees of a run besides its processes. `env` is the environment of the run's caller."""

    def __init__(self, folder: str, run: dict[str, Any], env: Mapping[str, str], leases: Iterable[int]) -> None:
        gpus = {gpu for command in run["commands"] for gpu in command["gpus"]}
        keep = logcut.kept(env)
        self.folder = folder
        self.meter = Meter(gpus, without_secrets(env), leases)
        self.proof = Proof(run, self.meter)
        self.logs = {c["task"]: logcut.Log(state.log(folder, c["task"]), keep) for c in run["commands"]}
        self.asked = 0.0

    def look(self, tasks: Iterable[Task]) -> None:
        """Keep the logs short, and now and then take a sample; the first once a task is ready."""
        ready = False
        for task in tasks:
            ready = ready or task.ready
            refusal = self.logs[task.name].look() if task.pid is not None else None
            if refusal:
                state.note(self.folder, "uncut", task.name, why=refusal)
        if ready and not self.meter.absent:
            self.sample(time.monotonic())

    def sample(self, now: float) -> None:
        """Ask where it is time to, and write down what was answered."""
        if self.meter.pid is None and (not self.asked or now > self.asked + samples.EVERY):
            self.meter.ask()
            self.asked = now
        self.meter.look()
        if self.meter.pid is not None and (self.meter.absent or self.meter.at >= self.asked):
            self.meter.close()
            samples.append(self.folder, self.meter.latest)
            self.proof.look()

    @property
    def pace(self) -> float:
        """Seconds after which to look again."""
        return OFTEN if any(log.grown > log.keep // 8 for log in self.logs.values()) else SELDOM

    def prove(self, code: int, by: str | None) -> None:
        """Return once the GPUs are free, however long that takes; after 30 s it is told what holds them.

        `code` and `by` are how the run has ended, for who waits for no more than that.
        """
        held, told = self.proof.settled(), None
        while held:
            if _holders(held) != told:
                told = _holders(held)
                state.note(self.folder, "stuck", code=code, by=by, held=held)
            time.sleep(LOOK)
            now = self.proof.held()
            held = [] if self.meter.absent else held if now is None else now
        self.meter.close()
        if told:
            state.note(self.folder, "freed")


def _holders(held: list[dict[str, Any]]) -> set[tuple[str, int | None]]:
    """Who holds what: each GPU that is held, and the pids there."""
    pids = {(each["gpu"], process["pid"]) for each in held for process in each["processes"]}
    return pids | {(each["gpu"], None) for each in held}
