"""A diffusion model, how its parts are quantized and the size of a picture in; bytes after loading and at the peak out.

The peak of a pipeline is the decoding of the picture by the VAE, whose widest states have as many rows as the picture
has pixels; it comes on top of whatever lies on the GPU by then (huggingface/blog diffusers-quantization.md at 0b53cb1,
FLUX.1-dev at 1024 x 1024 on an H100).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mgpu.catalog.engine_memory import gib
from mgpu.memory.serving import answered, corrected, number
from mgpu.values.memory import GIB, Correction, Estimate, Line, span
from mgpu.values.model import Model
from mgpu.values.plan import Task
from mgpu.values.said import said

PER_PIXEL = 4.45 * GIB / 2**20
"""Bytes at the peak for each pixel beyond what was loaded: 4.0 to 5.2 GiB for a picture of a million."""
BYTES = {
    "fp32": 4.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.53125, "nf4": 0.5625, "int2": 0.28125,
    "q8_0": 1.0625, "q6_k": 0.8203, "q5_k": 0.6875, "q5_0": 0.6875, "q5_1": 0.75, "q4_k": 0.5625, "q4_0": 0.5625,
    "q4_1": 0.625, "q3_k": 0.4297, "q2_k": 0.328,
}  # fmt: skip
"""Bytes of a quantized weight: 4 bits with a scale and a zero for each 128 (torchao, quanto), or a scale in fp32 for
each 64 (bitsandbytes without double quantization)."""
WO = 0.2114
"""What of a T5 encoder its `wo` matrices are, which transformers does not quantize: 24 x 10240 x 4096 of 4,762,310,656
(T5PreTrainedModel._keep_in_fp32_modules). bitsandbytes leaves them in fp32, others in 16 bits."""
EMBEDDED = 0.0276
"""What of it the embedding is: 32128 x 4096, 16 bits."""


class Part(NamedTuple):
    """A component of a pipeline: its parameters, and bytes of them."""

    name: str
    params: int
    bytes: float


TOOLS = ("torchao", "quanto", "bitsandbytes", "bnb", "gguf", "nunchaku", "layerwise")
KINDS = (
    (r"(float8|fp8|f8)", "fp8"),
    (r"(int2|2bit)", "int2"),
    (r"(nf4|fp4|nvfp4|svdquant)", "nf4"),
    (r"(q[2-8]_[k01])", ""),
    (r"(bnb|bitsandbytes)_?4|4_?bit", "nf4"),
    (r"(bnb|bitsandbytes)_?8|8_?bit|int8|\bi8", "int8"),
    (r"int4|nunchaku", "int4"),
    (r"fp32|float32", "fp32"),
)
"""What of a word says which kind of weights it means, the first that is in it (empty: as it stands there)."""


def precision(text: str) -> tuple[str, str]:
    """The tool and the kind of weights that a word names: ``torchao_int8``, ``bnb4``, ``gguf-q8_0``, ``bf16``."""
    plain = text.lower().replace("-", "_")
    tool = next((tool for tool in TOOLS if tool in plain), "")
    for pattern, kind in KINDS:
        if found := re.search(pattern, plain):
            return "bnb" if tool == "bitsandbytes" else tool, kind or found[1]
    return tool, "bf16"


def each(text: str) -> tuple[str, float]:
    """The tool, and bytes of a quantized weight."""
    tool, kind = precision(text)
    return tool, BYTES.get(kind, 2.0)


def parts(model: Model, kind: str = "bf16") -> tuple[Part, ...]:
    """The components with their bytes: the quantized ones are the denoiser and T5, the rest is in 16 bits.

    Raises ValueError for a model whose components are not known.
    """
    found: Sequence[Mapping[str, Any]] = model.facts.get("components", ())
    if not found:
        raise ValueError(f"{model.id}: its components are not known")
    tool, size = each(kind)
    return tuple(Part(str(part["name"]), int(part["params"]), _bytes(part, tool, size)) for part in found)


def _bytes(part: Mapping[str, Any], tool: str, size: float) -> float:
    name, params = str(part["name"]).lower(), int(part["params"])
    if size >= 2.0:
        return size * params
    if "t5" in name:
        kept = 4.0 if tool == "bnb" else 2.0
        return params * (WO * kept + EMBEDDED * 2.0 + (1 - WO - EMBEDDED) * size)
    return params * (size if name.startswith(("transformer", "unet")) else 2.0)


def loaded(model: Model, kind: str = "bf16") -> float:
    """Bytes after loading: the components, and what a quantizer needs besides."""
    _, size = each(kind)
    overhead = gib("diffusion", "quantizer_GiB") if size < 2.0 else 0.0
    return sum(part.bytes for part in parts(model, kind)) + overhead


def work(height: int = 1024, width: int = 1024, batch: int = 1) -> float:
    """Bytes at the peak beyond what is loaded."""
    return PER_PIXEL * height * width * max(1, batch)


def peak(
    model: Model, kind: str = "bf16", height: int = 1024, width: int = 1024, batch: int = 1, offload: bool = False
) -> float:
    """Bytes at the peak; with `offload` one component at a time lies on the GPU."""
    base = max(part.bytes for part in parts(model, kind)) if offload else loaded(model, kind)
    return base + work(height, width, batch)


@answered
def estimates(task: Task, model: Model, corrections: Sequence[Correction]) -> tuple[Estimate, ...]:
    """What the task needs on each of its GPUs: each process has a whole pipeline, but where components are spread."""
    shares = _shares(task, model)
    return tuple(_estimate(task, shares[at], at, corrections) for at in range(len(task.gpus)))


def kind_of(task: Task) -> str:
    """The precision of the weights, by the job's flags or the name of its model."""
    asked = said(task.job, "quantization") or task.job.quantization or said(task.job, "dtype")
    if not asked and (found := re.search(r"(nf4|fp8|int8|int4|bnb-4bit|gguf)", (task.job.model or "").lower())):
        asked = found[1].replace("bnb-4bit", "nf4").replace("gguf", "q8_0")
    return str(asked or "bf16")


def _shares(task: Task, model: Model) -> list[list[Part]]:
    """The components on each GPU: all on each, or the largest first where there is most room (device_map balanced)."""
    found, count = list(parts(model, kind_of(task))), len(task.gpus)
    offloading = any(said(task.job, name) for name in ("cpu-offload", "enable-model-cpu-offload", "medvram", "lowvram"))
    if offloading:
        return [[max(found, key=lambda part: part.bytes)]] * count
    if task.layout.pipeline == 1 or count == 1:
        return [found] * count
    homes: list[list[Part]] = [[] for _ in task.gpus]
    for part in sorted(found, key=lambda part: -part.bytes):
        free = [gpu.room - sum(other.bytes for other in home) for gpu, home in zip(task.gpus, homes, strict=True)]
        homes[free.index(max(free))].append(part)
    return homes


def _estimate(task: Task, mine: list[Part], at: int, corrections: Sequence[Correction]) -> Estimate:
    gpu, job = task.gpus[at], task.job
    height, width = (int(number(job, name) or 1024) for name in ("height", "width"))
    batch = int(number(job, "images-per-prompt", "num-images-per-prompt") or 1)
    size = sum(part.bytes for part in mine)
    names = ", ".join(part.name.split(" ")[0] for part in mine) or "nothing"
    decodes = any("vae" in part.name.lower() for part in mine) or len(mine) == 1
    needed = work(height, width, batch) if decodes else 0.3 * work(height, width, batch)
    context = gib("diffusion", "context_GiB")
    quantizer = gib("diffusion", "quantizer_GiB") if each(kind_of(task))[1] < 2.0 and mine else 0.0
    lines = [
        Line("weights", span(size * 0.99, size, size * 1.02), "source", f"{kind_of(task)}: {names}"),
        Line("activation peak", span(needed * 0.6, needed, needed * 1.3), "source", f"{batch} x {height} x {width}"),
        Line("CUDA context", span(0.8 * context, context, 1.5 * context), "guessed", "and libraries"),
    ]
    if quantizer:
        lines.append(Line("quantizer", span(0.2 * quantizer, quantizer, 1.5 * quantizer), "calibrated", "buffers"))
    return Estimate(gpu.index, corrected(lines, task, gpu, corrections), gpu.free)
