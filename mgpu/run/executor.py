"""A checked Spec in, a running run out: observe, place, lease, hand over to the keeper. On a clash observe again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mgpu import Compiled, compile_spec
from mgpu.command.data import command_data
from mgpu.command.text import script
from mgpu.errors import HostError, NoRoom
from mgpu.machine import leases, snapshot
from mgpu.machine.dump import plain
from mgpu.run import configs, handover, images, preflight, runs, state
from mgpu.run.hatch import Keeper, sent

if TYPE_CHECKING:
    import subprocess

    from mgpu.values.spec import Spec

PATIENCE = 3.0
"""Seconds that a clash with another mgpu, or a port just taken, is tried again without --wait."""
PAUSE = 0.2
LOOK = 2.0
"""Seconds after which one that waits looks at the whole machine again, though no lock has come free: a stranger may
have ended, a container that nobody keeps, a server on a port."""


class Started(NamedTuple):
    """A run that its keeper has taken over."""

    id: str
    folder: str
    compiled: Compiled
    keeper: subprocess.Popen[bytes]


def start(
    spec: Spec,
    folder: str,
    keeper: Keeper,
    ignore_foreign: bool = False,
    wait: bool = False,
    waiting: Callable[[NoRoom], None] | None = None,
    fetch: Callable[[str], object] = images.pull,
    force: bool = False,
) -> Started:
    """Start `spec`, whose own folder is `folder`, on this host, for `keeper` to keep; without a run it is dismissed.
    `fetch` pulls an image that is not there, before a GPU is taken; `force` starts what does not fit, too.

    On return SIGINT, SIGTERM and SIGHUP are blocked: they are the caller's to pass on, from the moment there is a run.
    Raises SpecError, NoRoom (after waiting, where `wait`, only if it can never fit), and HostError for what the host
    lacks: a program, a script, a secret, an image, a folder that can be written.
    """
    try:
        began = time.monotonic()
        told: str | None = None
        fetched: set[str] = set()
        while True:
            free = leases.free()
            try:
                compiled = compile_spec(spec, snapshot.read(folder, spec), None, ignore_foreign)
                if not force:
                    preflight.memory(compiled)
                secrets = preflight.check(compiled, os.environ)
                missing = images.missing(compiled.commands)
                if not missing:
                    return _taken(compiled, folder, secrets, keeper)
                _fetched(missing, fetched, fetch)
                continue
            except NoRoom as refusal:
                clash = isinstance(refusal, leases.Clash) and time.monotonic() < began + PATIENCE
                if not refusal.ever or not (wait or clash):
                    raise
                if waiting and not clash and refusal.message != told:
                    told = refusal.message
                    waiting(refusal)
            if wait:
                _until_freed(free)
            else:
                time.sleep(PAUSE)
    except BaseException:
        keeper.dismiss()
        raise


def _fetched(missing: list[str], before: set[str], fetch: Callable[[str], object]) -> None:
    """Pull what is missing, once: what is pulled and still not there would be pulled for ever."""
    for image in missing:
        if image in before:
            raise HostError(f"{image} was pulled, and Docker does not know it by this name", "see: docker image ls")
        fetch(image)
        before.add(image)


def _until_freed(known: frozenset[tuple[str, int]]) -> None:
    """Wait until more locks are free than the `known` ones, and now and then for what no lock tells.

    Looking at locks costs next to nothing, at the machine much; and not all that wait shall look at once.
    """
    from random import uniform

    deadline = time.monotonic() + LOOK * uniform(0.5, 1)
    while time.monotonic() < deadline:
        time.sleep(PAUSE * uniform(0.5, 1.5))
        if leases.free() - known:
            return


def _taken(compiled: Compiled, folder: str, secrets: Mapping[str, Mapping[str, str]], keeper: Keeper) -> Started:
    """Make the run's folder, take the leases, and hand over to the keeper; undone where one of them fails."""
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, handover.STOPPING)
    run = None
    try:
        run = runs.new(compiled.spec.name, keeper.run)
        gpus = {gpu for command in compiled.commands for gpu in command.gpus}
        ports = {port for command in compiled.commands for port in command.ports}
        boxed = any(command.container for command in compiled.commands)
        holder = leases.Holder(run.id, run.name, runs.user(), time.time(), boxed=boxed)
        with leases.take(gpus, ports, holder) as lease:
            preflight.ports(ports)
            configs.write(compiled.commands, folder)
            _write(run, compiled)
            state.note(run.folder, "kept", pid=keeper.process.pid)
            orders = {"secrets": secrets, "starts": list(lease.starts.values())}
            sent(keeper, orders, (run.lock, *lease.fds))
    except BaseException:
        if run:
            run.discard()
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        raise
    os.close(run.lock)
    keeper.end.close()
    return Started(run.id, run.folder, compiled, keeper.process)


def _write(run: runs.New, compiled: Compiled) -> None:
    data = {
        "format": state.FORMAT,
        "id": run.id,
        "name": run.name,
        "spec": compiled.spec.document.name,
        "created": time.time(),
        "machine": compiled.plan.machine.name,
        "text": script(compiled.plan, compiled.commands),
        "indices": {gpu.id: gpu.index for gpu in compiled.plan.machine.gpus},
        "commands": [command_data(command) for command in compiled.commands],
        "engines": {task.name: task.job.engine for task in compiled.plan.tasks},
        "asked": {"spec": compiled.spec.document.data, "machine": plain(compiled.plan.machine)},
    }
    try:
        state.write(os.path.join(run.folder, "run.json"), data)
    except OSError as error:
        raise HostError(f"the state of the run cannot be written: {error.strerror}: {run.folder}", runs.HINT) from error
