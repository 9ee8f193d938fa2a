"""Spec and Machine in, Plan out. Every task gets its GPUs, port, layout and runtime; or NoRoom says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mgpu.engines import engine_named
from mgpu.errors import NoRoom
from mgpu.plan.addresses import addressed
from mgpu.plan.choose import Chosen, Wish, choose
from mgpu.plan.fitness import permanent, unfit, unusable
from mgpu.plan.layout import laid_out
from mgpu.plan.links import UNKNOWN, Links, words
from mgpu.plan.meeting import meeting
from mgpu.plan.objections import objections
from mgpu.spec.between import before, port_of
from mgpu.spec.versions import version_of
from mgpu.values.machine import LINK_KINDS, Gpu, Machine
from mgpu.values.plan import Plan, Task
from mgpu.values.spec import Gpus, Job, Spec


class Copy(NamedTuple):
    """One replica of a job, before it is placed."""

    name: str
    job: Job
    number: int


def place(spec: Spec, machine: Machine, ignore_foreign: bool = False) -> Plan:
    """The Plan of `spec` on `machine`. Raises NoRoom where a task has no place, SpecError for a wrong layout."""
    copies = [copy for job in spec.jobs for copy in _copies(job)]
    links = Links(machine)
    usable = tuple(gpu for gpu in _by_bus(machine) if not unusable(gpu, machine, ignore_foreign))
    wishes = _wishes(copies, lambda wanted: tuple(gpu for gpu in usable if not unfit(gpu, wanted)))
    chosen = choose(wishes, links)
    if chosen is None:
        from mgpu.plan.refusal import refusal

        raise refusal(wishes, machine, ignore_foreign, _ever(copies, machine, links))
    free_ports(copies, machine)
    placed = {copy.name: _task(spec, copy, copies, chosen[copy.name], machine, links) for copy in copies}
    tasks = addressed(spec, meeting(spec.name, placed, machine))
    return Plan(spec.name, machine, tuple(tasks[name] for name in _order(tasks)), objections(spec, tasks))


def _copies(job: Job) -> Iterator[Copy]:
    for number in range(job.replicas):
        yield Copy(job.name if job.replicas == 1 else f"{job.name}.{number}", job, number)


def _wishes(copies: list[Copy], fitting: Callable[[Gpus], Chosen]) -> list[Wish]:
    """What every copy wants of the GPUs that are `fitting` for its job."""
    over = before({copy.job.name: copy.job for copy in copies}.values())
    allowed = {copy.job.name: fitting(copy.job.gpus) for copy in copies}
    return [_wish(copy, allowed[copy.job.name], _apart(copy, copies, over)) for copy in copies]


def _wish(copy: Copy, allowed: Chosen, apart: frozenset[str]) -> Wish:
    wanted = copy.job.gpus
    count = max(1, len(allowed)) if wanted.count is None else wanted.count
    rank = LINK_KINDS.index(wanted.link) if wanted.link else UNKNOWN
    return Wish(copy.name, count, allowed, rank, apart)


def _apart(copy: Copy, copies: list[Copy], over: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The other copies that run at the same time: `over` holds for every job those that are over before it starts."""
    mine = copy.job.name
    return frozenset(
        other.name
        for other in copies
        if other.name != copy.name and other.job.name not in over[mine] and mine not in over[other.job.name]
    )


def _by_bus(machine: Machine) -> list[Gpu]:
    return sorted(machine.gpus, key=lambda gpu: (gpu.bus_id or "", gpu.index))


def _ever(copies: list[Copy], machine: Machine, links: Links) -> bool:
    """Whether the tasks could be placed once everything on the machine that can become free is free."""
    gpus = _by_bus(machine)
    hopes = _wishes(copies, lambda wanted: tuple(gpu for gpu in gpus if not permanent(gpu, machine, wanted)))
    return choose(hopes, links) is not None


def free_ports(copies: list[Copy], machine: Machine) -> None:
    """Raise NoRoom for the first port that something else listens on."""
    for copy in copies:
        port = _port(copy)
        if port and port in machine.ports:
            raise NoRoom(f"port {port} of {copy.name} is in use on this machine", f"port: {_next(port, machine)}")


def _next(port: int, machine: Machine) -> int:
    """The next port that is free; `port` itself where every one is taken."""
    return next((other for other in (*range(port + 1, 65536), *range(1024, port)) if other not in machine.ports), port)


def _port(copy: Copy) -> int | None:
    first = port_of(copy.job)
    return first + copy.number if first else None


def _task(spec: Spec, copy: Copy, copies: list[Copy], gpus: Chosen, machine: Machine, links: Links) -> Task:
    job, engine = copy.job, engine_named(copy.job.engine)
    layout, why = laid_out(spec, job, engine, len(gpus))
    runtime, because = _runtime(job, machine)
    found = machine.installed(engine.package or "", job.python) if runtime == "process" else None
    version = found or version_of(job, engine)
    needs = {other.name: state for other in copies for name, state in job.needs.items() if other.job.name == name}
    reasons = (_because(job, gpus, machine, links), why, because)
    return Task(
        copy.name,
        job,
        gpus,
        len(gpus),
        _port(copy),
        layout=layout,
        runtime=runtime,
        version=version,
        cpus=machine.cpus,
        needs=needs,
        because=tuple(reason for reason in reasons if reason),
    )


def _runtime(job: Job, machine: Machine) -> tuple[str, str | None]:
    """Docker or process, and why where the spec does not say."""
    if job.runtime:
        return job.runtime, None
    if job.python:
        return "process", "runtime: process, since python is given"
    if job.image:
        return "docker", "runtime: docker, since image is given"
    if job.kind != "inference" or not engine_named(job.engine).image:
        return "process", None
    if machine.docker and machine.docker.gpus:
        return "docker", "runtime: docker, which can give containers GPUs here"
    return "process", "runtime: process, since no Docker that gives containers GPUs is known here"


def _because(job: Job, gpus: Chosen, machine: Machine, links: Links) -> str | None:
    if not gpus:
        return None
    if job.gpus.ids:
        return "GPUs: as the spec says"
    if len(gpus) == len(machine.gpus):
        return "GPUs: all there are" if len(gpus) > 1 else "GPU: the only one"
    if len(gpus) == 1:
        alone = not links.lanes.get(gpus[0].index)
        return f"GPU: {'the first that is free' if alone else 'free, and it leaves the most NVLink together'}"
    worst = links.worst(gpus)
    return f"GPUs: joined by {words(worst)}" + (", the best there is free" if worst < UNKNOWN else "")


def _order(tasks: dict[str, Task]) -> list[str]:
    """The order of starting: every task after those it needs, else as written."""
    ordered: dict[str, None] = {}
    while len(ordered) < len(tasks):
        ordered[next(n for n in tasks if n not in ordered and tasks[n].needs.keys() <= ordered.keys())] = None
    return list(ordered)
