"""A job and the GPUs that it gets in, what keeps an engine from sharing the model among them out.

Every engine that splits tensors gives each GPU as many attention heads, and as many bytes, as the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from mgpu.catalog.models import by_name, words
from mgpu.values.engine import Complaint
from mgpu.values.machine import Gpu
from mgpu.values.mark import Path
from mgpu.values.plan import Layout, Task
from mgpu.values.said import said, written
from mgpu.values.spec import Job

GIB = 2**30
EVEN = 0.9
"""How much of the largest the smallest GPU has where they count as even (from which SGLang warns: bootstrap.py)."""
FP8 = (8, 9)
"""The first compute capability with FP8 units (Ada; NVIDIA's Ada whitepaper)."""

KeyHeads = Literal["copied", "divided", "any"]
"""What an engine does with fewer key and value heads than GPUs: each on several, nothing (they must divide), or it is
not known."""


def _heads(job: Job, layout: Layout, who: str, keys: KeyHeads, stages: bool) -> Iterator[Complaint]:
    tensor = layout.tensor
    model = by_name(job.model or "") if tensor > 1 else None
    if model is None or not model.heads or _shared(model.heads, model.kv_heads or model.heads, tensor, keys):
        return
    at: Path = ("parallel", "tensor") if job.parallel.tensor else ("gpus",)
    times = 1 if job.parallel.tensor else layout.pipeline * layout.data
    sizes = [size for size in range(1, 17) if _shared(model.heads, model.kv_heads or model.heads, size, keys)]
    named = f"{model.heads} attention heads"
    if model.heads % tensor == 0:
        named = f"{model.kv_heads} key and value heads"
    hint = f"{at[-1]}: {_or([size * times for size in sizes if size <= max(tensor, 8)])}"
    hint += f", or whole layers on each: parallel: {{pipeline: {tensor}}}" if stages and layout.pipeline == 1 else ""
    yield Complaint(f"{who} cannot share {model.id}'s {named} among {tensor} GPUs", at, hint)


def on_gpus(task: Task, who: str, *, anywhere: bool = False) -> Iterator[Complaint]:
    """The engine's own image is built for CUDA, and finds no device without a GPU; so does the engine itself
    `anywhere`, where it has no build for the CPU."""
    if not task.gpu_count and (anywhere or (task.runtime == "docker" and not task.job.image)):
        hint = "gpus: 1" if anywhere else "gpus: 1, or image: one of its builds for the CPU"
        yield Complaint(f"{who}{'' if anywhere else ' in its own image'} computes on GPUs alone", ("gpus",), hint)


def new_enough(task: Task, who: str, least: tuple[int, int], what: str = "") -> Iterator[Complaint]:
    """GPUs of a compute capability below `least` have no kernels in the engine's own builds (`what`: for that alone);
    what somebody has built for himself may have them."""
    older = [gpu for gpu in task.gpus if gpu.compute_capability and gpu.compute_capability < least]
    if not older:
        return
    gpu = min(older, key=lambda gpu: gpu.compute_capability or least)
    has, wants = (".".join(map(str, capability)) for capability in (gpu.compute_capability or least, least))
    message = f"{who} {task.version or ''}".strip() + f" is not built for {gpu.product or gpu.name}{what}"
    hint = f"it has compute capability {has}, and {wants} is the least: a newer GPU, or engine: llamacpp"
    own = bool(task.job.image) or task.runtime != "docker"
    yield Complaint(message, ("gpus",), hint, warning=own)


def heads_as_said(job: Job, who: str, keys: KeyHeads = "copied", *, stages: bool = False) -> Iterator[Complaint]:
    """Heads that do not divide by the tensor parallel size of the spec; `stages`: the engine can take whole layers
    instead."""
    if job.parallel.tensor:
        yield from _heads(job, Layout(job.parallel.tensor, job.parallel.pipeline or 1), who, keys, stages)


def heads_as_placed(task: Task, who: str, keys: KeyHeads = "copied", *, stages: bool = False) -> Iterator[Complaint]:
    """The same for a size that follows from the number of GPUs."""
    if not task.job.parallel.tensor:
        yield from _heads(task.job, task.layout, who, keys, stages)


def _shared(all_: int, kv: int, tensor: int, keys: KeyHeads) -> bool:
    if all_ % tensor:
        return False
    if keys == "any" or kv % tensor == 0:
        return True
    return keys == "copied" and tensor % kv == 0


def _or(sizes: list[int]) -> str:
    texts = [str(size) for size in sizes]
    return " or ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def equal_shares(task: Task, who: str) -> Iterator[Complaint]:
    """The warning that the smallest GPU decides what all of them can hold."""
    free = [gpu.room for gpu in task.gpus]
    if len(free) < 2 or uneven(task.gpus) is None:
        return
    least, size = min(free), len(free)
    message = (
        f"{who} gives each GPU an equal share: of {_gib(sum(free))} that are free it can use {size} x {_gib(least)}"
    )
    shares = ",".join(str(share) for share in uneven(task.gpus) or ())
    hint = (
        f"engine: llamacpp gives each what fits it (--tensor-split {shares}), or take equal GPUs: gpus: {{name: ...}}"
    )
    yield Complaint(message, ("gpus",), hint, warning=True)


def uneven(gpus: Iterable[Gpu]) -> list[int] | None:
    """The free memory of each GPU in whole GiB, where they are not even."""
    free = [gpu.room for gpu in gpus]
    if not free or min(free) >= EVEN * max(free):
        return None
    return [max(1, size // GIB) for size in free]


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def fp8(task: Task, who: str, flags: tuple[str, ...], stored: tuple[int, int] | None) -> Iterator[Complaint]:
    """What FP8 weights mean on GPUs without units for them. `flags` are those that ask for it; `stored` is the first
    compute capability on which the engine at least keeps the weights so, and computes in 16 bits; None: it never does.
    """
    older = [gpu for gpu in task.gpus if gpu.compute_capability and gpu.compute_capability < FP8]
    at = _asks(task.job, flags) if older else None
    if at is None:
        return
    gpu = min(older, key=lambda gpu: gpu.compute_capability or FP8)
    name = gpu.product or gpu.name
    having = "a GPU of compute capability 8.9 or newer (Ada, Hopper), or a 4-bit model"
    if stored is None or (gpu.compute_capability or FP8) < stored:
        yield Complaint(f"{who} cannot run FP8 weights on {name}, which has no units for it", at, having)
    else:
        message = f"{name} has no units for FP8: {who} keeps the weights in 8 bits there, and computes in 16"
        yield Complaint(message, at, f"it saves memory and no time; for both, {having}", warning=True)


def fp8_cache(task: Task, who: str, flag: str) -> Iterator[Complaint]:
    """The same of the cache of keys and values, which every engine that has it converts as it reads it."""
    older = [gpu for gpu in task.gpus if gpu.compute_capability and gpu.compute_capability < FP8]
    if older and str(said(task.job, flag) or "").startswith("fp8"):
        name = older[0].product or older[0].name
        message = f"{name} has no units for FP8: {who} stores its cache in 8 bits there, and computes in 16"
        yield Complaint(message, ("args", written(task.job, flag)), "not every attention kernel can", warning=True)


def _asks(job: Job, flags: tuple[str, ...]) -> Path | None:
    """Where the job asks for FP8 weights: by a flag, by its key, by a model that is published so or says so."""
    for flag in flags:
        if str(said(job, flag) or "").startswith("fp8"):
            return ("args", written(job, flag))
    if job.quantization:
        return ("quantization",) if job.quantization.startswith("fp8") else None
    model = by_name(job.model or "")
    name = words(job.model or "")
    native = (
        model is not None and model.dtype.startswith("float8") and not any(w in name for w in ("awq", "gptq", "gguf"))
    )
    return ("model",) if native or "fp8" in name else None
