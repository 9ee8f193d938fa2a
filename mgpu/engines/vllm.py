"""vLLM's OpenAI server. Facts read from vLLM 0.33.0 and its history (vllm-project/vllm), and run on 0.32.0.

The spec's `quantization` is not rendered: a quantized checkpoint says its own method, and naming awq or gptq
would force the slower kernel (vLLM then does not convert to Marlin). To quantize while
loading, say `args: {quantization: fp8}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Spelling, url
from mgpu.values.plan import Task
from mgpu.values.spec import Job


def names_gpus(version: str | None) -> Literal["uuid", "index"]:
    """Before 0.24 vLLM crashes on UUIDs in CUDA_VISIBLE_DEVICES (vllm-project/vllm#41848)."""
    return "uuid" if _numbers(version) >= (0, 24) else "index"


def variables(task: Task) -> Mapping[str, Any]:
    """The images of before 0.11.2 start a module that ignores a model without its flag (vllm-project/vllm#17172)."""
    return {"positional": task.runtime != "docker" or _numbers(task.version) >= (0, 11, 2)}


def _numbers(version: str | None) -> tuple[int, ...]:
    """The numbers that a version starts with; none for one that is not known."""
    parts = re.match(r"v?([0-9.]*)", version or "")
    return tuple(int(part) for part in parts[1].split(".") if part) if parts else ()


def check(job: Job) -> Iterable[Complaint]:
    """vLLM shares every layer evenly: there is no expert size of its own, and no GGUF (out of core since 0.24)."""
    if job.parallel.expert is not None:
        yield Complaint(
            "vLLM's expert parallel size is tensor x data",
            ("parallel", "expert"),
            "args: {enable-expert-parallel: true}",
        )
    if job.model and job.model.endswith(".gguf"):
        yield Complaint("vLLM does not read GGUF files", ("model",), "engine: llamacpp")


def probe(task: Task) -> Probe:
    """Ready when the model itself is listed; with an API key the list wants it as a bearer token."""
    served = task.job.args.get("served-model-name", task.job.model)
    name = served[0] if isinstance(served, (list, tuple)) else str(served)
    key = next((secret.name for secret in task.job.secrets if secret.name == "VLLM_API_KEY"), None)
    return Probe("http", url(task, "/v1/models"), f'"{name}"', key, within=1800.0)


ENGINE = Engine(
    name="vllm",
    kinds=("inference",),
    version="0.32.0",
    image="vllm/vllm-openai:v{version}",
    entrypoint=("vllm", "serve"),
    package="vllm",
    port=8000,
    dimensions=("tensor", "pipeline", "data"),
    takes=frozenset(("quantization", "context_length", "args", "parallel", "version")),
    requires=frozenset(("model",)),
    owned={
        "model": "model",
        "tensor-parallel-size": "parallel: {tensor: ...}",
        "pipeline-parallel-size": "parallel: {pipeline: ...}",
        "data-parallel-size": "parallel: {data: ...}",
        "max-model-len": "context_length",
        "host": "host",
        "port": "port",
        "api-key": "secrets: [VLLM_API_KEY]",
        "hf-token": "secrets: [HF_TOKEN]",
    },
    shm=16 * 2**30,
    cache="/root/.cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation="--no-{}", equals=True),
    names_gpus=names_gpus,
    check=check,
    probe=probe,
    variables=variables,
)
