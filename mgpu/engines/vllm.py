"""vLLM's OpenAI server. Facts read from vLLM 0.33.0 and its history (vllm-project/vllm), and run on 0.32.0.

The spec's `quantization` is not rendered: a quantized checkpoint says its own method, and naming awq or gptq
would force the slower kernel (vLLM then does not convert to Marlin). To quantize while
loading, say `args: {quantization: fp8}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mgpu.catalog.flags import numbers
from mgpu.catalog.limits import context
from mgpu.catalog.models import by_name
from mgpu.catalog.repositories import loaded
from mgpu.catalog.shards import equal_shares, fp8, fp8_cache, heads_as_placed, heads_as_said, new_enough, on_gpus
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import listed_and_asked
from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Hub, Naming, Spelling
from mgpu.values.plan import Task
from mgpu.values.said import said
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

KEY = "VLLM_API_KEY"


def names_gpus(version: str | None) -> Naming:
    """Before 0.24 vLLM crashes on UUIDs in CUDA_VISIBLE_DEVICES (vllm-project/vllm#41848)."""
    return "uuid" if numbers(version) >= (0, 24) else "index"


def variables(task: Task) -> Mapping[str, Any]:
    """The images of before 0.11.2 start a module that ignores a model without its flag (vllm-project/vllm#17172)."""
    known = numbers(task.version)
    return {"positional": task.runtime != "docker" or not known or known >= (0, 11, 2)}


def check(job: Job) -> Iterable[Complaint]:
    """vLLM shares every layer evenly: there is no expert size of its own, and no GGUF (out of core since 0.24)."""
    if job.parallel.expert is not None:
        yield Complaint(
            "vLLM's expert parallel size is tensor x data",
            ("parallel", "expert"),
            "args: {enable-expert-parallel: true}",
        )
    model = by_name(job.model or "") if said(job, EXPERTS) else None
    if model and not model.experts:
        yield Complaint(f"{model.id} has no experts to share", ("args", EXPERTS), "remove it")
    if job.model and job.model.endswith(".gguf"):
        yield Complaint("vLLM does not read GGUF files", ("model",), "engine: llamacpp")
    yield from heads_as_said(job, "vLLM", stages=True)
    yield from context(job, "vLLM", "VLLM_ALLOW_LONG_MAX_MODEL_LEN", ("hf-overrides", "rope-scaling"))


EXPERTS = "enable-expert-parallel"


ALONE = (0, 9, 2)
"""Versions before this one profile the GPU as if nobody else used it (vllm-project/vllm#18974, #19312)."""
VOLTA, TURING, AMPERE = (7, 0), (7, 5), (8, 0)


def fits(task: Task) -> Iterable[Complaint]:
    """Equal shares, and FP8 where the GPUs have no units for it: weight only from 7.5 on (Marlin; docs, fp8.md).

    Its builds are for CUDA 13 since 0.20, which has left Volta out (vllm-project/vllm#39878); before that AWQ alone
    needed 7.5, as MXFP4 still needs 8.0 (awq.py, mxfp4.py: get_min_capability).
    """
    yield from on_gpus(task, "vLLM")
    known = numbers(task.version)
    yield from new_enough(task, "vLLM", TURING if not known or known >= (0, 20) else VOLTA)
    if known and known < (0, 20) and "awq" in f"{task.job.quantization} {task.job.model}".lower():
        yield from new_enough(task, "vLLM", TURING, " and AWQ")
    model = by_name(task.job.model or "")
    if model and "mxfp4" in (model.dtype or "") and task.job.quantization in (None, "mxfp4"):
        yield from new_enough(task, "vLLM", AMPERE, " and MXFP4")
    if task.job.gpus.share and () < known < ALONE:
        message = f"vLLM {task.version} counts what others have on a GPU against its own memory"
        yield Complaint(message, ("gpus", "share"), "a newer version, or start it before the others", warning=True)
    yield from heads_as_placed(task, "vLLM", stages=True)
    if task.layout.tensor * task.layout.pipeline > 1:
        yield from equal_shares(task, "vLLM")
    yield from fp8(task, "vLLM", ("quantization",), (7, 5))
    yield from fp8_cache(task, "vLLM", "kv-cache-dtype")


def probe(task: Task) -> Probe:
    """Ready when the model itself is listed and writes a token: a broken one is healthy until it is asked. With an API
    key both want it as a bearer token."""
    return listed_and_asked(task, "served-model-name", KEY, within=1800.0)


ANY = ("consolidated*.safetensors", "*.safetensors", "*.bin", "*.pt")
"""The weights that it looks for, the first that there are."""


def hub(task: Task) -> Hub | None:
    """The configuration and the weights of a repository, as default_loader.py and weight_utils.py choose them."""
    return loaded(task.job, "vLLM", ANY)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.vllm(task)


ENGINE = Engine(
    name="vllm",
    kinds=("inference",),
    version="0.32.0",
    image="vllm/vllm-openai:v{version}",
    entrypoint=("vllm", "serve"),
    package="vllm",
    port=8000,
    dimensions=("tensor", "pipeline", "data"),
    revision="revision",
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version")),
    requires=frozenset(("model",)),
    lists={"args": "vllm"},
    owned={
        "model": "model",
        "tensor-parallel-size": "parallel: {tensor: ...}",
        "pipeline-parallel-size": "parallel: {pipeline: ...}",
        "data-parallel-size": "parallel: {data: ...}",
        "max-model-len": "context_length",
        "host": "host",
        "port": "port",
        "api-key": f"secrets: [{KEY}]",
        "hf-token": "secrets: [HF_TOKEN]",
    },
    key=KEY,
    shm=16 * 2**30,
    cache="/root/.cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation="--no-{}", equals=True),
    names_gpus=names_gpus,
    check=check,
    fits=fits,
    probe=probe,
    variables=variables,
    hub=hub,
    memory=estimates_of("vllm"),
    knobs=knobs,
    limit=limit_of("vllm", "gpu-memory-utilization", "kv-cache-memory-bytes", "kv-cache-memory"),
)
