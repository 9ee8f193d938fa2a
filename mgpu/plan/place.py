"""Spec and Machine in, Plan out. Every task gets its GPUs, port, layout and runtime; or NoRoom says what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from mgpu.errors import NoRoom
from mgpu.plan.addresses import addressed
from mgpu.plan.choose import Chosen, choose
from mgpu.plan.copies import Copy, copies_of, started
from mgpu.plan.fitness import permanent, unfit, unusable
from mgpu.plan.links import Links
from mgpu.plan.meeting import meeting
from mgpu.plan.objections import objections
from mgpu.plan.seats import Allowed, seated, wishes
from mgpu.plan.shares import leased
from mgpu.plan.tasks import Site
from mgpu.values.machine import Gpu, Machine
from mgpu.values.plan import Plan
from mgpu.values.spec import Spec


def place(spec: Spec, machine: Machine, ignore_foreign: bool = False) -> Plan:
    """The Plan of `spec` on `machine`. Raises NoRoom where a task has no place, SpecError for a wrong layout."""
    copies = tuple(copy for job in spec.jobs for copy in copies_of(job))
    site = Site(spec, machine, Links(machine), copies)
    allowed = _allowed(copies, machine, ignore_foreign)
    counts = _counts(site, allowed)
    placed = seated(site, copies, allowed, counts)
    if placed is None:
        from mgpu.plan.refusal import refusal

        ever = _ever(copies, machine, site.links)
        raise refusal(wishes(copies, allowed, counts), copies, machine, ignore_foreign, ever)
    free_ports(copies, machine)
    tasks = addressed(spec, meeting(spec.name, placed, machine))
    sharing = {wish.task: wish.sharing for wish in wishes(copies, allowed, counts) if wish.share}
    shares = leased({name: task.gpus for name, task in tasks.items()}, sharing)
    ordered = tuple(tasks[name] for name in started(copies))
    return Plan(spec.name, machine, ordered, shares, objections(spec, tasks, machine))


def _allowed(copies: Sequence[Copy], machine: Machine, ignore_foreign: bool) -> Allowed:
    """The GPUs that each copy may have, were it alone."""
    gpus, usable = _by_bus(machine), dict[int | None, Chosen]()
    for share in {copy.job.gpus.share for copy in copies}:
        usable[share] = tuple(gpu for gpu in gpus if not unusable(gpu, machine, ignore_foreign, share))
    return {
        copy.name: tuple(gpu for gpu in usable[copy.job.gpus.share] if not unfit(gpu, copy.job.gpus)) for copy in copies
    }


def _counts(site: Site, allowed: Allowed) -> dict[str, int]:
    """How many GPUs the copies get that take the fewest they fit on."""
    asking = [copy for copy in site.copies if copy.job.gpus.fewest]
    if not asking:
        return {}
    from mgpu.plan.fewest import fewest

    return {copy.name: fewest(site, copy, allowed[copy.name]) for copy in asking}


def _by_bus(machine: Machine) -> list[Gpu]:
    return sorted(machine.gpus, key=lambda gpu: (gpu.bus_id or "", gpu.index))


def _ever(copies: Sequence[Copy], machine: Machine, links: Links) -> bool:
    """Whether the tasks could be placed once everything on the machine that can become free is free."""
    gpus = _by_bus(machine)
    hopes = {copy.name: tuple(g for g in gpus if not permanent(g, machine, copy.job.gpus)) for copy in copies}
    return choose(wishes(copies, hopes, {}), links, {gpu.index: gpu.memory for gpu in gpus}) is not None


def free_ports(copies: Sequence[Copy], machine: Machine) -> None:
    """Raise NoRoom for the first port that something else listens on."""
    for copy in copies:
        if copy.port and copy.port in machine.ports:
            hint = f"port: {_next(copy.port, machine)}"
            raise NoRoom(f"port {copy.port} of {copy.name} is in use on this machine", hint)


def _next(port: int, machine: Machine) -> int:
    """The next port that is free; `port` itself where every one is taken."""
    return next((other for other in (*range(port + 1, 65536), *range(1024, port)) if other not in machine.ports), port)
