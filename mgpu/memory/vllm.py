"""A task of vLLM's and its model in, what it needs on each of its GPUs out, by the budget that each version keeps.

requested = ceil(total x utilization); pool = requested - weights - non-torch - activation peak (- CUDA graphs since
0.20). What exists before the engine looks, or comes after it has looked, lies outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from mgpu.catalog.engine_memory import constant, gib
from mgpu.catalog.gpus import by_name as product_named
from mgpu.catalog.models import by_name
from mgpu.memory import vllm_peak
from mgpu.memory.serving import (
    about,
    answered,
    cache_element,
    context_of,
    corrected,
    known,
    left,
    number,
    on,
    on_each,
    stage_of,
    unconverted,
    weight_format,
    whole,
    words,
)
from mgpu.memory.vllm_cache import BLOCK, Blocks, Shape, blocks, cache_tokens
from mgpu.memory.vllm_peak import ENGINE, Batch, Joined, Place
from mgpu.memory.weights import checkpoint, format_of, on_gpu, rotary, stages
from mgpu.values.machine import Gpu
from mgpu.values.memory import MIB, Cache, Correction, Estimate, Line, span
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.said import said

QUANTIZED = ("fp32", "bf16", "fp16")
"""Formats that are not quantized."""


class Setting(NamedTuple):
    """What a task's flags and the version decide: the batch, the share of memory, the cache, the runner."""

    batch: Batch
    utilization: float
    stored: str
    width: int
    context: int
    element: float
    newer: bool
    eager: bool
    graphs_inside: bool


def setting(task: Task, model: Model) -> Setting:
    """The decisions of a task: its flags, else the defaults of this version on its smallest GPU."""
    job, version, least = task.job, task.version, min(task.gpus, key=lambda gpu: gpu.memory)
    context, stored = context_of(job, model), weight_format(task, model)
    usual = vllm_peak.defaults(least.memory, least.product or least.name, version, context)
    seqs = whole(job, usual.seqs, "max-num-seqs")
    tokens = whole(job, max(usual.tokens, 0), "max-num-batched-tokens")
    newer = vllm_peak.newer_runner(version, model, stored not in QUANTIZED, job.env.get("VLLM_USE_V2_MODEL_RUNNER"))
    asked = job.env.get("VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS", "1") not in ("0", "false")
    inside = constant(ENGINE, "newer_runner_graphs_inside" if newer else "graphs_inside", version)
    return Setting(
        Batch(seqs, max(tokens, seqs)),
        number(job, "gpu-memory-utilization") or constant(ENGINE, "utilization", version),
        stored,
        4 if stored == "fp32" else 2,
        context,
        _element(task),
        newer,
        on(job, "enforce-eager"),
        bool(inside and asked),
    )


def _element(task: Task) -> float:
    """Bytes of an element of the cache: as it is told, else as the weights are computed with."""
    kind = said(task.job, "kv-cache-dtype")
    return cache_element(said(task.job, "dtype") if kind in (None, "auto") else kind)


def requested(total: int, utilization: float) -> int:
    """Bytes of a GPU that vLLM allows itself (v1/worker/utils.py: request_memory)."""
    return ceil(total * utilization)


def pool(
    total: float, utilization: float, weights: float, non_torch: float, activation: float, graphs: float = 0
) -> float:
    """Bytes left for keys and values, all arguments in bytes ("Available KV cache memory")."""
    return max(0.0, total * utilization - weights - non_torch - activation - graphs)


@answered
def estimates(task: Task, model: Model, corrections: Sequence[Correction]) -> tuple[Estimate, ...]:
    """What the task needs on each of its GPUs, in their order."""
    chosen = setting(task, model)
    return on_each(task, lambda at: _estimate(task, model, chosen, at, corrections))


def _estimate(task: Task, model: Model, chosen: Setting, at: int, corrections: Sequence[Correction]) -> Estimate:
    gpu = task.gpus[at]
    place = Place(task.layout.tensor, task.layout.pipeline, stage_of(task, at))
    fixed = corrected(_lines(task, model, chosen, place), task, gpu, corrections)
    shape = _shape(task, model, chosen, place)
    one = blocks(model, chosen.context, shape)
    given = number(task.job, "kv-cache-memory-bytes", "kv-cache-memory")
    inside = sum(line.bytes.expected for line in fixed if not line.outside)
    budget = inside + int(given) if given else requested(gpu.memory, chosen.utilization)
    room = left(budget, fixed)
    lines = (*fixed, _cache_line(one, chosen))
    cache = Cache(
        room, one.total, chosen.context, cache_tokens(room.expected, model, chosen.context, shape, task.version)
    )
    begun = sum(line.bytes.expected for line in fixed if line.name == "CUDA context")
    loading = unconverted(task, model, (place.tensor, place.pipeline, place.stage), gpu, gpu.room - begun)
    return Estimate(gpu.index, lines, gpu.free, budget, cache, _fault(task, gpu, budget, fixed) or loading)


def _cache_line(one: Blocks, chosen: Setting) -> Line:
    why = f"one sequence of {chosen.context} tokens in {one.needed} blocks of {one.tokens}; requests share the rest"
    return known("KV cache", one.total, why)


def _shape(task: Task, model: Model, chosen: Setting, place: Place) -> Shape:
    counts = stages(model.layers or 0, place.pipeline)
    mine = range(sum(counts[: place.stage]), sum(counts[: place.stage + 1]))
    guesses = said(task.job, "speculative-config")
    ahead = int(guesses.get("num_speculative_tokens") or 0) if isinstance(guesses, Mapping) else 0
    block = whole(task.job, BLOCK, "block-size")
    return Shape(chosen.element, place.tensor, mine, block, chosen.batch.tokens, ahead)


def _fault(task: Task, gpu: Gpu, budget: int, lines: Sequence[Line]) -> str | None:
    """Its start is refused if what it asks for is not free by then (v1/worker/utils.py: request_memory)."""
    before = sum(line.bytes.low for line in lines if line.name == "CUDA context")
    short = budget - (gpu.free - before)
    if short <= 0 or number(task.job, "kv-cache-memory-bytes", "kv-cache-memory"):
        return None
    most = max(0.0, (gpu.free - before) / gpu.memory)
    asks = (
        f"vLLM asks for {words(budget)} of GPU {gpu.index}, of which {words(max(0, gpu.free - before))} are free then"
    )
    return f"{asks}: gpu-memory-utilization up to {int(most * 100) / 100:.2f} would start"


def _lines(task: Task, model: Model, chosen: Setting, place: Place) -> tuple[Line, ...]:
    """All but keys and values."""
    version, batch = task.version, chosen.batch
    peak = vllm_peak.activation_peak(model, batch, place, version, chosen.newer, chosen.width)
    what = f"{batch.seqs} sequences, {batch.tokens} tokens at once"
    lines = [
        _weights(task, model, chosen, place),
        _others(task, place),
        about("activation peak", peak, 0.06, "source", f"sampler or forward pass, whichever is larger: {what}"),
        *_graphs(task, model, chosen, place),
        *_extras(task, model, place),
        *_outside(task, model, chosen, place, peak),
    ]
    return tuple(lines)


def _weights(task: Task, model: Model, chosen: Setting, place: Place) -> Line:
    together = place.tensor * task.layout.data if on(task.job, "enable-expert-parallel") else 1
    size = on_gpu(model, chosen.stored, place.tensor, place.pipeline, place.stage, together)
    whole_ = size + rotary(model)
    why = f"{chosen.stored}, from {model.origin}, with the table of positions"
    return about("weights", whole_, 0.005, "exact" if model.stored else "source", why)


def joined(gpus: Sequence[Gpu]) -> Joined:
    """How the GPUs reach each other: as the one does that does it worst."""
    found = {vllm_peak.joined_by(product_named(gpu.product or gpu.name)) for gpu in gpus}
    return "pcie" if "pcie" in found else "mesh" if "mesh" in found else "fused"


def _others(task: Task, place: Place) -> Line:
    how = joined(task.gpus)
    size = vllm_peak.non_torch(task.version, place, how)
    why = "NCCL, buffers of the all-reduce, kernels" if place.tensor > 1 else "kernels and handles"
    low, high = (0.25, 1.15) if place.tensor > 1 and how == "fused" else (0.5, 1.6)
    return Line("non-torch", span(size * low, size, size * high), "source", why)


def _graphs(task: Task, model: Model, chosen: Setting, place: Place) -> list[Line]:
    if chosen.eager:
        return []
    size = vllm_peak.graphs(model, chosen.batch.seqs, place, task.version)
    where = "inside" if chosen.graphs_inside else "outside"
    why = f"captured after the profile; {where} the budget in this version"
    return [Line("CUDA graphs", span(size / 2, size, size * 2), "source", why, not chosen.graphs_inside)]


def context_bytes(task: Task) -> float:
    """What is there before vLLM looks: the context, and of newer versions what NCCL takes at its start."""
    how = ("tensor_" if joined(task.gpus) == "fused" else "pcie_") if task.layout.tensor > 1 else ""
    return gib(ENGINE, f"context_{how}GiB", task.version)


def _outside(task: Task, model: Model, chosen: Setting, place: Place, peak: float) -> list[Line]:
    """What vLLM's budget does not know of."""
    version = task.version
    context = context_bytes(task)
    lines = [
        Line("CUDA context", span(0.4 * context, context, 1.3 * context), "source", "there before vLLM looks", True)
    ]
    extra = vllm_peak.warm_up(model, chosen.batch, version, chosen.newer, peak) if place.last else 0.0
    if extra:
        why = f"the sampler for {chosen.batch.seqs} sequences needs more than the profile saw"
        lines.append(Line("sampler", span(0, extra / 2, extra), "guessed", why, True))
    unseen = gib(ENGINE, "mxfp4_outside_GiB", version) if chosen.stored == "mxfp4" else 0.0
    if unseen:
        why = "MXFP4 kernels and sampler at their warm-up, after the profile"
        lines.append(Line("warm-up", span(0.9 * unseen, unseen, 2 * unseen), "calibrated", why, True))
    return lines


def _extras(task: Task, model: Model, place: Place) -> list[Line]:
    """Adapters' slots and a draft model, as far as the flags tell."""
    lines, job, h = [], task.job, model.hidden or 0
    if on(job, "enable-lora"):
        slots, rank = whole(job, 1, "max-loras"), whole(job, 16, "max-lora-rank")
        wide = 4 * h + 2 * (model.kv_heads or 1) * (model.head_dim or 0) + 3 * (vllm_peak.dense_width(model) + h)
        size = 2 * slots * rank * wide * (model.layers or 0) / place.pipeline / place.tensor
        why = f"{slots} slots of rank {rank} for every matrix"
        lines.append(Line("adapters", span(size / 2, size, size * 3), "guessed", why))
    draft = said(job, "speculative-config")
    name = draft.get("model") if isinstance(draft, Mapping) else said(job, "speculative-model")
    other = by_name(str(name)) if name else None
    if other is not None:
        size = checkpoint(other, format_of(str(name), None, other)) / place.tensor
        lines.append(Line("draft model", span(size / 2, size, size * 1.2), "guessed", f"the weights of {other.id}"))
    elif draft:
        lines.append(Line("draft", span(0, 256 * MIB, 2048 * MIB), "guessed", "the part that guesses ahead"))
    return lines
