"""The registry: one module an engine, one line here."""

from mgpu.engines import custom, llamacpp, lmdeploy, ollama, sglang, task, tensorrt_llm, tgi, torchrun, vllm
from mgpu.values.engine import Engine

ENGINES: tuple[Engine, ...] = (
    vllm.ENGINE,
    sglang.ENGINE,
    tensorrt_llm.ENGINE,
    lmdeploy.ENGINE,
    tgi.ENGINE,
    ollama.ENGINE,
    llamacpp.ENGINE,
    torchrun.ENGINE,
    custom.ENGINE,
    task.ENGINE,
)

_NAMED = {engine.name: engine for engine in ENGINES}


def engine_named(name: str) -> Engine:
    """The engine of this name. Raises KeyError for a name that the spec's check would have refused."""
    return _NAMED[name]
