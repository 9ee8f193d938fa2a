"""The parallel layout of a job: sizes given are kept, the rest follows from the number of GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from mgpu.values.engine import Engine
from mgpu.values.plan import Layout
from mgpu.values.spec import Job, Spec


def laid_out(spec: Spec, job: Job, engine: Engine, count: int) -> tuple[Layout, str | None]:
    """The layout of `job` on `count` GPUs and the reason for it. Raises SpecError where sizes and GPUs disagree.

    A dimension that nobody chose is 1, but the first free one that the engine has: it takes the GPUs that are left
    (tensor for vLLM, whole layers for llama.cpp, data for a training launcher).
    """
    sizes = {name: size for name, size in job.parallel._asdict().items() if size is not None}
    own = engine.degrees(job)
    product = prod(own.values())
    for name in ("tensor", "pipeline", "data"):
        product *= sizes.get(name, 1)
    free = next((name for name in engine.dimensions if name not in sizes and name != "expert"), None)
    if free and count and count % product == 0:
        sizes[free] = count // product
        product = count
    if count and engine.dimensions and product != count:
        ways = {**{name: sizes.get(name, 1) for name in engine.dimensions}, **own}
        words = " x ".join(f"{name} {size}" for name, size in ways.items())
        problem = f"a layout of {words} is {product}, and the job has {count} GPU{'s' if count > 1 else ''}"
        raise spec.document.error(spec.document.problem(problem, (*job.path, "parallel"), f"gpus: {product}"))
    layout = Layout(**sizes)
    return layout, _reason(job, layout, own, count)


def _reason(job: Job, layout: Layout, own: Mapping[str, int], count: int) -> str | None:
    used = [f"{name} {size}" for name, size in {**layout._asdict(), **own}.items() if size > 1]
    if not used:
        return None
    chosen = "as the spec says" if any(job.parallel) or own else f"from {count} GPUs"
    return f"layout: {' x '.join(used)}, {chosen}"
