"""A task that does not fit in, what would make it fit out: a change to its spec, other machines, more than one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mgpu.catalog.gpus import Product, products
from mgpu.catalog.machines import BOARD, shorthand
from mgpu.catalog.prices import per_hour
from mgpu.engines import engine_named
from mgpu.errors import MgpuError
from mgpu.plan import sums
from mgpu.plan.fit import COUNTS
from mgpu.plan.fix import ACCURACY, Estimating, Fix, fixes, smaller
from mgpu.plan.place import place
from mgpu.spec.check import check
from mgpu.spec.override import changed
from mgpu.values.machine import Machine
from mgpu.values.mark import Path
from mgpu.values.memory import Estimate, Unknown
from mgpu.values.plan import Task
from mgpu.values.spec import Spec

NAMED = 3
"""As many machines are named."""


class Machines(NamedTuple):
    """A machine of the catalogue that holds the task as its spec stands, and USD an hour (None: not known)."""

    name: str
    usd_per_hour: float | None


def fix_of(spec: Spec, machine: Machine, task: Task) -> Fix | None:
    """The cheapest change that makes the task fit on this machine; None where none is known."""
    return fixes(spec, machine, task, _estimating(machine, task))


def _estimating(machine: Machine, task: Task) -> Estimating:
    """What says of a changed spec what the copies of the task need on this machine."""

    def estimating(trial: Spec) -> tuple[Estimate, ...] | Unknown:
        memory = [other.memory for other in place(trial, machine).tasks if other.job.name == task.job.name]
        unknown = next((one for one in memory if isinstance(one, Unknown)), None)
        return unknown or tuple(each for one in memory if isinstance(one, tuple) for each in one)

    return estimating


def machines_for(spec: Spec, task: Task) -> list[Machines]:
    """The machines of the catalogue that hold the task as its spec stands, each product in the fewest GPUs, the
    cheapest first. Only of a spec that is one job: of a pipeline the jobs hang together."""
    if spec.pipeline:
        return []
    found = [machine for product in products() if (machine := _fewest(spec, task, product))]
    return sorted(found, key=lambda one: (one.usd_per_hour is None, one.usd_per_hour or 0.0, one.name))


def _fewest(spec: Spec, task: Task, product: Product) -> Machines | None:
    price, least = per_hour(product.id), _weights(task)
    for count in COUNTS:
        if count * product.memory > least and holds(spec, task, f"{count}x{product.id}"):
            return Machines(f"{count}x{product.id}", price.usd_per_hour * count if price else None)
    return None


def _weights(task: Task) -> float:
    """Bytes of one copy of the weights; 0 where that is not known."""
    memory = task.memory if isinstance(task.memory, tuple) else ()
    return sums.shared(memory, task.layout)


def holds(spec: Spec, task: Task, machine: str) -> bool:
    """Whether the task fits on all GPUs of a machine in shorthand, in whichever layout."""
    path = task.job.path
    changes: dict[Path, Any] = {(*path, "gpus"): "all", (*path, "parallel"): None, (*path, "runtime"): None}
    try:
        plan = place(check(changed(spec.document, changes)), shorthand(machine))
    except MgpuError:
        return False
    return sums.verdict(plan.tasks[0]) in ("fits", "tight")


def advice(spec: Spec, machine: Machine, task: Task) -> Iterator[str]:
    """What would make it fit, in sentences."""
    fix = fix_of(spec, machine, task)
    if fix:
        fits = "fits" if fix.verdict == "fits" else "fits tightly"
        others = smaller(spec, machine, task, _estimating(machine, task)) if fix.cost >= ACCURACY else []
        more = "".join(f", or {other.words}" for other in others if other.words != fix.words)
        yield f"it {fits} here with {fix.words}{more}: mgpu plan --fix prints the change"
    if engine_named(task.job.engine).spills(task):
        yield f"started all the same {task.job.engine} leaves to the CPU what the GPUs do not hold: many times slower"
    found = machines_for(spec, task)
    if found:
        names = ", ".join(one.name + (f" ({one.usd_per_hour:.2f} USD/h)" if one.usd_per_hour else "")
                          for one in found[:NAMED])  # fmt: skip
        yield f"as it is it fits on {names}"
    product = machine.gpus[0].product
    full = len(machine.gpus) == BOARD and {gpu.product for gpu in machine.gpus} == {product}
    if full and product and not spec.pipeline and holds(spec, task, f"{2 * BOARD}x{product}"):
        yield "two machines like this one would hold it; this version of mgpu runs a job on one machine only"
