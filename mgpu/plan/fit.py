"""A model and machines in, the best that fits of it on each out: format, engine, layout, context, speed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from mgpu.catalog.gpus import products
from mgpu.catalog.machines import shorthand
from mgpu.catalog.variants import variants
from mgpu.errors import MgpuError
from mgpu.memory.weights import checkpoint, format_of
from mgpu.plan import sums
from mgpu.plan.models import model_of
from mgpu.plan.place import place
from mgpu.plan.tasks import decided
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import Machine
from mgpu.values.memory import Cache, Unknown, Verdict
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.spec import Spec
from mgpu.values.speed import Policy, Speed, Workload

COUNTS = (1, 2, 4, 8)
CONTEXT = 8192
"""Tokens of one request, where nobody says how many."""


class Way(NamedTuple):
    """An engine, and the format of weights that it is given; None: as the model is published."""

    engine: str
    format: str | None


WAYS = (
    Way("vllm", None),
    Way("vllm", "fp8"),
    Way("vllm", "awq-int4"),
    Way("llamacpp", "Q4_K_M"),
    Way("llamacpp", "IQ4_XS"),
    Way("llamacpp", "Q3_K_M"),
)
"""What is tried, the most bits first."""


class Wanted(NamedTuple):
    """What is asked for: a model by name, tokens of context of one request, and what a layout is chosen for."""

    model: str
    context: int = CONTEXT
    policy: Policy = "latency"


class Fitting(NamedTuple):
    """What fits on a machine, or would not: `format` of the weights, the `repository` that holds them (None: none is
    known, they are to be quantized), the task with its layout and memory, and how fast it serves under `workload`.
    `longest` are the tokens of the longest request that there is room for."""

    machine: Machine
    way: Way
    format: str
    repository: str | None
    task: Task
    verdict: Verdict
    speed: Speed | None
    workload: Workload | None
    longest: int | None = None

    @property
    def cache(self) -> Cache | None:
        """The smallest cache of its GPUs."""
        memory = self.task.memory
        caches = [] if memory is None or isinstance(memory, Unknown) else [one.cache for one in memory if one.cache]
        return min(caches, key=lambda cache: cache.tokens, default=None)


def best(wanted: Wanted, machine: Machine, ways: Sequence[Way] = WAYS) -> Fitting | None:
    """The first of `ways` that fits on all GPUs of the machine; else the last that could be reckoned, which does not;
    None where none could."""
    last = None
    for way in ways:
        found = tried(wanted, machine, way)
        if found and found.verdict != "does not fit":
            return found
        last = found or last
    return last


def tried(wanted: Wanted, machine: Machine, way: Way) -> Fitting | None:
    """One way on one machine; None where the engine cannot run it there, or nothing is known of its memory."""
    try:
        plan = place(_spec(wanted, way), machine)
    except MgpuError:
        return None
    task = plan.tasks[0]
    verdict, model = sums.verdict(task), model_of(task.job, machine)
    if verdict is None or model is None:
        return None
    form = format_of(task.job.model, task.job.quantization, model)
    there = {variant.format: variant.repository for variant in variants(model.id)}
    repository = model.repository if way.format is None or form == model.dtype else there.get(form)
    decision = decided(task, machine) if verdict != "does not fit" else None
    speed = decision.chosen.speed if decision and decision.chosen else None
    memory = task.memory if isinstance(task.memory, tuple) else ()
    load = decision.workload if decision else None
    return Fitting(machine, way, form, repository, task, verdict, speed, load, sums.longest(memory, model))


@lru_cache(maxsize=256)
def _spec(wanted: Wanted, way: Way) -> Spec:
    """The spec of one way, on all GPUs of a machine."""
    form = f"\nquantization: {way.format}" if way.format else ""
    head = f"kind: inference\nname: fit\nengine: {way.engine}\nmodel: {_quoted(wanted.model)}{form}"
    return check(read("fit", f"{head}\ncontext_length: {wanted.context}\ngpus: all\npolicy: {wanted.policy}\n"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


Known = tuple[tuple[str, Model], ...]
"""Models that files have told of, as `Machine.models` has them."""


def everywhere(
    wanted: Wanted, ways: Sequence[Way] = WAYS, machines: Iterable[Machine] | None = None, known: Known = ()
) -> list[Fitting]:
    """What fits on the machines of the catalogue: of every product the fewest GPUs, and more where more bits then fit.
    `machines` are others, of which each is told."""
    if machines is not None:
        return [found for found in (best(wanted, machine, ways) for machine in machines) if found]
    return [found for product in products() for found in _growing(wanted, product.id, ways, known)]


def _growing(wanted: Wanted, product: str, ways: Sequence[Way], known: Known) -> Iterator[Fitting]:
    """Counts of a product, each of which takes the model in more bits than the one before."""
    left = list(ways)
    for count in COUNTS:
        machine = replace(shorthand(f"{count}x{product}"), models=known)
        found = best(wanted, machine, [way for way in left if _may_hold(wanted, machine, way)])
        if found and found.verdict != "does not fit":
            yield found
            left = left[: left.index(found.way)]


def _may_hold(wanted: Wanted, machine: Machine, way: Way) -> bool:
    """Whether the weights alone are less than all the memory there is: what is quickly told is told first."""
    model = model_of(_spec(wanted, way).jobs[0], machine)
    try:
        size = checkpoint(model, format_of(wanted.model, way.format, model)) if model else 0
    except ValueError:
        return False
    return size <= sum(gpu.memory for gpu in machine.gpus)
