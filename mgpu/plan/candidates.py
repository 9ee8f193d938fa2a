"""A job, its engine, GPUs and model in, the layouts that the engine can run there out, each with its GPUs in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from math import prod
from typing import NamedTuple

from mgpu.memory.weights import format_of
from mgpu.plan.cards import slowest
from mgpu.plan.collective import Fabric
from mgpu.values.engine import Complaint, Engine
from mgpu.values.machine import Gpu
from mgpu.values.model import Model
from mgpu.values.plan import Layout, Task
from mgpu.values.spec import Job, Parallel

GROUPED = ("awq-int4", "gptq-int4", "fp8-block")
"""Formats in groups of 128, of which no GPU can have a part (vllm, quantization/fp8.py and utils/marlin_utils.py)."""
GROUP = 128
MANY = 8
"""Of more GPUs than this not all groupings are compared (of 16 there are two million pairings): they stay in order."""


class Ruled(NamedTuple):
    """A layout, and why the engine cannot run it (None: it can)."""

    layout: Layout
    against: str | None


def whole_layers(engine: Engine) -> bool:
    """Whether an engine's own way is whole layers on each GPU: it splits tensors only where a spec asks for it (in
    llama.cpp that is experimental, docs/multi-gpu.md)."""
    return engine.dimensions[:1] == ("pipeline",)


def candidates(job: Job, engine: Engine, gpus: tuple[Gpu, ...], model: Model | None) -> list[Ruled]:
    """Every layout of so many GPUs within the engine's dimensions and the sizes that the spec fixes."""
    return [
        Ruled(layout, _against(layout, job, engine, gpus, model))
        for layout in dict.fromkeys(_enumerated(job, engine, len(gpus), model))
    ]


def _enumerated(job: Job, engine: Engine, count: int, model: Model | None) -> Iterator[Layout]:
    own = prod(engine.degrees(job).values())
    if not count or count % own:
        return
    left = count // own
    for tensor in _sizes("tensor", job, engine, left):
        for pipeline in _sizes("pipeline", job, engine, left // tensor):
            data = left // tensor // pipeline
            if tensor * pipeline * data == left and data in _sizes("data", job, engine, data):
                for expert in _experts(job, engine, tensor, model):
                    yield Layout(tensor, pipeline, data, expert)


def _sizes(name: str, job: Job, engine: Engine, most: int) -> list[int]:
    """The sizes a dimension can have: as the spec says, 1 where the engine has none of it, else what divides."""
    said: int | None = getattr(job.parallel, name)
    if said:
        return [said] if most % said == 0 else []
    if name not in engine.dimensions or (name == "tensor" and whole_layers(engine)):
        return [1]
    return [size for size in range(1, most + 1) if most % size == 0]


def _experts(job: Job, engine: Engine, tensor: int, model: Model | None) -> list[int]:
    if job.parallel.expert:
        return [job.parallel.expert]
    apart = "expert" in engine.dimensions and tensor > 1 and model is not None and model.experts % tensor == 0
    return [1, tensor] if apart and model and model.experts else [1]


def _against(layout: Layout, job: Job, engine: Engine, gpus: tuple[Gpu, ...], model: Model | None) -> str | None:
    """The first thing that speaks against a layout."""
    task = Task(job.name, job, gpus, len(gpus), layout=layout, version=job.version or engine.version)
    if model and (rule := next(_broken(layout, job, engine, model), None)):
        return rule
    said = replace(job, parallel=_said(job.parallel, layout))
    wrong = [found for found in engine.check(said) if found.path[:1] == ("parallel",)]
    return next((_words(found) for found in (*wrong, *engine.fits(task)) if not found.warning), None)


def _said(asked: Parallel, layout: Layout) -> Parallel:
    """The layout as a spec would say it; what it leaves out stays so where it is 1."""
    sizes = {name: size for name, size in layout._asdict().items() if size > 1}
    return asked._replace(**sizes)


def _words(found: Complaint) -> str:
    return found.message


def _broken(layout: Layout, job: Job, engine: Engine, model: Model) -> Iterator[str]:
    """Rules of arithmetic (vllm, config/model.py: verify_with_parallel_config, and the kernels' own)."""
    tensor, heads, keys = layout.tensor, model.heads or 0, model.kv_heads or model.heads or 0
    if heads and heads % tensor:
        yield f"{tensor} does not divide {heads} attention heads"
    if keys and keys % tensor and tensor % keys:
        yield f"{keys} heads of keys and values are not shared evenly by {tensor}"
    if model.layers and layout.pipeline > model.layers:
        yield f"{model.layers} layers are less than {layout.pipeline} stages"
    if layout.expert > 1 and model.experts % layout.expert:
        yield f"{layout.expert} does not divide {model.experts} experts"
    if tensor == 1 or whole_layers(engine):
        return
    width = _width(model, layout)
    stored = format_of(job.model, job.quantization, model)
    if width and stored in GROUPED and not _padded(width, model) and width % tensor == 0 and width // tensor % GROUP:
        yield f"an MLP of {width} in {tensor} parts is no multiple of the {GROUP} that {stored} is quantized in"


def _padded(width: int, model: Model) -> bool:
    """Whether who quantized it must have widened it: an odd number of groups can be shared by nobody (of Qwen2.5-72B's
    29568 the files in AWQ and GPTQ have made 29696). Its own config.json would say so."""
    return model.origin == "the catalogue" and width // GROUP % 2 == 1


def _width(model: Model, layout: Layout) -> int | None:
    """The width of what tensor parallel GPUs share of an MLP."""
    if not model.experts:
        return model.intermediate
    found: int | None = model.config.get("moe", {}).get("intermediate")
    return found if layout.expert == 1 else None


def ordered(gpus: tuple[Gpu, ...], layout: Layout, fabric: Fabric) -> tuple[Gpu, ...]:
    """`gpus` in the order of ranks: those that share a layer stand together, as well joined and as alike as can be;
    where all are joined alike, as they come."""
    size = layout.tensor
    if size == 1 or size == len(gpus) or _alike(gpus, fabric):
        return gpus
    if len(gpus) % size or len(gpus) > MANY:
        return gpus
    costs: dict[tuple[int, ...], float] = {}

    def cost(group: tuple[Gpu, ...]) -> float:
        key = tuple(gpu.index for gpu in group)
        if key not in costs:
            costs[key] = _cost(group, fabric)
        return costs[key]

    def best(left: tuple[Gpu, ...]) -> tuple[float, tuple[Gpu, ...]]:
        if not left:
            return 0.0, ()
        found: tuple[float, tuple[Gpu, ...]] | None = None
        for others in combinations(left[1:], size - 1):
            group = (left[0], *others)
            rest = best(tuple(gpu for gpu in left if gpu not in group))
            total = cost(group) + rest[0]
            if found is None or total < found[0] - 1e-12:
                found = (total, group + rest[1])
        return found or (0.0, left)

    return best(gpus)[1]


def _alike(gpus: tuple[Gpu, ...], fabric: Fabric) -> bool:
    """Whether it does not matter which of them stand together."""
    links = {fabric.facts(a, b) for a, b in combinations(gpus, 2)}
    return len(links) <= 1 and len({(gpu.product, gpu.name) for gpu in gpus}) == 1


def _cost(group: tuple[Gpu, ...], fabric: Fabric) -> float:
    """Seconds that a group would take for a step of a middling model: 8 GB read, 128 messages of 128 KiB added up; of
    equals the one with the shorter ways."""
    card = slowest(group)
    reading = 8e9 / (card.bandwidth * len(group)) if card else 0.0
    ways = sum(fabric.rank(a, b) for a, b in combinations(group, 2))
    return reading + 128 * fabric.wire(group).all_reduce(2**17) + ways * 1e-6
