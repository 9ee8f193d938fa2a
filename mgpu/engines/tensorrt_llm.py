"""TensorRT-LLM's trtllm-serve. Facts read from its CLI reference at 029e223, and serve.py at 00209af (about 1.2).

Its flags have underscores. `config` is its YAML file: in 1.2 that wins over the command line, later the command line
wins, so nothing may be said in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mgpu.catalog.flags import numbers
from mgpu.catalog.repositories import local
from mgpu.catalog.shards import equal_shares, fp8, fp8_cache, heads_as_placed, heads_as_said, on_gpus
from mgpu.memory import estimates_of
from mgpu.memory.limits import limit_of
from mgpu.values.asking import one_token, url
from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Hub, Naming, Spelling
from mgpu.values.plan import Task
from mgpu.values.said import said
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob

CONFIG = "config.yaml"
EXPERT = ("parallel", "expert")


def names_gpus(_: str | None) -> Naming:
    """That it takes UUIDs is written nowhere; numbers it takes in every version."""
    return "index"


def check(job: Job) -> Iterable[Complaint]:
    """Experts are shared within the tensor parallel GPUs, and a setting stands in one place."""
    tensor, expert = job.parallel.tensor, job.parallel.expert
    if tensor and expert and tensor % expert:
        yield Complaint(f"experts are shared within tensor: {tensor}, which {expert} does not divide", EXPERT)
    yield from heads_as_said(job, "TensorRT-LLM", stages=True)
    cache = job.config.get("kv_cache_config")
    if job.gpus.share and isinstance(cache, Mapping) and "free_gpu_memory_fraction" in cache:
        message = "free_gpu_memory_fraction and share both say how much of a GPU it may have"
        at = ("config", "kv_cache_config", "free_gpu_memory_fraction")
        yield Complaint(message, at, "keep one of them", key=True)
    flags = {name.replace("-", "_") for name in job.args}
    for name in job.config:
        if name in flags:
            message = f"{name} is under args too, and which of them counts differs between versions"
            yield Complaint(message, ("config", name), "keep one of them", key=True)


def fits(task: Task) -> Iterable[Complaint]:
    """What `check` could not tell, for the GPUs came from the machine."""
    yield from on_gpus(task, "TensorRT-LLM", anywhere=True)
    tensor, expert = task.layout.tensor, task.layout.expert
    yield from heads_as_placed(task, "TensorRT-LLM", stages=True)
    if tensor * task.layout.pipeline > 1:
        yield from equal_shares(task, "TensorRT-LLM")
    yield from fp8(task, "TensorRT-LLM", (), None)
    yield from fp8_cache(task, "TensorRT-LLM", "kv-cache-dtype")
    if not task.job.parallel.tensor and tensor % expert:
        yield Complaint(f"experts are shared within tensor: {tensor}, which {expert} does not divide", EXPERT)


def files(task: Task) -> Mapping[str, Any]:
    """The config file, where the spec has one."""
    return {CONFIG: task.job.config} if task.job.config else {}


def variables(task: Task) -> Mapping[str, Any]:
    """Before 1.2 the config file had another flag."""
    return {"old": () < numbers(task.version) < (1, 2)}


def probe(task: Task) -> Probe:
    """Ready when the model is listed and writes a token. It lists a folder by its last name only (OpenAIServer)."""
    model = task.job.model or ""
    name = model.rstrip("/").rpartition("/")[2] if local(model) else model
    return Probe("http", url(task, "/v1/models"), f'{name}"', within=3600.0, trial=one_token(task, name))


def hub(task: Task) -> Hub | None:
    """All of a repository but the weights in their first format."""
    model, revision = task.job.model or "", said(task.job, "revision")
    return None if local(model) else Hub(model, chosen, str(revision) if revision else None)


def chosen(files: Sequence[str], _: object) -> list[str]:
    """What does not lie in the folder `original`."""
    return [file for file in files if not file.startswith("original/")]


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it need less."""
    from mgpu.memory import knobs

    return knobs.filling(task)


ENGINE = Engine(
    name="tensorrt-llm",
    kinds=("inference",),
    version="1.2.1",
    image="nvcr.io/nvidia/tensorrt-llm/release:{version}",
    package="tensorrt_llm",
    port=8000,
    dimensions=("tensor", "pipeline", "expert"),
    revision="revision",
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version", "config")),
    requires=frozenset(("model",)),
    lists={"args": "tensorrt-llm"},
    owned={
        "tensor_parallel_size": "parallel: {tensor: ...}",
        "tp_size": "parallel: {tensor: ...}",
        "pipeline_parallel_size": "parallel: {pipeline: ...}",
        "pp_size": "parallel: {pipeline: ...}",
        "moe_expert_parallel_size": "parallel: {expert: ...}",
        "ep_size": "parallel: {expert: ...}",
        "max_seq_len": "context_length",
        "gpus_per_node": "gpus",
        "host": "host",
        "port": "port",
        "config": "config",
        "extra_llm_api_options": "config",
    },
    config=CONFIG,
    shm=16 * 2**30,
    ulimits=(("memlock", -1), ("stack", 64 * 2**20)),
    cache="/root/.cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    names_gpus=names_gpus,
    check=check,
    fits=fits,
    files=files,
    probe=probe,
    variables=variables,
    hub=hub,
    memory=estimates_of("uncalibrated"),
    knobs=knobs,
    limit=limit_of("tensorrt_llm", "free_gpu_memory_fraction", "kv_cache_free_gpu_memory_fraction"),
)
"""Its documentation gives a container the host's memory (--ipc host) and names no size: this is what vLLM has. The
limits are those of its quick start."""
