"""A task in, the changes to its job that make it need less of a GPU's memory out, by engine.

Costs as in `Knob`: 0 nothing, 1 speed, 2 requests at once, 3 context, 4 accuracy. The context is the planner's to cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from mgpu.catalog.engine_memory import constant
from mgpu.catalog.models import by_name
from mgpu.catalog.variants import variants
from mgpu.memory.serving import number, on, weight_format
from mgpu.values.memory import Knob
from mgpu.values.plan import Task
from mgpu.values.said import said, written

FILES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""Kinds of GGUF files from large to small, as most repositories have them."""
SIXTEEN = ("bf16", "fp16", "fp32")
SEQUENCES = (256, 128, 64, 32, 16, 8)


def _flag(task: Task, name: str, value: object, what: str, cost: int) -> Knob:
    return Knob(("args", written(task.job, name)), value, what, cost)


def _at_load(task: Task) -> Iterator[Knob]:
    """FP8 as the weights are loaded, where nobody is known to have published them so: that loads half as many bytes."""
    model = by_name(task.job.model or "")
    stored = weight_format(task, model) if model else "bf16"
    published = model and any(variant.format.startswith("fp8") for variant in variants(model.id))
    if stored in SIXTEEN and said(task.job, "quantization") is None and not published:
        yield _flag(task, "quantization", "fp8", "weights in FP8, converted at load", 4)


def _fp8_cache(task: Task, flag: str = "kv-cache-dtype", value: str = "fp8") -> Iterator[Knob]:
    if str(said(task.job, flag) or "auto") in ("auto", "bfloat16", "float16"):
        yield _flag(task, flag, value, "keys and values in 8 bits: twice the tokens", 4)


def _sequences(task: Task, flag: str, usual: int) -> Iterator[Knob]:
    now = int(number(task.job, flag) or usual)
    for count in SEQUENCES:
        if count < now:
            yield _flag(task, flag, count, f"at most {count} requests at once, not {now}", 2)


def vllm(task: Task) -> Iterator[Knob]:
    """What vLLM can be told."""
    from mgpu.memory.vllm_peak import defaults

    if not task.gpus:
        return
    least = min(task.gpus, key=lambda gpu: gpu.memory)
    usual = defaults(least.memory, least.product or least.name, task.version, task.job.context_length or 0)
    yield from _utilization(task)
    if not on(task.job, "enforce-eager"):
        yield _flag(task, "enforce-eager", True, "no CUDA graphs", 1)
    tokens = int(number(task.job, "max-num-batched-tokens") or usual.tokens)
    for count in (4096, 2048):
        if count < tokens:
            yield _flag(task, "max-num-batched-tokens", count, f"{count} tokens computed at once, not {tokens}", 1)
    yield from _sequences(task, "max-num-seqs", usual.seqs)
    yield from _fp8_cache(task)
    yield from _at_load(task)


def _utilization(task: Task) -> Iterator[Knob]:
    """As much as is free once the context is there, in whole percents; less than now where that much is not free."""
    if task.job.gpus.share:
        return
    now = number(task.job, "gpu-memory-utilization") or float(constant("vllm", "utilization", task.version))
    from mgpu.memory.vllm import context_bytes

    before = context_bytes(task)
    most = min(int(100 * max(0.0, gpu.free - before) / gpu.memory) / 100 for gpu in task.gpus)
    if most > 0 and round(most, 2) != round(now, 2):
        what = f"{most:.2f} of the memory instead of {now:.2f}"
        yield _flag(task, "gpu-memory-utilization", most, f"{what}: all that is free", 0)


def sglang(task: Task) -> Iterator[Knob]:
    """What SGLang can be told."""
    from mgpu.memory.sglang import capacity

    if not task.gpus:
        return
    usual = capacity(min(gpu.memory for gpu in task.gpus), task.layout.tensor)
    chunk = int(number(task.job, "chunked-prefill-size") or usual.chunk)
    if chunk > 2048:
        yield _flag(task, "chunked-prefill-size", 2048, f"prompts in chunks of 2048 tokens, not {chunk}", 1)
    yield from _sequences(task, "max-running-requests", usual.graph)
    yield from _fp8_cache(task, value="fp8_e5m2")
    yield from _at_load(task)


def llamacpp(task: Task) -> Iterator[Knob]:
    """What llama.cpp can be told."""
    if str(said(task.job, "cache-type-k") or "f16") in ("f16", "bf16") and task.layout.tensor == 1:
        yield _flag(task, "cache-type-k", "q8_0", "keys in 8 bits", 4)
        yield _flag(task, "cache-type-v", "q8_0", "values in 8 bits", 4)
    model = by_name((task.job.model or "").partition(":")[0])
    if model and model.experts and said(task.job, "cpu-moe") is None:
        yield _flag(task, "cpu-moe", True, "experts in the host's memory", 1)
    repository, _, kind = (task.job.model or "").partition(":")
    if kind.upper() in FILES:
        for smaller in FILES[FILES.index(kind.upper()) + 1 :]:
            yield Knob(("model",), f"{repository}:{smaller}", f"the file in {smaller}", 4)


def ollama(task: Task) -> Iterator[Knob]:
    """What Ollama can be told."""
    if said(task.job, "OLLAMA_KV_CACHE_TYPE") is None:
        yield _flag(task, "OLLAMA_KV_CACHE_TYPE", "q8_0", "keys and values in 8 bits", 4)
    if (number(task.job, "OLLAMA_NUM_PARALLEL") or 1) > 1:
        yield _flag(task, "OLLAMA_NUM_PARALLEL", 1, "one request at once", 2)


def filling(task: Task) -> Iterator[Knob]:
    """What TGI, LMDeploy and TensorRT-LLM can be told."""
    flag = {"tgi": "max-batch-prefill-tokens", "lmdeploy": "max-prefill-token-num"}.get(
        task.job.engine, "max-num-tokens"
    )
    if (number(task.job, flag) or 8192) > 2048:
        yield _flag(task, flag, 2048, "2048 tokens computed at once", 1)
    if task.job.engine == "lmdeploy" and said(task.job, "quant-policy") is None:
        yield _flag(task, "quant-policy", 8, "keys and values in 8 bits", 4)


def diffusers(task: Task) -> Iterator[Knob]:
    """What mgpu's program for diffusers can be told."""
    if task.layout.pipeline == 1 and not said(task.job, "cpu-offload") and not said(task.job, "ulysses-degree"):
        yield _flag(task, "cpu-offload", True, "components wait in the host's memory", 1)
    if (number(task.job, "images-per-prompt") or 1) > 1:
        yield _flag(task, "images-per-prompt", 1, "one picture at once", 2)


def pictures(task: Task) -> Iterator[Knob]:
    """What xDiT can be told."""
    flag = "enable-model-cpu-offload"
    if not said(task.job, flag):
        yield _flag(task, flag, True, "components wait in the host's memory", 1)
