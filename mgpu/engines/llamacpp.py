"""llama.cpp's llama-server. Facts read from ggml-org/llama.cpp at commit 0c1e57098 (autumn 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgpu.values.command import Probe
from mgpu.values.engine import Engine, Spelling, url
from mgpu.values.plan import Task


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
        "hf-repo": "model",
        "ctx-size": "context_length",
        "split-mode": "parallel",
        "host": "host",
        "port": "port",
    },
    cache="/root/.cache/huggingface",
    spelling=Spelling(negation="--no-{}", equals=False),
    probe=probe,
    variables=variables,
)
