"""A model, the format of its weights and a layout in, bytes of weights out: of the checkpoint, and on one GPU."""

from __future__ import annotations

from mgpu.values.model import Model


def format_of(name: str | None, quantization: str | None, model: Model) -> str:
    """The format that a job's weights have: what the spec says (`quantization`), what the name of the repository says,
    else as the model is published. One of bf16, fp16, fp32, fp8, int8, awq-int4, gptq-int4, nf4, nf4-double, mxfp4,
    nvfp4, or a GGUF type as Q4_K_M."""
    raise NotImplementedError((name, quantization, model))


def checkpoint(model: Model, stored: str) -> int:
    """Bytes of all weights in this format: exact where the files were read in it."""
    raise NotImplementedError((model, stored))


def on_gpu(model: Model, stored: str, tensor: int = 1, pipeline: int = 1, stage: int = 0, expert: int = 1) -> int:
    """Bytes of weights on one GPU of `stage` (from 0) of `pipeline` stages, each of `tensor` GPUs; `expert` GPUs share
    a layer's experts. Matrices are split evenly, norms copied, layers shared as vLLM does (the first stage has the
    embedding, the last the head, and layers that are left over go to the middle)."""
    raise NotImplementedError((model, stored, tensor, pipeline, stage, expert))


def stages(layers: int, pipeline: int) -> tuple[int, ...]:
    """How many layers each stage has."""
    raise NotImplementedError((layers, pipeline))
