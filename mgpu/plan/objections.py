"""Placed tasks in, what speaks against them on this machine out: what the spec alone could not tell."""

from __future__ import annotations

from collections.abc import Iterator

from mgpu.engines import engine_named
from mgpu.errors import Problem
from mgpu.plan import sums
from mgpu.plan.models import model_of
from mgpu.spec.flags import flag_complaints
from mgpu.spec.versions import version_of
from mgpu.values.engine import Complaint, Engine
from mgpu.values.machine import Machine
from mgpu.values.plan import Task
from mgpu.values.spec import Spec


def objections(spec: Spec, tasks: dict[str, Task], machine: Machine) -> tuple[Problem, ...]:
    """The warnings about the tasks, each once for a job. Raises SpecError where they cannot run like this."""
    wrong: dict[Problem, None] = {}
    warnings: dict[Problem, None] = {}
    for task in tasks.values():
        for complaint in _objections(task, engine_named(task.job.engine), machine):
            path = (*task.job.path, *complaint.path)
            problem = spec.document.problem(complaint.message, path, complaint.hint, key=complaint.key)
            (warnings if complaint.warning else wrong)[problem] = None
    if wrong:
        raise spec.document.error(*wrong)
    return tuple(warnings)


def _objections(task: Task, engine: Engine, machine: Machine) -> Iterator[Complaint]:
    job, named = task.job, version_of(task.job, engine)
    if task.runtime == "process" and task.version != named:
        if job.version and task.version:
            program = job.python or "the interpreter on PATH"
            message = f"{program} has {engine.name} {task.version}: its flags are checked, and it is what runs"
            yield Complaint(message, ("version",), f"version: '{task.version}'", warning=True)
        yield from flag_complaints(job, engine, task.version)
    yield from engine.fits(task)
    yield from _unlimited(task, engine, machine)
    yield from _on_the_host(task, engine, machine)
    if sums.verdict(task) == "does not fit" and isinstance(task.memory, tuple):
        message = f"{task.name} does not fit: {sums.told(task.memory, task.layout)}"
        yield Complaint(message, ("gpus",), "mgpu plan --fix shows what would", warning=True)


def _unlimited(task: Task, engine: Engine, machine: Machine) -> Iterator[Complaint]:
    """What keeps an engine from being held to the task's share: a flag that cannot be reckoned, or none at all."""
    share = task.job.gpus.share
    if share is None or not task.gpus:
        return
    at = ("gpus", "share")
    if engine.limit is None:
        message = f"nothing holds {task.job.name} to its {sums.gib(share)} GiB: {engine.name} has no setting for that"
        yield Complaint(message, at, "what runs finds its share, in bytes, in the variable MGPU_SHARE", warning=True)
        return
    try:
        engine.limit.args(task, model_of(task.job, machine))
    except ValueError as error:
        yield Complaint(f"{engine.name} cannot be held to a share: {error}", at, "model_facts: gives them")


def _on_the_host(task: Task, engine: Engine, machine: Machine) -> Iterator[Complaint]:
    """The warning that what a training offloads is too much for the host."""
    recipe = engine.recipe(task.job) if machine.memory and task.gpus else None
    if recipe is None or not (recipe.offload_optimizer or recipe.offload_parameters):
        return
    from mgpu.memory.trainings import host_warning

    model = model_of(task.job, machine)
    words = host_warning(model, recipe, len(task.gpus), machine.memory) if model else None
    if words:
        yield Complaint(words, (), "fewer ranks, a smaller model, or a host with more memory", warning=True)
