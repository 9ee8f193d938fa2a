"""stable-diffusion-webui-forge. Facts read at dfdcbab6 (2025-06-26): A1111's server with a memory manager of its own.

It reads the flag --device-id and does nothing with it; its own is --gpu-device-id. mgpu gives neither.
"""

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
    name="forge",
    kinds=("inference",),
    version="2025.06.26",
    port=7860,
    takes=frozenset(("args", "version")),
    lists={"args": "forge"},
    owned=OWNED | {"device-id": "gpus", "gpu-device-id": "gpus"},
    spelling=SPELLING,
    check=check,
    probe=probe,
    variables=variables,
    environment=environment,
    memory=memory,
)
