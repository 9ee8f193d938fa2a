"""A task of SGLang's and its model in, what it needs on each of its GPUs out.

The static part (weights and cache) is a fraction of what was free before the load; the rest is left for activations
and CUDA graphs. Read in 0.5.23: arg_groups/memory_hook.py (handle_gpu_memory_settings), kv_cache_configurator.py.
Older versions have other constants of the same form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mgpu.catalog.engine_memory import constant, gib
from mgpu.memory import vllm_peak
from mgpu.memory.cache import cached
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
)
from mgpu.memory.vllm_peak import Batch, Place
from mgpu.memory.weights import on_gpu, stages
from mgpu.values.memory import MIB, Cache, Correction, Estimate, Line, span
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.said import said

ENGINE = "sglang"
GROWTH = ((20, 2048, 8, 8), (35, 4096, 48, 160), (60, 4096, 32, 160), (160, 8192, 256, 512))
"""GPUs below so many GiB: tokens of a prefill chunk, and sequences of the largest graph below and from TP 4."""
LARGEST = (16384, 512)
"""The same for larger ones."""


class Capacity(NamedTuple):
    """Tokens of a prefill chunk, and sequences of the largest graph of a decode step."""

    chunk: int
    graph: int


def capacity(total: int, tensor: int = 1) -> Capacity:
    """The defaults on a GPU of `total` bytes."""
    for below, chunk, few, many in GROWTH:
        if total < below * 1024 * MIB:
            return Capacity(chunk, few if tensor < 4 else many)
    return Capacity(*LARGEST)


def prefill_sizes(largest: int) -> int:
    """How many sizes of a prefill are captured (generate_prefill_cuda_graph_batch_sizes)."""
    ranges = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256), (4608, largest + 1, 512))
    return sum(size <= largest for start, stop, step in ranges for size in range(start, stop, step))


def reserved(total: int, sizes: Capacity, place: Place, mla: bool = False, attention: int = 1) -> float:
    """Bytes that are left for what is not static; `attention`: replicas of it."""
    graphs: float = 2 * sizes.graph + (1536 if mla else 8 * prefill_sizes(sizes.chunk))
    if attention > 1:
        graphs += sizes.graph * attention * (4.5 if sizes.graph > 300 else 3)
    slack = constant(ENGINE, "slack_MiB") + constant(ENGINE, "token_MiB") * max(sizes.chunk, 2048)
    all_ = slack + 1024 * place.tensor * place.pipeline / 8 + graphs
    floor = constant(ENGINE, "floor_MiB") if total > 60 * 1024 * MIB else 0
    return float(max(all_, floor) * MIB)


def fraction(total: int, kept: float) -> float:
    """The static fraction that follows (mem_fraction_static)."""
    return round((total - kept) / total, 3)


def pool(before: float, weights: float, share: float) -> float:
    """Bytes for the cache: what is free after the load, less what of the memory `before` it is not static."""
    return max(0.0, before * share - weights)


def half(per_token: float, tokens: int) -> float:
    """Bytes of the keys, or of the values, of a pool for so many tokens: SGLang allocates and names them apart."""
    return per_token * tokens / 2


@answered
def estimates(task: Task, model: Model, corrections: Sequence[Correction]) -> tuple[Estimate, ...]:
    """What the task needs on each of its GPUs, in their order."""
    return on_each(task, lambda at: _estimate(task, model, at, corrections))


def _sizes(task: Task) -> Capacity:
    least = min(gpu.memory for gpu in task.gpus)
    usual = capacity(least, task.layout.tensor)
    chunk = number(task.job, "chunked-prefill-size")
    graph = whole(task.job, usual.graph, "cuda-graph-max-bs", "cuda-graph-max-bs-decode")
    running = number(task.job, "max-running-requests")
    return Capacity(int(chunk) if chunk and chunk > 0 else usual.chunk, min(graph, int(running)) if running else graph)


def _estimate(task: Task, model: Model, at: int, corrections: Sequence[Correction]) -> Estimate:
    gpu, place, sizes = task.gpus[at], Place(task.layout.tensor, task.layout.pipeline, stage_of(task, at)), _sizes(task)
    replicas = whole(task.job, 1, "attn-dp-size")
    kept = reserved(gpu.memory, sizes, place, "mla" in model.config, replicas)
    share = number(task.job, "mem-fraction-static") or fraction(gpu.memory, kept)
    stored, context = weight_format(task, model), context_of(task.job, model)
    weights = on_gpu(model, stored, place.tensor, place.pipeline, place.stage, task.layout.expert)
    outside = _outside(task, model, place, sizes)
    begun = sum(line.bytes.expected for line in outside if line.name in ("CUDA context", "non-torch"))
    first = about("weights", weights, 0.01, "source", f"{stored}, from {model.origin}")
    fixed = corrected((first, *outside), task, gpu, corrections)
    budget = int(max(0, gpu.free - begun) * share)
    counts = stages(model.layers or 0, place.pipeline)
    mine = range(sum(counts[: place.stage]), sum(counts[: place.stage + 1]))
    element = cache_element(said(task.job, "kv-cache-dtype"))
    one = cached(model, context, element, max(1, place.tensor // replicas), mine, sizes.chunk)
    room = left(budget, fixed)
    tokens = int(room.expected / one * context) if one else 0
    line = known("KV cache", one, f"one sequence of {context} tokens; requests share the rest")
    loading = unconverted(task, model, (place.tensor, place.pipeline, place.stage), gpu, gpu.room - begun)
    return Estimate(gpu.index, (*fixed, line), gpu.free, budget, Cache(room, one, context, tokens), loading)


def _outside(task: Task, model: Model, place: Place, sizes: Capacity) -> list[Line]:
    """What the static part is not: there before the load, or after the cache."""
    context = gib(ENGINE, "context_GiB")
    lines = [Line("CUDA context", span(0.8 * context, context, 1.3 * context), "source", "there before the load", True)]
    together = gib(ENGINE, "nccl_GiB") if place.tensor * place.pipeline > 1 else 0.0
    if together:
        lines.append(Line("non-torch", span(0.3 * together, together, 2 * together), "guessed", "NCCL", True))
    batch = Batch(sizes.graph, sizes.chunk)
    work = vllm_peak.forward_peak(model, batch, place, None) + vllm_peak.experts_work(model, batch.tokens, place.tensor)
    lines.append(Line("activation peak", span(0.5 * work, work, 1.5 * work), "guessed", f"{sizes.chunk} tokens", True))
    if not on(task.job, "disable-cuda-graph"):
        graphs = float(MIB * (2 * sizes.graph + 8 * prefill_sizes(sizes.chunk)))
        why = f"up to {sizes.graph} sequences, as SGLang itself reckons them"
        lines.append(Line("CUDA graphs", span(0.3 * graphs, graphs, 2 * graphs), "source", why, True))
    return lines
