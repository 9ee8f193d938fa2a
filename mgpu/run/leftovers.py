"""The host in, what of mgpu's own runs nobody can explain out: nameless locks, runs without a keeper, containers."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mgpu.machine import daemon, locks, notes
from mgpu.machine.checks.finding import Check, Finding, broken, ok, skipped, warning, worst
from mgpu.machine.checks.host import Host, Silent
from mgpu.machine.claims import Look
from mgpu.run import runs
from mgpu.run.runs import Run

DOCKER = daemon.PATIENCE + 2
"""Seconds: each of these may have to ask Docker."""
RECENT = 2 * 86400
"""Seconds for which a run that got lost is worth a word: a reboot loses all of them."""


def leases(host: Host) -> Finding:
    """Whether each lock that is held, and each note whose lock is not, belongs to a run."""
    place = locks.place(host.env)
    files = [f"{place}/{name}" for name in host.names(place) if name.endswith(".lock")]
    rows = [row for file in files for row in _lock(host.path(file))]
    held = sum(locks.held(host.path(file)) for file in files)
    return worst(rows, ok(f"{held} held, each by a run that is known" if held else "none is held"))


def _lock(file: str) -> Iterator[Finding]:
    what = os.path.basename(file).removesuffix(".lock").replace("-", " ", 1)
    try:
        handle = locks.opened(file, os.O_RDWR)
    except OSError as error:
        yield broken(f"{what}: its lock file may not be opened ({error.strerror})", f"sudo chmod 0666 {file}")
        return
    try:
        other = locks.blocker(handle)
        if other and notes.read(handle, other[0]) is None:
            yield warning(f"{what} is held by a run that left no name", f"sudo fuser -v {file}", "mgpu ps")
        for start, note in notes.every(handle):
            left = None if locks.locked(handle, start, 1) else Look().of(note)
            if left:
                yield warning(f"{what} is kept for {left}", "mgpu ps", f"mgpu stop {note.name}")
    finally:
        os.close(handle)


def of_user(host: Host) -> Finding:
    """Whether each of this user's runs has its keeper, or has ended."""
    every = list(runs.found())
    rows = [row for run in every for row in _run(run, host.now)]
    alive = sum(run.alive for run in every)
    return worst(rows, ok(f"{alive} running, each with its keeper" if alive else "none is running"))


def _run(run: Run, now: float) -> Iterator[Finding]:
    if run.state == "unkept":
        yield warning(f"{run.name} runs without its keeper: no restart, no end is noted", f"mgpu stop {run.name}")
    elif run.state == "stuck":
        yield broken(f"{run.name} is stuck: what it left would not end", f"mgpu stop --now {run.name}")
    elif run.state == "unreadable":
        yield warning(f"what {run.folder} says of a run cannot be read", f"look at it, then: rm -r {run.folder}")
    elif run.state == "lost" and now - float(run.data.get("created", 0)) < RECENT:
        words = f"{run.name} is lost: nothing of it lives, and nobody saw it end (a reboot, or kill -9)"
        yield warning(words, f"mgpu logs {run.id}", f"when you have seen enough: rm -r {run.folder}")


def containers(host: Host) -> Finding:
    """Whether each container of mgpu's has a run that looks after it."""
    if isinstance(host.engine, Silent) or host.engine.docker.fault:
        return skipped("no Docker answers")
    every, attended = daemon.boxes(f"{daemon.OWNER}={os.getuid()}"), runs.attended()
    alone = [box for box in every if box.labels.get(daemon.RUN) and not attended(box.labels[daemon.RUN])]
    rows = [
        warning(f"{box.name} of run {box.labels[daemon.RUN]} is {box.state}, and nobody looks after it", _end(box))
        for box in alone
    ]
    return worst(rows, ok(f"{len(every)}, each of a run that is known" if every else "none of mgpu's"))


def _end(box: daemon.Box) -> str:
    return f"mgpu stop {box.labels[daemon.RUN]}" if box.lives else f"docker rm {box.name}"


CHECKS = (
    Check("leases", "locks", leases, DOCKER),
    Check("leases", "runs", of_user, DOCKER),
    Check("leases", "containers", containers, DOCKER),
)
