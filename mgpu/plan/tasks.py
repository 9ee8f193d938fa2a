"""A copy of a job and its GPUs in, the Task out: runtime, version, layout, what it needs of memory, and the reasons."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import prod
from typing import NamedTuple

from mgpu.engines import engine_named
from mgpu.plan.choose import Chosen
from mgpu.plan.copies import Copy
from mgpu.plan.layout import laid_out
from mgpu.plan.links import UNKNOWN, Links, words
from mgpu.plan.models import model_of
from mgpu.plan.sums import verdict
from mgpu.spec.versions import version_of
from mgpu.values.choice import Decision
from mgpu.values.engine import Engine
from mgpu.values.machine import Machine
from mgpu.values.memory import Estimate, Unknown
from mgpu.values.model import Model
from mgpu.values.plan import Layout, Plan, Task
from mgpu.values.spec import Job, Spec


class Site(NamedTuple):
    """What every task of a plan is made with."""

    spec: Spec
    machine: Machine
    links: Links
    copies: tuple[Copy, ...]


def tasked(site: Site, copy: Copy, gpus: Chosen) -> Task:
    """The task of `copy` on `gpus`. Raises SpecError for sizes that do not multiply to their number."""
    job, engine = copy.job, engine_named(copy.job.engine)
    layout, why = laid_out(site.spec, job, engine, len(gpus))
    runtime, because = _runtime(job, site.machine)
    found = site.machine.installed(engine.package or "", job.python) if runtime == "process" else None
    over = site.copies
    needs = {other.name: state for other in over for name, state in job.needs.items() if other.job.name == name}
    task = Task(
        copy.name,
        job,
        gpus,
        len(gpus),
        copy.port,
        layout=layout,
        runtime=runtime,
        version=found or version_of(job, engine),
        cpus=site.machine.cpus,
        needs=needs,
    )
    task, chosen = _settled(task, engine, site)
    reasons = (_because(job, gpus, site.machine, site.links), chosen or why, because)
    return replace(task, because=tuple(reason for reason in reasons if reason))


def _settled(task: Task, engine: Engine, site: Site) -> tuple[Task, str | None]:
    """The task with what it needs of memory, and where it has a choice with the best layout, and why."""
    if not task.gpus:
        return task, None
    model = model_of(task.job, site.machine)

    def laid(layout: Layout, gpus: Chosen) -> Task:
        trial = _limited(replace(task, layout=layout, gpus=gpus), engine, model)
        trial = replace(trial, split=engine.split(trial, model)) if model else trial
        return replace(trial, memory=_in_shares(trial, engine.memory(trial, model, site.machine.corrections)))

    if len(task.gpus) == 1 or not _splits(task, engine) or _said(task, engine):
        return laid(task.layout, task.gpus), None
    from mgpu.plan.decide import decide
    from mgpu.plan.reasons import named, short

    def asked(layout: Layout, gpus: Chosen) -> tuple[Estimate, ...] | Unknown:
        return laid(layout, gpus).memory or ()

    decision = decide(task.job, engine, task.gpus, site.machine.links, model, task.job.policy, asked)
    best = decision.chosen
    if best is None:
        return replace(laid(task.layout, task.gpus), decision=decision), None
    chosen = replace(laid(best.layout, best.gpus), decision=decision)
    why = None if any(task.job.parallel) or engine.degrees(task.job) else short(decision, len(task.gpus))
    used = [one for one in best.memory if one.total.expected] if isinstance(best.memory, tuple) else best.gpus
    if len(used) < len(best.gpus):
        why = f"{len(used)} of {len(best.gpus)} GPUs, where it fits whole: the others stay idle"
    if chosen.split:
        why = f"{named(best.layout)}: {' + '.join(map(str, chosen.split))} layers, which fills the fastest GPUs first"
    return chosen, f"layout: {why}" if why else None


def _limited(task: Task, engine: Engine, model: Model | None) -> Task:
    """The task, told to keep within its share of the GPUs where its engine can be; why it cannot, `objections` say."""
    if engine.limit is None or task.job.gpus.share is None:
        return task
    with suppress(ValueError):
        args = engine.limit.args(task, model)
        return replace(task, job=replace(task.job, args={**task.job.args, **args}))
    return task


def _in_shares(task: Task, memory: tuple[Estimate, ...] | Unknown) -> tuple[Estimate, ...] | Unknown:
    """What it needs against what it may have: its share, whatever else is free."""
    if task.job.gpus.share is None or isinstance(memory, Unknown):
        return memory
    rooms = {gpu.index: gpu.room for gpu in task.gpus}
    return tuple(replace(one, room=min(one.room, rooms[one.index]), shared=True) for one in memory)


def _splits(task: Task, engine: Engine) -> bool:
    """Whether it is a server whose engine can split a model."""
    return task.job.serves and bool({"tensor", "pipeline"} & set(engine.dimensions))


def _said(task: Task, engine: Engine) -> bool:
    """Whether the spec itself says how all of the GPUs are used."""
    sizes = [size for name, size in task.job.parallel._asdict().items() if size and name != "expert"]
    return bool(sizes) and prod(sizes) * prod(engine.degrees(task.job).values()) == len(task.gpus)


def timed(plan: Plan) -> Plan:
    """The plan with the speed of every task that has one, of those on a single GPU too."""
    return replace(plan, tasks=tuple(replace(task, decision=decided(task, plan.machine)) for task in plan.tasks))


def decided(task: Task, machine: Machine) -> Decision | None:
    """How the layout of a planned task was chosen, and how fast it is: on one GPU, where there was nothing to choose,
    it is asked only now. None for what is no server, and without GPUs."""
    engine = engine_named(task.job.engine)
    if task.decision or not task.gpus or not _splits(task, engine) or verdict(task) == "does not fit":
        return task.decision
    from mgpu.plan.decide import decide

    memory = task.memory or Unknown("it has not been asked")
    model = model_of(task.job, machine)
    return decide(task.job, engine, task.gpus, machine.links, model, task.job.policy, lambda *_: memory)


def _runtime(job: Job, machine: Machine) -> tuple[str, str | None]:
    """Docker or process, and why where the spec does not say."""
    if job.runtime:
        return job.runtime, None
    if job.container:
        return "docker", "runtime: docker, since container is given"
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
    if job.gpus.fewest and len(gpus) < len(machine.gpus):
        return f"GPU{'s' * (len(gpus) > 1)}: {len(gpus)}, the fewest that hold it"
    if len(gpus) == len(machine.gpus):
        return "GPUs: all there are" if len(gpus) > 1 else "GPU: the only one"
    if len(gpus) == 1:
        alone = not links.lanes.get(gpus[0].index)
        if job.gpus.share is not None:
            return "GPU: the fullest that has its share left, so that others stay whole"
        return f"GPU: {'the first that is free' if alone else 'free, and it leaves the most NVLink together'}"
    worst = links.worst(gpus)
    return f"GPUs: joined by {words(worst)}" + (", the best there is free" if worst < UNKNOWN else "")
