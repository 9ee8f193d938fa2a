"""A note whose lock nobody holds in, what may be left of its run out: by marks in /proc, by labels of containers.

Whatever cannot be looked at counts as there: a lease refused once too often costs a wait, one too few costs a job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from functools import cached_property

from mgpu.machine import daemon, locks, processes
from mgpu.machine.notes import Holder

Beside = Callable[[str], Collection[str]]
"""Tells the ids of the runs that hold a lease on a GPU."""


def nobody(_: str) -> Collection[str]:
    """For GPUs of which nobody holds a part."""
    return ()


class Look:
    """One look at the host: each thing is asked once, when it is first needed."""

    def of(self, note: Holder) -> str | None:
        """What is left, or may be, of the run that the note tells of; None where nothing is."""
        if note.run in self._marked:
            return f"what is left of {note}"
        if note.boxed and isinstance(self._boxes, str):
            return f"what may be left of {note}: {self._boxes}"
        if any(box.lives and box.labels.get(daemon.RUN) == note.run for box in self._boxes if not isinstance(box, str)):
            return f"what is left of {note}"
        if _unseen(note):
            return f"what may be left of {note}, whose processes only {note.user} and root can see (mgpu ps tells them)"
        return None

    def claims(self, gpus: Iterable[str], holding: bool, beside: Beside = nobody) -> dict[str, str]:
        """Those of `gpus` that a run's process or container was given though it holds no lease there, and whose it is.

        `beside` tells the runs that hold a part of a GPU: it is asked after the look, so that whoever was seen and has
        a lease has it by then. `holding` as in `boxes`.
        """
        wanted, named = set(gpus), self._named
        others = {gpu: sorted(runs - set(beside(gpu))) for gpu, runs in named.items() if gpu in wanted}
        marked = {gpu: f"processes of run {runs[0]}" for gpu, runs in others.items() if runs}
        return {**marked, **self.boxes(wanted - marked.keys(), holding, beside)}

    def boxes(self, gpus: Iterable[str], holding: bool, beside: Beside = nobody) -> dict[str, str]:
        """Those of `gpus` that a container was given which runs though its run holds no lease there, and whose it is.

        `holding`: the caller has their locks, or those of a part. Then a container that was made and never started is
        removed, since its start may be under way in the engine; one that cannot be removed has started.
        """
        wanted = set(gpus)
        if not wanted or isinstance(self._boxes, str):
            return {}
        found: dict[str, str] = {}
        for box in self._boxes:
            ours = daemon.RUN in box.labels
            mine = {gpu for gpu in wanted.intersection(box.gpus) if box.labels.get(daemon.RUN) not in beside(gpu)}
            unstarted = ours and holding and box.state == "created"
            if mine and (box.lives or (unstarted and not daemon.remove(box.id))):
                whose = f" of run {box.labels[daemon.RUN]}" if ours else ""
                found |= dict.fromkeys(mine, f"the container {box.name}{whose}")
        return found

    @cached_property
    def _marked(self) -> dict[str, set[int]]:
        return processes.by_run()

    @cached_property
    def _named(self) -> dict[str, set[str]]:
        """The GPUs that live processes were started with, and the runs of each, whatever became of the lock files."""
        here, found = locks.place(), dict[str, set[str]]()
        for run, gpus, place in processes.given():
            for gpu in gpus if (place or locks.FOLDER) == here else ():
                found.setdefault(gpu, set()).add(run)
        return found

    @cached_property
    def _boxes(self) -> list[daemon.Box] | str:
        """The containers that hold GPUs; why they are not known, where the engine will not say."""
        try:
            if daemon.there():
                return daemon.boxes(daemon.GPUS)
            return [] if os.geteuid() == 0 else "there is no Docker here that this user could ask"
        except daemon.Unreachable as error:
            return str(error)


def _unseen(note: Holder) -> bool:
    """Whether the note is of another user who has processes, younger than it, whose marks this user may not read."""
    return os.geteuid() not in (0, note.uid) and processes.younger(note.uid, note.tick)
