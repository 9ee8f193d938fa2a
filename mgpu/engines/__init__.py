"""The registry: one module an engine, one line here."""

from mgpu.engines import (
    accelerate,
    axolotl,
    custom,
    deepspeed,
    kohya,
    llamacpp,
    llamafactory,
    sglang,
    task,
    torchrun,
    trl,
    vllm,
)
from mgpu.values.engine import Engine

ENGINES: tuple[Engine, ...] = (
    vllm.ENGINE,
    sglang.ENGINE,
    llamacpp.ENGINE,
    torchrun.ENGINE,
    deepspeed.ENGINE,
    accelerate.ENGINE,
    kohya.ENGINE,
    axolotl.ENGINE,
    llamafactory.ENGINE,
    trl.ENGINE,
    custom.ENGINE,
    task.ENGINE,
)

_NAMED = {engine.name: engine for engine in ENGINES}


def engine_named(name: str) -> Engine:
    """The engine of this name. Raises KeyError for a name that the spec's check would have refused."""
    return _NAMED[name]
