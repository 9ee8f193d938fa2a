"""A Spec and the Machine that it would run on in, what it will want of that while it waits, and for how long, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mgpu.engines import engine_named
from mgpu.plan.copies import copies_of
from mgpu.plan.fitness import permanent, unusable
from mgpu.values.machine import Machine
from mgpu.values.queue import Waiter, Want
from mgpu.values.spec import Job, Spec

AROUND = 5.0
"""Seconds of a hold before the job's own time begins and after it has been killed."""


def wants_of(spec: Spec, machine: Machine) -> tuple[Want, ...]:
    """What the spec could ever have here: for each task the GPUs, once they are free, and its port. Of `gpus: auto`
    and `all` it is known only that they take one."""
    gpus, ports = [], set()
    for copy in (copy for job in spec.jobs for copy in copies_of(job)):
        asked = copy.job.gpus
        count = 1 if asked.count is None else asked.count
        hopes = frozenset(gpu.id for gpu in machine.gpus if not permanent(gpu, machine, asked))
        gpus += [Want(count, hopes)] if count else []
        ports |= {port_name(copy.port)} if copy.port else set()
    return (*gpus, *(Want(1, frozenset({port})) for port in sorted(ports)))


def port_name(port: int) -> str:
    """A port among resources."""
    return f"port-{port}"


def holds(spec: Spec) -> float | None:
    """The most seconds for which a run of the spec holds what it gets: every job's timeout and grace, as if one came
    after the other. None where a job has no timeout, or serves."""
    times = [_holds(job) for job in spec.jobs]
    known = [time for time in times if time is not None]
    return AROUND + sum(known) if known and len(known) == len(times) else None


def _holds(job: Job) -> float | None:
    if job.serves or job.timeout is None:
        return None
    grace = engine_named(job.engine).stop_grace if job.stop_grace is None else job.stop_grace
    return job.replicas * (job.timeout + grace)


def plain(spec: Spec) -> bool:
    """Whether what a spec wants is just so many whole GPUs out of some, and all of it at once: then it is known
    beforehand on which it could start."""
    return all(
        job.gpus.count is not None
        and not (job.gpus.link or job.gpus.memory or job.gpus.share)
        and "done" not in job.needs.values()
        for job in spec.jobs
    )


def least_share(spec: Spec) -> int | None:
    """The smallest share of a GPU that a job of the spec wants, in bytes; None where none wants one."""
    return min((job.gpus.share for job in spec.jobs if job.gpus.share), default=None)


def busy(machine: Machine) -> frozenset[str]:
    """The ids of the GPUs that nobody could be given now, whoever asks."""
    everyone = replace(machine, mask=None)
    return frozenset(gpu.id for gpu in machine.gpus if unusable(gpu, everyone))


def left_by(machine: Machine, spoken: Mapping[str, Waiter]) -> Machine:
    """The machine as it is for somebody who leaves what is spoken for alone."""
    ports = [int(name.removeprefix("port-")) for name in spoken if name.startswith("port-")]
    gpus = (replace(gpu, awaited=spoken[gpu.id].awaits) if gpu.id in spoken else gpu for gpu in machine.gpus)
    return replace(machine, gpus=tuple(gpus), leased=(*machine.leased, *ports)) if spoken else machine
