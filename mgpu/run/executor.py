"""A checked Spec in, a running run out: observe, place, lease, hand over to the keeper. On a clash observe again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mgpu import Compiled, __version__, compile_spec
from mgpu.command.data import command_data
from mgpu.command.text import script
from mgpu.errors import HostError, NoRoom
from mgpu.machine import leases, snapshot
from mgpu.machine.dump import plain
from mgpu.plan.hopes import port_name
from mgpu.run import configs, handover, images, preflight, runs, state
from mgpu.run.hatch import Keeper, sent
from mgpu.run.line import Line

if TYPE_CHECKING:
    import subprocess

    from mgpu.values.machine import Machine
    from mgpu.values.plan import Plan
    from mgpu.values.secrets import Hidden
    from mgpu.values.spec import Spec

MIB = 2**20
PATIENCE = 3.0
"""Seconds that a clash with another mgpu, or a port just taken, is tried again without --wait."""
PAUSE = 0.2


class Terms(NamedTuple):
    """What was asked for beside the spec: GPUs that strangers use too; a start of what does not fit; a place in the
    queue; who goes first there."""

    ignore_foreign: bool = False
    force: bool = False
    wait: bool = False
    priority: int = 0


USUAL = Terms()


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
    terms: Terms = USUAL,
    waiting: Callable[[str], None] | None = None,
    fetch: Callable[[str], object] = images.pull,
) -> Started:
    """Start `spec`, whose own folder is `folder`, on this host, for `keeper` to keep; without a run it is dismissed.
    `fetch` pulls an image that is not there, before a GPU is taken; `waiting` is told why it waits, when that changes.

    On return SIGINT, SIGTERM and SIGHUP are blocked: they are the caller's to pass on, from the moment there is a run.
    Raises SpecError, NoRoom (after waiting, where the terms say so, only if it can never fit), and HostError for what
    the host lacks: a program, a script, a secret, an image, a folder that can be written.
    """
    place = Line(spec, keeper.run, terms.priority)
    tell = _teller(place, waiting)
    try:
        began = time.monotonic()
        if runs.seen(spec.name):
            runs.single(spec.name, runs.content(spec.document.data, folder))
        fetched: set[str] = set()
        while True:
            place.glance()
            machine = snapshot.read(folder, spec)
            try:
                compiled = compile_spec(spec, place.look(machine, terms.wait), None, terms.ignore_foreign)
                if not terms.force:
                    preflight.memory(compiled)
                secrets = preflight.check(compiled, os.environ)
                missing = images.missing(compiled.commands)
                if not missing:
                    return _taken(compiled, folder, secrets, keeper, place)
                _fetched(missing, fetched, fetch)
                continue
            except NoRoom as refusal:
                clash = isinstance(refusal, leases.Clash) and time.monotonic() < began + PATIENCE
                if not (terms.wait or clash) or not (refusal.ever or _later(spec, machine, terms)):
                    raise
                why = refusal.message
            if terms.wait:
                with suppress(NoRoom):
                    _rehearsed(spec, machine, terms)
                place.until_turn(tell, why)
            else:
                time.sleep(PAUSE)
    except BaseException:
        place.leave()
        keeper.dismiss()
        raise


def _teller(place: Line, waiting: Callable[[str], None] | None) -> Callable[[str], None]:
    """What says in the queue and to the caller why the run waits, whenever that is something else."""
    told: list[str] = []

    def tell(why: str) -> None:
        if told[-1:] != [why]:
            told[:] = [why]
            if place.ticket:
                place.ticket.says(" ".join(why.split()))
            if waiting:
                waiting(why)

    return tell


def _later(spec: Spec, machine: Machine, terms: Terms) -> bool:
    """Whether a spec that is said never to fit would once nobody is on the machine: what takes as many GPUs as it needs
    has been judged by those that are free."""
    from mgpu.plan.refusal import unfitting

    try:
        compiled = _rehearsed(spec, machine, terms)
    except NoRoom:
        return False
    return terms.force or unfitting(spec, compiled.plan) is None


def _rehearsed(spec: Spec, machine: Machine, terms: Terms) -> Compiled:
    """The spec compiled as if nobody were on the machine: afterwards all is at hand that its turn will need."""
    from mgpu.plan.vacant import vacant

    return compile_spec(spec, replace(vacant(machine), mask=machine.mask), None, terms.ignore_foreign)


def _fetched(missing: list[str], before: set[str], fetch: Callable[[str], object]) -> None:
    """Pull what is missing, once: what is pulled and still not there would be pulled for ever."""
    for image in missing:
        if image in before:
            raise HostError(f"{image} was pulled, and Docker does not know it by this name", "see: docker image ls")
        fetch(image)
        before.add(image)


def _taken(
    compiled: Compiled, folder: str, secrets: Mapping[str, Mapping[str, Hidden]], keeper: Keeper, place: Line
) -> Started:
    """Make the run's folder, take the leases, and hand over to the keeper; undone where one of them fails."""
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, handover.STOPPING)
    run = None
    try:
        content = runs.content(compiled.spec.document.data, folder)
        run = runs.new(compiled.spec.name, keeper.run, content)
        gpus = {gpu for command in compiled.commands for gpu in command.gpus}
        ports = {port for command in compiled.commands for port in command.ports}
        boxed = any(command.container for command in compiled.commands)
        holder = leases.Holder(run.id, run.name, runs.user(), time.time(), boxed=boxed, until=place.until)
        with leases.take(gpus, ports, holder, _shares(compiled.plan)) as lease:
            place.check({*gpus, *map(port_name, ports)})
            preflight.ports(ports)
            place.leave()
            configs.write(compiled.commands, folder)
            _write(run, compiled, content, place.record(holder.tick))
            state.note(run.folder, "kept", pid=keeper.process.pid)
            orders = {"secrets": _bare(secrets), "starts": list(lease.starts.values())}
            sent(keeper, orders, (run.lock, *lease.fds))
    except BaseException:
        if run:
            run.discard()
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        raise
    os.close(run.lock)
    keeper.end.close()
    return Started(run.id, run.folder, compiled, keeper.process)


def _bare(secrets: Mapping[str, Mapping[str, Hidden]]) -> dict[str, dict[str, str]]:
    """The secrets as their processes get them."""
    return {task: {name: value.bare() for name, value in values.items()} for task, values in secrets.items()}


def _shares(plan: Plan) -> dict[str, leases.Share]:
    """The GPUs of which the run takes a part, by id."""
    memory = {gpu.id: gpu.memory for gpu in plan.machine.gpus}
    return {gpu: leases.Share(size // MIB, memory[gpu] // MIB) for gpu, size in plan.shares}


def _base(compiled: Compiled) -> dict[str, object]:
    """Of each GPU that the run gets whole: what was free of it (bytes), and which others computed there."""
    shared = {gpu for gpu, _ in compiled.plan.shares}
    mine = {gpu for command in compiled.commands for gpu in command.gpus} - shared
    return {
        gpu.id: {"free": gpu.free, "others": [(other.pid, other.memory) for other in gpu.processes if other.pid]}
        for gpu in compiled.plan.machine.gpus
        if gpu.id in mine
    }


def _write(run: runs.New, compiled: Compiled, content: str, turn: Mapping[str, float]) -> None:
    data = {
        "format": state.FORMAT,
        "id": run.id,
        "name": run.name,
        "spec": compiled.spec.document.name,
        "content": content,
        "hash": runs.content(compiled.spec.document.data)[:16],
        "version": __version__,
        "created": time.time(),
        "turn": turn,
        "machine": compiled.plan.machine.name,
        "text": script(compiled.plan, compiled.commands),
        "base": _base(compiled),
        "indices": {gpu.id: gpu.index for gpu in compiled.plan.machine.gpus},
        "commands": [command_data(command) for command in compiled.commands],
        "asked": {"spec": compiled.spec.document.data, "machine": plain(compiled.plan.machine)},
    }
    try:
        state.write(os.path.join(run.folder, "run.json"), data)
    except OSError as error:
        raise HostError(f"the state of the run cannot be written: {error.strerror}: {run.folder}", runs.HINT) from error
