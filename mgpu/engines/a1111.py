"""AUTOMATIC1111's stable-diffusion-webui. Facts of its level 1.10 (f4cb21bb, and e26abf87 of Forge's history)."""

from __future__ import annotations

from collections.abc import Sequence

from mgpu.values.engine import Engine
from mgpu.values.memory import Correction, Estimate, Unknown
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.webui import OWNED, SPELLING, check, environment, probe, variables


def memory(task: Task, model: Model | None, corrections: Sequence[Correction]) -> tuple[Estimate, ...] | Unknown:
    """What it needs on each of its GPUs."""
    from mgpu.memory.diffusion import estimates

    return estimates(task, model, corrections)


ENGINE = Engine(
    name="a1111",
    kinds=("inference",),
    version="1.10.1",
    port=7860,
    takes=frozenset(("args", "version")),
    lists={"args": "a1111"},
    owned=OWNED | {"device-id": "gpus"},
    spelling=SPELLING,
    check=check,
    probe=probe,
    variables=variables,
    environment=environment,
    memory=memory,
)
