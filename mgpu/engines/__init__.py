"""The registry: one module an engine, one line here. A module is imported when its engine is asked for, not before."""

from functools import cache
from importlib import import_module

from mgpu.values.engine import Engine

INFERENCE, TRAINING, TASK = "inference", "training", "task"

ENGINES: dict[str, tuple[str, ...]] = {
    "vllm": (INFERENCE,),
    "sglang": (INFERENCE,),
    "tensorrt-llm": (INFERENCE,),
    "lmdeploy": (INFERENCE,),
    "tgi": (INFERENCE,),
    "ollama": (INFERENCE,),
    "llamacpp": (INFERENCE,),
    "comfyui": (INFERENCE,),
    "a1111": (INFERENCE,),
    "forge": (INFERENCE,),
    "diffusers": (INFERENCE,),
    "xdit": (INFERENCE,),
    "torchrun": (TRAINING,),
    "deepspeed": (TRAINING,),
    "accelerate": (TRAINING,),
    "kohya": (TRAINING,),
    "axolotl": (TRAINING,),
    "llamafactory": (TRAINING,),
    "trl": (TRAINING,),
    "custom": (INFERENCE, TRAINING),
    "task": (TASK,),
}
"""The engines, and the kinds of job that each does."""


@cache
def engine_named(name: str) -> Engine:
    """The engine of this name. Raises KeyError for a name that the spec's check would have refused."""
    if name not in ENGINES:
        raise KeyError(name)
    engine: Engine = import_module(f"{__name__}.{name.replace('-', '_')}").ENGINE
    return engine


def every() -> tuple[Engine, ...]:
    """Every engine: all modules are imported."""
    return tuple(map(engine_named, ENGINES))
