"""A run whose job ran out of GPU memory in, the change to its spec that makes it need less out, with its number."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mgpu.errors import MgpuError
from mgpu.values.cause import Cause
from mgpu.values.machine import Machine
from mgpu.values.mark import Path
from mgpu.values.plan import Task
from mgpu.values.spec import Spec

SHORT = 2**30
"""Bytes by which the plan is taken to have been short, where the log does not say."""


def change(data: Mapping[str, Any], task: str, cause: Cause) -> str | None:
    """What to write in the spec of the run that `data` (its run.json) tells of: the cheapest change by which the task,
    by the plan, needs as much less as it lacked; else the first knob of its engine. None where none is known."""
    try:
        spec, machine = _asked(data)
        planned = _task(spec, machine, task)
        return _fixed(spec, machine, planned, task, cause) or _first_knob(planned)
    except (MgpuError, KeyError, TypeError, StopIteration):
        return None


def _asked(data: Mapping[str, Any]) -> tuple[Spec, Machine]:
    """The spec and the machine that the run was planned for, with what files here say of its models."""
    from mgpu.engines import engine_named
    from mgpu.machine.file import load
    from mgpu.machine.models import attached
    from mgpu.spec.check import check
    from mgpu.values.document import Document

    asked = data["asked"]
    spec = check(Document(str(data.get("spec", "spec")), "", asked["spec"], {}, {}))
    machine = load("machine", json.dumps(asked["machine"]))
    wanted = [model for job in spec.jobs if (model := engine_named(job.engine).model(job))]
    return spec, attached(machine, wanted, machine.folder or os.getcwd(), online=False)


def _task(spec: Spec, machine: Machine, name: str) -> Task:
    from mgpu.plan.place import place

    return next(task for task in place(replace(spec, machine=None), machine, True).tasks if task.name == name)


def _fixed(spec: Spec, machine: Machine, planned: Task, name: str, cause: Cause) -> str | None:
    """The planner's answer for a machine whose GPUs have as much less free as the job lacked."""
    from mgpu.plan import sums
    from mgpu.plan.advice import fix_of

    if not isinstance(planned.memory, tuple) or not planned.memory:
        return None
    taken = max(estimate.taken.expected for estimate in planned.memory)
    room = max(0, taken - (cause.asked or SHORT))
    pressed = replace(machine, gpus=tuple(replace(gpu, free=min(gpu.free, room)) for gpu in machine.gpus))
    task = _task(spec, pressed, name)
    if sums.verdict(task) != "does not fit":
        return None
    fix = fix_of(spec, pressed, task)
    return f"{_written(fix.changes)} ({fix.words}; by the plan {sums.gib(taken - room)} GiB less)" if fix else None


def _first_knob(task: Task) -> str | None:
    from mgpu.engines import engine_named

    knob = next(iter(sorted(engine_named(task.job.engine).knobs(task), key=lambda knob: knob.cost)), None)
    return f"{_written({(*task.job.path, *knob.path): knob.value})} ({knob.what})" if knob else None


def _written(changes: Mapping[Path, Any]) -> str:
    """Changes as the spec has them: ``context_length: 8192, args: {max-num-seqs: 64}``."""
    from mgpu.spec.edit import flow

    data: dict[str | int, Any] = {}
    for path, value in changes.items():
        at = data
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = value
    return flow(data)[1:-1]
