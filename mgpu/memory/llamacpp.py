"""A task of llama.cpp's and its model in, what it needs on each of its GPUs out; and the best split of whole layers.

Layers lie whole on a device, with their cache; the head and the logits with the last of them; the embedding stays in
the host's memory (ggml-org/llama.cpp: llama-model.cpp, llama-context.cpp, common/fit.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from mgpu.catalog.engine_memory import constant, gib, slots
from mgpu.catalog.gpus import by_name as product_named
from mgpu.memory import gguf, layers
from mgpu.memory.cache import cached, held
from mgpu.memory.layers import Device, Load
from mgpu.memory.serving import USUAL_CONTEXT, answered, corrected, known, whole
from mgpu.memory.weights import format_of
from mgpu.values.machine import Gpu
from mgpu.values.memory import MIB, Cache, Correction, Estimate, Line, exactly, span
from mgpu.values.model import Model, Stored
from mgpu.values.plan import Task
from mgpu.values.said import said

ENGINE = "llamacpp"
BLOCKS = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
    "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Bytes of an element of the cache by its type (ggml-common.h: bytes of a block by its 32 elements)."""
LEAST = 4096
"""Tokens below which llama.cpp does not shrink a context that it chooses itself (common/fit.cpp: n_ctx_min)."""
USUAL = "Q4_K_M"
"""The kind of file that a repository is asked for first (common/download.cpp)."""


class Setting(NamedTuple):
    """What a task's flags decide: the file's tensors, tokens of the context and of a computed batch, bytes of an
    element, sequences, whether attention is computed in one (flash), and of how many layers experts stay in the host's
    memory."""

    stored: Stored
    context: int
    ubatch: int
    element: float
    sequences: int
    flash: bool
    experts_out: int


def padded(context: int) -> int:
    """The tokens that a cache is made for."""
    step = int(constant(ENGINE, "pad"))
    return ceil(context / step) * step


def element(kind_k: object = None, kind_v: object = None) -> float:
    """Bytes of an element: keys and values may have types of their own."""
    found = [BLOCKS.get(str(kind or "f16").lower(), 2.0) for kind in (kind_k, kind_v)]
    return sum(found) / 2


def cache_bytes(model: Model, context: int, size: float, mine: range | None = None, more: int = 512) -> int:
    """Bytes of the cache of these layers, for a context of so many tokens."""
    return cached(model, padded(context), size, 1, mine, more)


def compute_buffer(
    hidden: int, vocabulary: int, ubatch: int = 512, context: int = 0, heads: int = 0, flash: bool = True
) -> int:
    """Bytes of the buffer on the device of the head: logits and states of a batch in fp32. Without flash attention the
    scores of all heads, with a mask and four states, may be more: a moment of its own (measured: 1108.5 MiB on a device
    for 64 heads, 8192 tokens, ggml-org/llama.cpp#8035)."""
    logits = ubatch * (vocabulary + hidden) * 4
    scores = 0 if flash else ubatch * (padded(context) * (heads + 1) + 4 * hidden) * 4
    return max(logits, scores)


def between(model: Model, setting: Setting) -> int:
    """Bytes of the buffer on a device without the head: the widest moment of a layer."""
    wide = 2 * (model.intermediate or 0) + 3 * (model.hidden or 0)
    scores = 0 if setting.flash else padded(setting.context) * (model.heads or 0)
    return setting.ubatch * (wide + scores) * 4


def stored_of(model: Model, name: str | None, quantization: str | None = None) -> Stored:
    """The tensors of the file: its own table where that was read, else as llama-quantize would make it."""
    form = format_of(name, quantization, model)
    if model.stored and model.stored.format == form:
        return model.stored
    try:
        return gguf.stored(model, form)
    except (KeyError, ValueError):
        return gguf.stored(model, USUAL)


def setting(task: Task, model: Model) -> Setting:
    """The decisions of a task; a context that nobody chose is the longest that fits, as llama.cpp's --fit has it."""
    job = task.job
    kinds = (said(job, "cache-type-k") or said(job, "ctk"), said(job, "cache-type-v") or said(job, "ctv"))
    out = (model.layers or 0) if said(job, "cpu-moe") is True else int(whole(job, 0, "n-cpu-moe", "ncmoe"))
    found = Setting(
        stored_of(model, job.model, job.quantization),
        job.context_length or 0,
        whole(job, int(constant(ENGINE, "ubatch")), "ubatch-size", "ub"),
        element(*kinds),
        max(1, whole(job, slots(ENGINE, task.version) or 1, "parallel", "np")),
        str(said(job, "flash-attn") or said(job, "fa") or "auto").lower() not in ("off", "false", "0"),
        out,
    )
    return found if found.context else found._replace(context=_fitted(model, found, task.gpus))


def _fitted(model: Model, chosen: Setting, gpus: Sequence[Gpu]) -> int:
    most = model.context or USUAL_CONTEXT
    fitted = layers.longest(_load(model, chosen), _devices(model, chosen, gpus), most)
    return max(min(LEAST, most), fitted)


def _load(model: Model, chosen: Setting) -> Load:
    stored, more = chosen.stored, chosen.ubatch
    kept = [held(model, index) for index in range(len(stored.layers))]

    def cache(context: int) -> list[int]:
        tokens = padded(context)
        counts = [tokens if at.window is None else min(tokens, at.window * chosen.sequences + more) for at in kept]
        each = zip(counts, kept, strict=True)
        return [int(count * (at.numbers * chosen.element + at.fixed)) + at.state for count, at in each]

    out = chosen.experts_out
    on_device = [
        size - (stored.experts[i] if i < out and stored.experts else 0) for i, size in enumerate(stored.layers)
    ]
    return Load(on_device, (stored.head or stored.embedding) + stored.other, cache)


def _devices(model: Model, chosen: Setting, gpus: Sequence[Gpu], margin: int | None = None) -> list[Device]:
    spare = int(constant(ENGINE, "margin_MiB")) * MIB if margin is None else margin
    fixed = spare + int(gib(ENGINE, "context_GiB"))
    head = (chosen.stored.head or chosen.stored.embedding) + chosen.stored.other
    middle = between(model, chosen)
    logits = compute_buffer(model.hidden or 0, model.vocabulary or 0, chosen.ubatch)
    more = head + max(0, logits - middle)
    return [Device(gpu.room - fixed - middle, more, _speed(gpu)) for gpu in gpus]


def _speed(gpu: Gpu) -> float:
    product = product_named(gpu.product or gpu.name)
    return product.bandwidth if product else 1000.0


def split(
    model: Model,
    stored: str,
    gpus: Sequence[Gpu],
    context: int | None = None,
    size: float = 2.0,
    ubatch: int = 512,
    margin: int | None = None,
) -> tuple[int, ...] | None:
    """Whole layers for each of the GPUs, in their order: the context as long as can be, up to `context` (None: the
    model's), then as fast as can be. `stored` is the kind of file (Q4_K_M); an element of the cache has `size` bytes;
    `margin` bytes stay free on each (None: llama.cpp's own). None where no split fits. Raises ValueError for a model
    whose dimensions are not all known."""
    chosen = Setting(stored_of(model, None, stored), 0, ubatch, size, 1, True, 0)
    most = context or model.context or USUAL_CONTEXT
    return layers.best(_load(model, chosen), _devices(model, chosen, gpus, margin), most)


def split_of(task: Task, model: Model) -> tuple[int, ...] | None:
    """The split that fits a task best, by its own flags; None where it has one, one GPU only, or none fits."""
    given = any(said(task.job, name) is not None for name in ("tensor-split", "ts"))
    if len(task.gpus) < 2 or task.layout.tensor > 1 or given:
        return None
    chosen = setting(task, model)
    most = task.job.context_length or model.context or USUAL_CONTEXT
    return layers.best(_load(model, chosen), _devices(model, chosen, task.gpus), most)


def counts_of(task: Task, count: int) -> tuple[int, ...]:
    """How many layers each of the task's GPUs gets: by the planner's split, the job's own, else by what is free."""
    if task.split:
        return task.split
    given = said(task.job, "tensor-split") if said(task.job, "tensor-split") is not None else said(task.job, "ts")
    parts = given if isinstance(given, (list, tuple)) else re.split("[,/]", str(given)) if given is not None else ()
    try:
        shares = [float(part) for part in parts]
    except (TypeError, ValueError):
        shares = []
    if len(shares) != len(task.gpus) or not sum(shares):
        shares = [float(gpu.room) for gpu in task.gpus]
    return layers.placed(shares, count)


@answered
def estimates(task: Task, model: Model, corrections: Sequence[Correction]) -> tuple[Estimate, ...]:
    """What the task needs on each of its GPUs, in their order."""
    chosen = setting(task, model)
    counts = counts_of(task, len(chosen.stored.layers))
    load = _load(model, chosen)
    taken = _Taken(load, load.cache(chosen.context), counts)
    return tuple(_estimate(task, model, chosen, taken, at, corrections) for at in range(len(task.gpus)))


class _Taken(NamedTuple):
    """What layers take, their caches at the context of the task, and how many each GPU has."""

    load: Load
    caches: Sequence[int]
    counts: tuple[int, ...]


def _estimate(
    task: Task, model: Model, chosen: Setting, taken: _Taken, at: int, corrections: Sequence[Correction]
) -> Estimate:
    gpu, parts, (load, caches, counts) = task.gpus[at], task.layout.tensor, taken
    first = sum(counts[:at])
    mine = range(len(chosen.stored.layers)) if parts > 1 else range(first, first + counts[at])
    last = parts > 1 or at == max((d for d, count in enumerate(counts) if count), default=0)
    weights = (sum(load.weights[i] for i in mine) + load.head * last) // parts
    kept = sum(caches[i] for i in mine) // parts
    offloaded = _offloaded(task, len(chosen.stored.layers))
    if offloaded is not None:
        weights, kept = (int(size * offloaded) for size in (weights, kept))
    lines = (
        _weights(chosen, weights, len(mine)),
        known("KV cache", kept, f"{padded(chosen.context)} tokens of {len(mine)} layers"),
        _buffer(model, chosen, last, bool(mine)),
        _context(bool(mine)),
    )
    cache = Cache(exactly(kept), kept, chosen.context, padded(chosen.context))
    return Estimate(gpu.index, corrected(lines, task, gpu, corrections), gpu.free, None, cache)


def _offloaded(task: Task, count: int) -> float | None:
    """The share of the layers that go to the GPUs where the job gives a number of them."""
    for name in ("n-gpu-layers", "gpu-layers", "ngl"):
        value = said(task.job, name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
            return value / count
    return None


def _weights(chosen: Setting, size: int, count: int) -> Line:
    why = f"{chosen.stored.format}, {count} layers; the embedding stays in the host's memory"
    return Line("weights", span(size * 0.995, size, size * 1.02), "source", why)


def _buffer(model: Model, chosen: Setting, last: bool, used: bool) -> Line:
    middle = between(model, chosen) if used else 0
    sizes = (model.hidden or 0, model.vocabulary or 0, chosen.ubatch, chosen.context, model.heads or 0, chosen.flash)
    size = max(middle, compute_buffer(*sizes)) if last else middle
    why = f"{chosen.ubatch} tokens at once" + (", with their logits" if last else "")
    return Line("compute buffer", span(size * 0.7, size, size * 1.3), "source", why)


def _context(used: bool) -> Line:
    size = gib(ENGINE, "context_GiB") * used
    return Line(
        "CUDA context", span(0.75 * size, size, 1.3 * size), "guessed", "and cuBLAS, on each device that is used"
    )
