"""A task of TGI's, LMDeploy's or TensorRT-LLM's and its model in, what it needs on each GPU out, uncalibrated.

All three fill a share of the memory with their cache, after weights and a first pass: only that share is their own.
TGI: what is free after a prefill of max_batch_prefill_tokens, less (1 - cuda_memory_fraction) and (1 - wiggle room) of
all (its utils/import_utils.py: get_cuda_free_memory; models/__init__.py, flash_causal_lm.py: warmup). LMDeploy:
cache-max-entry-count of what is free after the load (0.8). TensorRT-LLM: kv_cache_free_gpu_memory_fraction of what is
free after the load (0.9).
"""

from __future__ import annotations

from collections.abc import Sequence

from mgpu.catalog.engine_memory import constant, gib
from mgpu.memory import vllm_peak
from mgpu.memory.cache import cached
from mgpu.memory.serving import (
    answered,
    cache_element,
    context_of,
    corrected,
    known,
    number,
    on_each,
    stage_of,
    weight_format,
    whole,
)
from mgpu.memory.vllm_peak import Batch, Place
from mgpu.memory.weights import on_gpu, stages
from mgpu.values.memory import GIB, Cache, Correction, Estimate, Line, Span, span
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.said import said

SHARES = {
    "lmdeploy": (("cache-max-entry-count",), 0.8),
    "tensorrt-llm": (("free-gpu-memory-fraction", "kv-cache-free-gpu-memory-fraction"), 0.9),
}
"""The flag (by each of its names) that says which part of what is free the cache gets, and what that is by default."""
TOKENS = {"tgi": ("max-batch-prefill-tokens", 4096), "lmdeploy": ("max-prefill-token-num", 8192),
          "tensorrt-llm": ("max-num-tokens", 8192)}  # fmt: skip
"""The flag that says how many tokens are computed at once, and how many if nobody does."""
CACHE = {"lmdeploy": "quant-policy", "tgi": "kv-cache-dtype", "tensorrt-llm": "kv-cache-dtype"}
HINT = "uncalibrated"


@answered
def estimates(task: Task, model: Model, corrections: Sequence[Correction]) -> tuple[Estimate, ...]:
    """What the task needs on each of its GPUs, in their order."""
    return on_each(task, lambda at: _estimate(task, model, at, corrections))


def budget(task: Task, free: int, total: int, weights: float, rest: float) -> int:
    """Bytes that the engine lets itself have for weights, a first pass and cache."""
    if task.job.engine == "tgi":
        share = number(task.job, "cuda-memory-fraction") or float(constant("tgi", "fraction"))
        return int(free - total * (1 - share) - total * (1 - float(constant("tgi", "wiggle"))))
    flags, usual = SHARES[task.job.engine]
    share = number(task.job, *flags) or usual
    return int(weights + rest + max(0.0, free - weights - rest) * share)


def _estimate(task: Task, model: Model, at: int, corrections: Sequence[Correction]) -> Estimate:
    gpu, job = task.gpus[at], task.job
    place = Place(task.layout.tensor, task.layout.pipeline, stage_of(task, at))
    stored, context = weight_format(task, model), context_of(job, model)
    weights = on_gpu(model, stored, place.tensor, place.pipeline, place.stage, task.layout.expert)
    first = _line("weights", weights, 0.99, 1.03, f"{stored}, from {model.origin}")
    lines = corrected((first, *_rest(task, model, place)), task, gpu, corrections)
    rest = sum(line.bytes.expected for line in lines[1:])
    mine, element = _layers(model, place), _element(task)
    one = cached(model, context, element, place.tensor, mine)
    allowed = budget(task, gpu.free, gpu.memory, weights, rest)
    room = Span(*(max(0, allowed - sum(line.bytes[column] for line in lines)) for column in (2, 1, 0)))
    tokens = int(room.expected / one * context) if one else 0
    cache = known("KV cache", one, f"one sequence of {context} tokens", "guessed")
    return Estimate(gpu.index, (*lines, cache), gpu.free, allowed, Cache(room, one, context, tokens))


def _layers(model: Model, place: Place) -> range:
    counts = stages(model.layers or 0, place.pipeline)
    return range(sum(counts[: place.stage]), sum(counts[: place.stage + 1]))


def _element(task: Task) -> float:
    kind = said(task.job, CACHE[task.job.engine])
    return {4: 0.5625, 8: 1.0}.get(kind, 2.0) if isinstance(kind, int) else cache_element(kind)


def _rest(task: Task, model: Model, place: Place) -> list[Line]:
    """Everything but weights and cache."""
    flag, usual = TOKENS[task.job.engine]
    tokens = whole(task.job, usual, flag)
    work = vllm_peak.forward_peak(model, Batch(256, tokens), place, None)
    work += 2.0 * min(256, tokens) * (model.vocabulary or 0) + vllm_peak.experts_work(model, tokens, place.tensor)
    context = gib("tgi", "context_GiB") + (0.8 * GIB if place.tensor * place.pipeline > 1 else 0)
    return [
        _line("activation peak", work, 0.5, 1.8, f"a first pass of {tokens} tokens"),
        _line("CUDA context", context, 0.6, 2.0, "with NCCL" if place.tensor > 1 else "of the process"),
    ]


def _line(name: str, size: float, low: float, high: float, why: str) -> Line:
    return Line(name, span(size * low, size, size * high), "guessed", f"{why} ({HINT})")
