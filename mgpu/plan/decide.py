"""A job, its GPUs, their links and its model in, the layout to take out, with those that were not taken and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from mgpu.catalog.engine_memory import slots
from mgpu.catalog.engine_speed import Pace, pace
from mgpu.memory.weights import format_of
from mgpu.plan.burden import Burden, burden_of
from mgpu.plan.candidates import candidates, ordered
from mgpu.plan.collective import Fabric
from mgpu.plan.reasons import best, lost, missing, named, overfull, unfit
from mgpu.plan.speed import speed
from mgpu.plan.sums import verdict_of
from mgpu.values.choice import Choice, Decision
from mgpu.values.engine import Engine
from mgpu.values.machine import Gpu, Link
from mgpu.values.memory import Estimate, Unknown
from mgpu.values.model import Model
from mgpu.values.plan import Layout
from mgpu.values.said import degree, said
from mgpu.values.spec import Job
from mgpu.values.speed import Policy, Workload

USUAL = Workload()
"""What a server of one's own is asked: several people at once, a page in, a paragraph out."""
CROWDED = Workload(1024)
"""What throughput is compared under where the job does not say how many requests it takes at once: as many as vLLM
takes by itself on a GPU of 70 GiB or more, less where the caches hold fewer."""
Asked = Callable[[Layout, tuple[Gpu, ...]], "tuple[Estimate, ...] | Unknown"]
SEQUENCES = (
    "max-num-seqs",
    "max-running-requests",
    "max-batch-size",
    "max-concurrent-requests",
    "parallel",
    "OLLAMA_NUM_PARALLEL",
)
"""What engines call the requests that they take at once."""
SPARE = 0.03
"""Speeds that are no further apart count as equal: then the layout with fewer stages is taken."""
BUBBLES = 0.15
"""The same for the tokens a second of a crowd: stages are reckoned as if none ever waited for another, which chunks of
prompts between steps of decoding make them do, and the estimate itself is 17 % off in the mean (engine_speed.json)."""
GIVEN = 0.25
"""How much of its speed a layout with a cramped cache gives way for."""


class Setting(NamedTuple):
    """What is the same for all layouts that are compared."""

    job: Job
    fabric: Fabric
    burden: Burden | None
    pace: Pace
    workload: Workload
    estimate: Asked


def decide(
    job: Job,
    engine: Engine,
    gpus: tuple[Gpu, ...],
    links: Iterable[Link],
    model: Model | None,
    policy: Policy,
    estimate: Asked,
    workload: Workload | None = None,
) -> Decision:
    """The layout for `job` on all of `gpus`: `latency` takes the shortest mean time of a request, `throughput` the most
    tokens a second, `capacity` the most tokens of cache. Where the model is not known, or the job is no server that can
    split one, the table of defaults decides. Nothing fits: `chosen` is None."""
    asked = workload or workload_of(job, policy)
    ruled = candidates(job, engine, gpus, model)
    burden = _burden(job, engine, model, asked)
    setting = Setting(job, Fabric(links), burden, pace(engine.name), asked, estimate)
    rejected = [Choice(one.layout, gpus, None, None, None, f"{named(one.layout)}: {one.against}")
                for one in ruled if one.against]  # fmt: skip
    tried = [_tried(one.layout, gpus, setting) for one in ruled if not one.against]
    if burden is None or any(one.speed is None for one in tried if one.verdict != "does not fit"):
        return _by_table(engine, gpus, setting.fabric, tried, rejected, policy)
    fitting = [one for one in tried if one.verdict != "does not fit"]
    too_large = _too_large(tried)
    if not fitting:
        return Decision(None, (*too_large, *rejected), policy, asked)
    ranking = sorted(fitting, key=lambda one: _measure(one, policy))
    first = _taken(ranking, policy, asked)
    others = [one._replace(why=lost(one, first, policy)) for one in ranking if one is not first]
    chosen = first._replace(why=best(first, len(fitting), policy, asked))
    return Decision(chosen, (*others, *too_large, *rejected), policy, asked)


def _too_large(tried: list[Choice]) -> list[Choice]:
    """Those that do not fit, with the reason; that which lacks the least first."""
    found = [one._replace(why=unfit(one)) for one in tried if one.verdict == "does not fit"]
    return sorted(found, key=missing)


def _taken(ranking: list[Choice], policy: Policy, workload: Workload) -> Choice:
    """The best by the policy; of those that are as good the one with fewer stages. A layout whose cache is too small
    for as many whole contexts as there are requests gives way to one that has the room, if that is not much slower."""
    top = _measure(ranking[0], policy)
    roomy = [one for one in ranking if not cramped(one, workload)]
    if policy != "capacity" and roomy and abs(_measure(roomy[0], policy) - top) <= GIVEN * abs(top):
        ranking, top = roomy, _measure(roomy[0], policy)
    spare = BUBBLES if policy == "throughput" else SPARE
    near = [one for one in ranking if abs(_measure(one, policy) - top) <= spare * abs(top)]
    return min(near, key=lambda one: (one.layout.pipeline, one.layout.expert, _measure(one, policy)))


def cramped(one: Choice, workload: Workload) -> bool:
    """Whether the caches hold fewer tokens than the requests at once could come to by the context."""
    room = None if one.memory is None else held(one.memory, one.layout)
    if room is None or isinstance(one.memory, Unknown) or not one.memory:
        return False
    cache = one.memory[0].cache
    return cache is not None and room < workload.concurrency * cache.context


def workload_of(job: Job, policy: Policy) -> Workload:
    """What layouts are compared under: the usual, with as many requests at once as the job's own flag says, or as the
    engine takes by itself; to compare throughput a crowd. A context that is shorter than that bounds the prompt."""
    flag = next((name for name in SEQUENCES if said(job, name) is not None), None)
    base = CROWDED if policy == "throughput" else USUAL
    count = degree(job, flag) if flag else slots(job.engine, job.version) or base.concurrency
    if policy != "throughput":
        count = min(count, base.concurrency)
    context = job.context_length or base.prompt + base.output
    prompt = max(1, min(base.prompt, context * base.prompt // (base.prompt + base.output)))
    return Workload(count, prompt, max(1, min(base.output, context - prompt)))


def _burden(job: Job, engine: Engine, model: Model | None, workload: Workload) -> Burden | None:
    splits = bool({"tensor", "pipeline"} & set(engine.dimensions)) and job.kind == "inference"
    if model is None or not splits:
        return None
    try:
        stored = _stored(job, engine, model)
        return burden_of(model, stored, workload, 1.0 if _small(job) else 2.0)
    except ValueError:
        return None


def _stored(job: Job, engine: Engine, model: Model) -> str:
    """The format of the weights that are read: what reads GGUF files never has those that the model is published in."""
    if not engine.gguf:
        return format_of(job.model, job.quantization, model)
    from mgpu.memory.llamacpp import stored_of

    return stored_of(model, job.model, job.quantization).format


def _small(job: Job) -> bool:
    """Whether keys and values are kept in 8 bits."""
    return any(str(said(job, flag) or "").startswith(("fp8", "q8")) for flag in ("kv-cache-dtype", "cache-type-k"))


def _tried(layout: Layout, gpus: tuple[Gpu, ...], setting: Setting) -> Choice:
    """A layout with its memory and speed; a cache too small for the workload makes requests wait."""
    order = ordered(gpus, layout, setting.fabric)
    memory = setting.estimate(layout, order)
    verdict = verdict_of(memory)
    burden, asked = setting.burden, setting.workload
    if burden is None:
        return Choice(layout, order, None, memory, verdict, "")
    if isinstance(memory, Unknown) and (more := overfull(burden, layout, order)):
        return Choice(layout, order, None, memory, "does not fit", more)
    room = held(memory, layout)
    fits_at_once = asked.concurrency if room is None else max(1, room // (asked.prompt + asked.output))
    at_once = asked._replace(concurrency=min(asked.concurrency, fits_at_once))
    found = speed(burden, layout, order, setting.fabric, setting.pace, at_once, attention_of(setting.job))
    if found and at_once.concurrency < asked.concurrency:
        waits = asked.concurrency / at_once.concurrency
        found = found._replace(request=found.request * waits, ttft=found.ttft + found.request * (waits - 1))
    return Choice(layout, order, found, memory, verdict, "")


def attention_of(job: Job) -> int:
    """Into how many replicas SGLang's flag divides attention."""
    return degree(job, "attn-dp-size")


def held(memory: tuple[Estimate, ...] | Unknown, layout: Layout) -> int | None:
    """Tokens that the caches of all copies hold together; None where that is not known."""
    caches = [] if isinstance(memory, Unknown) else [one.cache for one in memory]
    known = [cache.tokens for cache in caches if cache]
    return min(known) * layout.data if known and len(known) == len(caches) else None


def _measure(one: Choice, policy: Policy) -> float:
    """What the policy compares, less is better."""
    if one.speed is None:
        return 0.0
    if policy == "capacity":
        return -float(held(one.memory, one.layout) or 0) if not isinstance(one.memory, Unknown | None) else 0.0
    return one.speed.request if policy == "latency" else -one.speed.tokens_per_second


def _by_table(
    engine: Engine, gpus: tuple[Gpu, ...], fabric: Fabric, tried: list[Choice], rejected: list[Choice], policy: Policy
) -> Decision:
    """The default where speed is not known: tensor parallel within NVLink or a pair, stages between; what has neither
    runs a copy on each GPU, and llama.cpp whole layers."""
    fitting = [one for one in tried if one.verdict != "does not fit"]
    too_large = _too_large(tried)
    if not fitting:
        return Decision(None, (*too_large, *rejected), policy, None)
    wanted = default(engine, gpus, fabric)
    first = min(fitting, key=lambda one: _far(one.layout, wanted))
    others = [one._replace(why=f"{named(one.layout)}: {named(first.layout)} is the default") for one in fitting
              if one is not first]  # fmt: skip
    why = f"{named(first.layout)}: the default for {len(gpus)} GPUs, since the model's sizes are not known"
    if not {"tensor", "pipeline"} & set(engine.dimensions) or engine.dimensions[0] == "data":
        why = f"{named(first.layout)}: {engine.name} runs one process on each GPU"
    return Decision(first._replace(why=why), (*others, *too_large, *rejected), policy, None)


def default(engine: Engine, gpus: tuple[Gpu, ...], fabric: Fabric) -> Layout:
    """The table: 2 GPUs tensor 2; 4 tensor 4 with NVLink, 2 x 2 over PCIe; 8 tensor 8 with NVLink, else 4 x 2; the
    first dimension of an engine that does not split tensors first."""
    count = len(gpus)
    if not engine.dimensions or count == 1:
        return Layout()
    first = engine.dimensions[0]
    if first != "tensor":
        return Layout(**{first: count})
    joined = count == 1 or fabric.wire(gpus).words == "NVLink"
    tensor = count if joined or count <= 2 else count // 2
    return Layout(tensor, count // tensor) if "pipeline" in engine.dimensions else Layout(count)


def _far(layout: Layout, wanted: Layout) -> tuple[int, ...]:
    """How far a layout is from another: first in tensor, then in the rest."""
    return tuple(abs(a - b) for a, b in zip(layout, wanted, strict=True))
