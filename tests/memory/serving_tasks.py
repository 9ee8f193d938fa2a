"""Tasks of servers on GPUs that do not exist, for tests of what they need."""

from __future__ import annotations

from typing import Any

from mgpu.engines import engine_named
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, Estimate, Unknown
from mgpu.values.plan import Layout, Task
from mgpu.values.spec import Job
from tests.memory.known import known

SERVERS = ("vllm", "sglang", "llamacpp", "ollama", "tgi", "lmdeploy", "tensorrt-llm")


def task(engine: str, name: str, count: int = 1, size: float = 79.0, **more: Any) -> Task:
    """A task with a model on so many GPUs of so many GiB; the rest as `more` says."""
    gpus = tuple(
        Gpu(index, more.get("product", "h100-sxm"), int(size * GIB), int(more.get("free", size) * GIB))
        for index in range(count)
    )
    stages = more.get("pipeline", count if engine in ("llamacpp", "ollama") else 1)
    job = Job(
        "inference", "llm", engine, True, model=name, context_length=more.get("context"), args=more.get("args", {}),
        quantization=more.get("quantization"), env=more.get("env", {}),
    )  # fmt: skip
    return Task("llm", job, gpus, count, layout=Layout(count // stages, stages), version=more.get("version"))


def estimated(engine: str, name: str, count: int = 1, size: float = 79.0, **more: Any) -> tuple[Estimate, ...]:
    found = engine_named(engine).memory(
        task(engine, name, count, size, **more), known(name), more.get("corrections", ())
    )
    assert not isinstance(found, Unknown), found
    return found
