"""llama.cpp's llama-server. Facts read from ggml-org/llama.cpp at commit 0c1e57098 (autumn 2026)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Engine, Spelling, url
from mgpu.values.plan import Task
from mgpu.values.spec import Job


def check(job: Job) -> Iterable[Complaint]:
    """One split mode for all GPUs, and with tensors split the context cannot be fitted (docs/multi-gpu.md)."""
    tensor, count = job.parallel.tensor or 1, job.gpus.count
    if tensor > 1 and count and count != tensor:
        yield Complaint("llama.cpp splits tensors over all of its GPUs", ("parallel", "tensor"), f"tensor: {count}")
    if tensor > 1 and not job.context_length:
        message = "llama.cpp cannot choose the context length itself when it splits tensors"
        yield Complaint(message, ("parallel", "tensor"), "add context_length: 8192")


def probe(task: Task) -> Probe:
    """/health answers 503 while the model loads and 200 once it is there."""
    return Probe("http", url(task, "/health"), '"ok"', within=900.0)


def variables(task: Task) -> Mapping[str, Any]:
    """A model that ends in .gguf is a file; anything else is a repository, which llama-server fetches itself."""
    model = task.job.model or ""
    return {
        "file": model if model.endswith(".gguf") else None,
        "repository": None if model.endswith(".gguf") else model,
    }


ENGINE = Engine(
    name="llamacpp",
    kinds=("inference",),
    version="b10875",
    image="ghcr.io/ggml-org/llama.cpp:server-cuda-{version}",
    entrypoint=("llama-server",),
    port=8080,
    dimensions=("pipeline", "tensor"),
    takes=frozenset(("context_length", "args", "parallel", "version", "quantization")),
    requires=frozenset(("model",)),
    owned={
        "model": "model",
        "m": "model",
        "hf-repo": "model",
        "ctx-size": "context_length",
        "c": "context_length",
        "split-mode": "parallel",
        "host": "host",
        "port": "port",
        "api-key": "secrets: [LLAMA_API_KEY]",
        "hf-token": "secrets: [HF_TOKEN]",
    },
    cache="/root/.cache/huggingface",
    spelling=Spelling(negation="--no-{}", equals=False),
    check=check,
    probe=probe,
    variables=variables,
)
