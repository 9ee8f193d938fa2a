"""A checked Spec in, a running run out: observe, place, lease, hand over to the keeper. On a clash observe again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mgpu import Compiled, compile_spec
from mgpu.command.data import command_data
from mgpu.command.text import script
from mgpu.errors import HostError, NoRoom
from mgpu.machine import leases, snapshot
from mgpu.run import preflight, runs, state

if TYPE_CHECKING:
    from mgpu.values.spec import Spec

PATIENCE = 3.0
"""Seconds that a clash with another mgpu, or a port just taken, is tried again without --wait."""
PAUSE = 0.2
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Started(NamedTuple):
    """A run that its keeper has taken over."""

    id: str
    folder: str
    compiled: Compiled
    keeper: subprocess.Popen[bytes]


def start(
    spec: Spec,
    folder: str,
    ignore_foreign: bool = False,
    wait: bool = False,
    waiting: Callable[[NoRoom], None] | None = None,
) -> Started:
    """Start `spec`, whose own folder is `folder`, on this host.

    On return SIGINT, SIGTERM and SIGHUP are blocked: they are the caller's to pass on, from the moment there is a run.
    Raises SpecError, NoRoom (after waiting, where `wait`, only if it can never fit), and HostError for what the host
    lacks: a program, a script, a secret, a folder that can be written.
    """
    began = time.monotonic()
    told: str | None = None
    while True:
        try:
            compiled = compile_spec(spec, snapshot.read(folder), None, ignore_foreign)
            secrets = preflight.check(compiled, os.environ)
            return _taken(compiled, secrets)
        except NoRoom as refusal:
            clash = isinstance(refusal, leases.Clash) and time.monotonic() < began + PATIENCE
            if not refusal.ever or not (wait or clash):
                raise
            if waiting and not clash and refusal.message != told:
                told = refusal.message
                waiting(refusal)
        time.sleep(PAUSE)


def _taken(compiled: Compiled, secrets: Mapping[str, Mapping[str, str]]) -> Started:
    """Make the run's folder, take the leases, and start the keeper; undone where one of them fails."""
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    run = None
    try:
        run = runs.new(compiled.spec.name)
        gpus = {gpu for command in compiled.commands for gpu in command.gpus}
        ports = {command.port for command in compiled.commands if command.port}
        holder = leases.Holder(run.id, run.name, runs.user(), time.time())
        with leases.take(gpus, ports, holder) as lease:
            preflight.ports(ports)
            _write(run, compiled)
            keeper = _keep(run, lease.fds, secrets)
    except BaseException:
        if run:
            run.discard()
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        raise
    os.close(run.lock)
    return Started(run.id, run.folder, compiled, keeper)


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
    }
    try:
        state.write(os.path.join(run.folder, "run.json"), data)
    except OSError as error:
        raise HostError(f"the state of the run cannot be written: {error.strerror}: {run.folder}", runs.HINT) from error


def _keep(run: runs.New, fds: tuple[int, ...], secrets: Mapping[str, Mapping[str, str]]) -> subprocess.Popen[bytes]:
    """Start the keeper; from here on it holds the leases and the run's lock."""
    keeper = os.path.join(os.path.dirname(__file__), "keeper.py")
    with open(os.path.join(run.folder, "keeper.log"), "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper, run.folder],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(*fds, run.lock),
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        )
    state.note(run.folder, "kept", pid=process.pid)
    message = {"env": dict(os.environ), "secrets": secrets, "fds": fds, "lock": run.lock}
    assert process.stdin
    try:
        process.stdin.write(json.dumps(message).encode())
        process.stdin.close()
    except BrokenPipeError:
        raise HostError(f"the keeper did not start: see {run.folder}/keeper.log") from None
    return process
