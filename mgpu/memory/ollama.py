"""A task of Ollama's and its model in, what it needs on each GPU out: as llama.cpp, which it runs, uncalibrated.

The context is OLLAMA_CONTEXT_LENGTH, else 4096, 32768 or 262144 tokens by the memory of all GPUs
(ollama/ollama docs/context-length.mdx at 948f69330), times OLLAMA_NUM_PARALLEL. A tag that names no quantization is
taken for Q4_K_M, as most are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mgpu.memory import llamacpp
from mgpu.memory.serving import number, whole
from mgpu.values.memory import GIB, Correction, Estimate, Unknown
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.said import said

BY_MEMORY = ((24, 4096), (48, 32768))
"""GPUs that have less than so many GiB together: the context that it takes."""
LARGEST = 262144
BATCH = 512


def context(task: Task, model: Model) -> int:
    """Tokens of the context: as said, else by the GPUs, and never more than the model knows."""
    if task.job.context_length:
        return task.job.context_length
    overhead = int(number(task.job, "OLLAMA_GPU_OVERHEAD") or 0)
    together = sum(gpu.memory - overhead for gpu in task.gpus)
    usual = next((tokens for below, tokens in BY_MEMORY if together < below * GIB), LARGEST)
    return min(usual, model.context or usual)


def estimates(
    task: Task, model: Model | None, corrections: Sequence[Correction] = ()
) -> tuple[Estimate, ...] | Unknown:
    """What the task needs on each of its GPUs, in their order; those that it leaves idle need nothing."""
    if model is None or not task.gpus:
        return llamacpp.estimates(task, model, corrections)
    requests = whole(task.job, 1, "OLLAMA_NUM_PARALLEL")
    kind = said(task.job, "OLLAMA_KV_CACHE_TYPE")
    args = {"cache-type-k": kind, "cache-type-v": kind, "parallel": requests} if kind else {"parallel": requests}
    job = replace(task.job, context_length=context(task, model) * requests, args=args)
    asked = replace(task, job=job, split=())
    found = _on_one(asked, task, model) or llamacpp.estimates(asked, model, ())
    return found if isinstance(found, Unknown) else tuple(_guessed(one) for one in found)


def _on_one(asked: Task, task: Task, model: Model) -> tuple[Estimate, ...] | None:
    """With all layers on the GPU that has the most free, unless it is to spread; None where they do not fit there
    (docs/faq.mdx: a model that fits entirely on any single GPU is loaded there)."""
    spread = (task.job.parallel.pipeline or 1) > 1 or said(task.job, "OLLAMA_SCHED_SPREAD") in (True, 1, "1", "true")
    if spread or len(task.gpus) == 1:
        return None
    best = max(range(len(task.gpus)), key=lambda at: task.gpus[at].room)
    count = len(llamacpp.stored_of(model, task.job.model, task.job.quantization).layers)
    packed = replace(asked, split=tuple(count if at == best else 0 for at in range(len(task.gpus))))
    found = llamacpp.estimates(packed, model, ())
    return None if isinstance(found, Unknown) or found[best].over() > 0 else found


def _guessed(one: Estimate) -> Estimate:
    lines = tuple(line._replace(source="guessed", why=f"{line.why} (uncalibrated)") for line in one.lines)
    return replace(one, lines=lines)
