"""The registry: one module an engine, one line here."""

from mgpu.engines import (
    a1111,
    accelerate,
    axolotl,
    comfyui,
    custom,
    deepspeed,
    diffusers,
    forge,
    kohya,
    llamacpp,
    llamafactory,
    lmdeploy,
    ollama,
    sglang,
    task,
    tensorrt_llm,
    tgi,
    torchrun,
    trl,
    vllm,
    xdit,
)
from mgpu.values.engine import Engine

ENGINES: tuple[Engine, ...] = (
    vllm.ENGINE,
    sglang.ENGINE,
    tensorrt_llm.ENGINE,
    lmdeploy.ENGINE,
    tgi.ENGINE,
    ollama.ENGINE,
    llamacpp.ENGINE,
    comfyui.ENGINE,
    a1111.ENGINE,
    forge.ENGINE,
    diffusers.ENGINE,
    xdit.ENGINE,
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
