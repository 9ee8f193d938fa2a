"""A task whose GPUs have a budget in, the flags that keep its engine within it out, as each engine means them.

What an engine counts in fractions of what is free depends on what is free when it starts: `Gpu.free` of such a task, in
which others have filled their shares. Numbers are cut so that an engine never has more than its budget, as far as the
estimate of the task is right; of what it takes beside what the flag bounds the highest estimate is left to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from math import ceil, floor
from typing import Any

from mgpu.values.limit import Limit
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, Estimate, Unknown
from mgpu.values.model import Model
from mgpu.values.plan import Task

LEAST = 0.01
"""The smallest fraction that is given: one that is too small for anything is for the estimate to refuse."""
THERE = ("CUDA context", "non-torch")
"""Lines of what is there before SGLang looks at what is free."""


def limit_of(name: str, *flags: str) -> Limit:
    """The limit that the function `name` of this module reckons; `flags` are those that a job would say it with. It is
    read when it is asked."""

    def args(task: Task, model: Model | None) -> Mapping[str, Any]:
        found: Mapping[str, Any] = getattr(import_module(__name__), name)(task, model)
        return found

    return Limit(flags, args)


def takes_what_it_needs(_: Task, __: Model | None) -> Mapping[str, Any]:
    """Of an engine that allocates once, by its context, and fills nothing up: the estimate alone has to fit."""
    return {}


def _cut(fractions: Iterable[float]) -> float:
    """The least of them, in thousandths, never rounded up."""
    return max(LEAST, floor(round(min(fractions) * 1000, 6)) / 1000)


def _budget(gpu: Gpu) -> int:
    return gpu.free if gpu.budget is None else gpu.budget


def _known(module: str, task: Task, model: Model | None) -> tuple[Estimate, ...] | None:
    found = import_module(f"mgpu.memory.{module}").estimates(task, model, ())
    return None if isinstance(found, Unknown) else found


def vllm(task: Task, model: Model | None) -> Mapping[str, Any]:
    """A fraction of all the memory, which each instance counts for itself (vllm-project/vllm#18974, #19312): it holds
    what vLLM sees of its own, and beside it there is what came before it looked and comes after its profile."""
    from mgpu.memory.vllm import context_bytes

    estimates = _known("vllm", task, model)
    if estimates is None:
        beside = [1.3 * context_bytes(task)] * len(task.gpus)
    else:
        beside = [float(sum(line.bytes.high for line in one.lines if line.outside)) for one in estimates]
    pairs = zip(task.gpus, beside, strict=True)
    return {"gpu-memory-utilization": _cut((_budget(gpu) - more) / gpu.memory for gpu, more in pairs)}


def sglang(task: Task, model: Model | None) -> Mapping[str, Any]:
    """A fraction of what is free before the load, for weights and cache (model_runner_kv_cache_mixin.py: the pool is
    what is free after it, less the rest of that fraction). Where the model is not known the rest is as large as SGLang
    itself reckons it."""
    estimates = _known("sglang", task, model)
    fractions = []
    for at, gpu in enumerate(task.gpus):
        lines = estimates[at].lines if estimates else ()
        outside = sum(line.bytes.high for line in lines if line.outside) or _rest(task, gpu)
        before = sum(line.bytes.low for line in lines if line.name in THERE)
        fractions.append((_budget(gpu) - outside) / max(1, gpu.free - before))
    return {"mem-fraction-static": _cut(fractions)}


def _rest(task: Task, gpu: Gpu) -> float:
    from mgpu.catalog.engine_memory import gib
    from mgpu.memory.sglang import capacity, reserved
    from mgpu.memory.vllm_peak import Place

    place = Place(task.layout.tensor, task.layout.pipeline)
    return 1.3 * gib("sglang", "context_GiB") + reserved(gpu.memory, capacity(gpu.memory, place.tensor), place)


def lmdeploy(task: Task, model: Model | None) -> Mapping[str, Any]:
    """A fraction of what is free once the weights are there, for the cache (BlockManager.cc: GetBlockCount)."""
    return {"cache-max-entry-count": _of_the_rest(task, model)}


def tensorrt_llm(task: Task, model: Model | None) -> Mapping[str, Any]:
    """The same (KvCacheConfig.free_gpu_memory_fraction)."""
    return {"free_gpu_memory_fraction": _of_the_rest(task, model)}


def _of_the_rest(task: Task, model: Model | None) -> float:
    """Raises ValueError where the sizes of the weights are not known."""
    estimates = _known("uncalibrated", task, model)
    if estimates is None:
        why = f"its cache is a part of what the weights leave free, and the sizes of {task.job.model} are not known"
        raise ValueError(why)
    fractions = []
    for gpu, one in zip(task.gpus, estimates, strict=True):
        others = [line.bytes for line in one.lines if line.name != "KV cache"]
        most, least = sum(size.high for size in others), sum(size.low for size in others)
        fractions.append((_budget(gpu) - most) / max(1, gpu.free - least))
    return _cut(fractions)


def tgi(task: Task, _: Model | None) -> Mapping[str, Any]:
    """A fraction of all the memory, of which what others have in use is taken off (utils/import_utils.py:
    get_cuda_free_memory is what is free less 1 - fraction of all): so theirs is added."""
    return {"cuda-memory-fraction": _cut((_budget(gpu) + gpu.memory - gpu.free) / gpu.memory for gpu in task.gpus)}


def ollama(task: Task, _: Model | None) -> Mapping[str, Any]:
    """Bytes that stay free on each GPU where layers are placed (server/sched.go), and no second model beside the first.
    The least that a share leaves, so that what others have taken by then is not left once more."""
    return {
        "OLLAMA_GPU_OVERHEAD": max(0, *(gpu.free - _budget(gpu) for gpu in task.gpus)),
        "OLLAMA_MAX_LOADED_MODELS": 1,
    }


def comfyui(task: Task, _: Model | None) -> Mapping[str, Any]:
    """GiB that stay free whenever a model is loaded (comfy/model_management.py: EXTRA_RESERVED_VRAM; with dynamic VRAM
    it is the headroom of comfy-aimdo, main.py)."""
    kept = max(0, *(gpu.free - _budget(gpu) for gpu in task.gpus))
    return {"reserve-vram": ceil(round(kept / GIB * 100, 6)) / 100}
