"""A model, a recipe and a number of GPUs in, lines of bytes on each GPU out: those of the moment that takes most.

Such moments are the loss (activations and logits), the backward pass's first and last layer and the embedding's
gradient, and the optimizer's step. Against 18 runs on H100 and H200 with torch 2.11 and transformers 5.17 what torch
allocates was right to 0.2 %.
"""

from __future__ import annotations

from typing import NamedTuple

from mgpu.memory.activations import autocast, kept, of_layer, of_loss, of_prefill, stream, widths
from mgpu.memory.states import NF4, Counts, Held, counts, sharded
from mgpu.values.memory import GIB, MIB, Line, Source, Span, exactly, span
from mgpu.values.model import Model
from mgpu.values.recipe import Recipe

CONTEXT = 650_969_088
KERNELS = 153_092_096
"""What CUDA takes before the first tensor, and cuBLAS and torch's kernels once they are loaded: bytes, by NVML, on an
H200 with driver 580 and torch 2.11."""
WORKSPACE = 32 * MIB
"""cuBLAS's workspace on Hopper; the thread of the backward pass has another (ATen, CUDABlas.cpp: 4096 x 8 KiB on 9.0,
8 MiB before)."""
NCCL = span(0.15 * GIB, 0.4 * GIB, 1.0 * GIB)
LIVE = 1_000_000_000
"""Parameters that ZeRO 3 keeps gathered (stage3_max_live_parameters, deepspeed 0.19.8)."""


class Moment(NamedTuple):
    """What is alive at a moment, in bytes by the names of the lines."""

    name: str
    bytes: dict[str, float]

    @property
    def total(self) -> float:
        """The sum."""
        return sum(self.bytes.values())


def moments(model: Model, recipe: Recipe, ranks: int = 1) -> tuple[Moment, ...]:
    """The moments that can take most, without what lies outside torch's allocator. Raises ValueError for a model whose
    dimensions are not known."""
    known = counts(model, recipe)
    held = sharded(known, recipe, ranks)
    always = {"weights": held.weights, "optimizer": held.optimizer, "communication buffers": held.buffers}
    always["cuBLAS workspace"] = 2 * WORKSPACE
    found = (
        Moment("the loss", _loss(model, known, held, recipe, ranks)),
        Moment("the first backward pass of a layer", _first(model, known, held, recipe, ranks)),
        Moment("the last backward pass of a layer", _last(model, known, held, recipe, ranks)),
        Moment("the gradient of the embedding", _embedding(model, known, held, recipe, ranks)),
        Moment("the optimizer's step", {"gradients": _late(held, recipe), "optimizer's step": _step(held, recipe)}),
    )
    return tuple(Moment(name, always | alive) for name, alive in found)


def _late(held: Held, recipe: Recipe) -> float:
    """Gradients once all are there."""
    return 0.0 if recipe.backward_step else held.gradients


def _step(held: Held, recipe: Recipe) -> float:
    return 0.0 if recipe.backward_step else held.step


def _before(held: Held, recipe: Recipe) -> float:
    """Gradients of earlier batches, which are there when the next begins."""
    return held.gradients if recipe.accumulation > 1 else 0.0


def _loss(model: Model, known: Counts, held: Held, recipe: Recipe, ranks: int) -> dict[str, float]:
    """Everything the forward pass kept, and the logits. Where they are made piece by piece, the gradient of the head
    is there too, and chunked a second one that is added to it."""
    pieces = 0 if recipe.adapters else {"eager": 0, "chunked": 2, "fused": 1}[recipe.loss]
    copied = 2 * ((0 if recipe.checkpointing else known.matrices) + known.entries) if autocast(recipe) else 0
    return {
        "gradients": _before(held, recipe) + pieces * known.entries * _fresh(known, recipe),
        "16-bit copies": copied,
        "activations": kept(model, recipe),
        "logits": of_loss(model, recipe),
        "unsharded blocks": _unsharded(known, recipe, ranks, 1, head=True),
    }


def _first(model: Model, known: Counts, held: Held, recipe: Recipe, ranks: int) -> dict[str, float]:
    """With checkpointing every layer's input and one whole layer; the gradient of the head."""
    again = of_layer(model, recipe) * recipe.tokens if recipe.checkpointing else 0
    head = 0 if recipe.adapters or recipe.backward_step or recipe.stage else known.entries * known.held
    every = 0 if recipe.checkpointing else known.matrices - known.block
    return {
        "gradients": max(_before(held, recipe), head) + _in_flight(known, recipe),
        "16-bit copies": _copy(known, recipe, every),
        "activations": kept(model, recipe) + again,
        "unsharded blocks": _unsharded(known, recipe, ranks, 2),
    }


def _last(model: Model, known: Counts, held: Held, recipe: Recipe, ranks: int) -> dict[str, float]:
    """The last layer's activations beside all gradients but the embedding's."""
    whole = recipe.adapters or recipe.stage >= 2 or known.tied or recipe.accumulation > 1
    missing = 0 if whole else known.entries * known.held
    return {
        "gradients": max(0.0, _late(held, recipe) - missing) + _in_flight(known, recipe),
        "16-bit copies": _copy(known, recipe, 0),
        "activations": of_layer(model, recipe) * recipe.tokens,
        "unsharded blocks": _unsharded(known, recipe, ranks, 1),
    }


def _embedding(model: Model, known: Counts, held: Held, recipe: Recipe, ranks: int) -> dict[str, float]:
    """The gradient of the embedding is dense; where the embedding is the head too, or its share goes elsewhere, it is
    there beside the gradients that stay."""
    beside = recipe.stage >= 2 or known.tied or recipe.backward_step or recipe.accumulation > 1
    fresh = known.entries * _fresh(known, recipe) if beside and not recipe.adapters else 0
    return {
        "gradients": _late(held, recipe) + fresh,
        "activations": stream(recipe) * widths(model).hidden * recipe.tokens,
        "unsharded blocks": _unsharded(known, recipe, ranks, 0),
    }


def _fresh(known: Counts, recipe: Recipe) -> int:
    """Bytes of a gradient as the backward pass makes it: shards are made 16-bit ones of 16-bit copies."""
    return min(known.held, 2) if recipe.stage and recipe.precision != "fp32" else known.held


def _in_flight(known: Counts, recipe: Recipe) -> float:
    """Gradients of a block that are made, and those of the one before, which are being reduced (FSDP); of embedding
    and head until the end, where they are no blocks of their own. With an optimizer in the backward pass, a block's."""
    if recipe.adapters:
        return 0.0
    if recipe.sharding in ("fsdp", "shard-grad-op"):
        ends = 0 if recipe.split_ends else known.ends
        return float((2 * known.block + ends) * _fresh(known, recipe))
    return float(known.block * known.held) if recipe.backward_step else 0.0


def _copy(known: Counts, recipe: Recipe, others: int) -> float:
    """The copies that a layer is computed with: 16-bit ones under autocast, of a quantized matrix too."""
    if recipe.method == "qlora":
        return 2.0 * known.block / 4
    return 2.0 * (known.block + others) if autocast(recipe) else 0.0


def _unsharded(known: Counts, recipe: Recipe, ranks: int, blocks: int, head: bool = False) -> float:
    """Parameters that are whole for a while: with FSDP the block at work, the next one, and embedding and head as long
    as the pass lasts, or where they are blocks of their own the head while it is used; with ZeRO 3 those alive, less
    this GPU's own."""
    wide = 4 if recipe.precision == "fp32" else 2
    if recipe.sharding == "zero-3":
        others = 1.0 if recipe.offload_parameters else 1 - 1 / ranks
        return min(known.total, LIVE) * (known.frozen if recipe.adapters else wide) * others
    if recipe.sharding == "shard-grad-op":
        return float(known.total * wide)
    if recipe.sharding != "fsdp":
        return 0.0
    ends = (known.entries if head else 0) if recipe.split_ends else known.ends
    return ends * wide + blocks * known.block * (NF4 if recipe.method == "qlora" else wide)


def peak(model: Model, recipe: Recipe, ranks: int = 1) -> Moment:
    """The moment that takes most. Raises ValueError for a model whose dimensions are not known."""
    return max(moments(model, recipe, ranks), key=lambda moment: moment.total)


def allocated(model: Model, recipe: Recipe, ranks: int = 1) -> int:
    """What torch says at the end that it had allocated at most (max_memory_allocated), in bytes."""
    return int(peak(model, recipe, ranks).total)


def prefill(model: Model, tokens: int) -> int:
    """The same of a forward pass without gradients, in 16 bits (see `of_prefill`)."""
    return 2 * counts(model, Recipe(precision="bf16")).total + of_prefill(model, tokens) + WORKSPACE


def lines(model: Model, recipe: Recipe, ranks: int = 1) -> tuple[Line, ...]:
    """What one of `ranks` GPUs takes at the moment that takes most. Raises ValueError for a model whose dimensions are
    not known."""
    most = peak(model, recipe, ranks)
    inside = tuple(
        Line(name, _sure(name, size, model, recipe), _source(name, model), WHY.get(name, "").format(most.name))
        for name, size in most.bytes.items()
        if size
    )
    slack = span(0.01 * most.total, 0.1 * most.total, 0.3 * most.total)
    return (
        *inside,
        Line("allocator slack", slack, "source", "reserved by allocated was 1.01 to 1.36 on 25 runs"),
        *((Line("NCCL", NCCL, "source", "buffers of its communicators"),) if ranks > 1 else ()),
        Line("CUDA context", span(0.45 * GIB, CONTEXT, 0.65 * GIB), "source", "before the first tensor"),
        Line("kernels", span(0.05 * GIB, KERNELS, 0.25 * GIB), "source", "cuBLAS and torch's, loaded when first used"),
    )


WHY = {
    "weights": "as they are kept between steps",
    "gradients": "those alive at the peak, {}",
    "activations": "what autograd keeps at the peak, {}",
    "logits": "logits, log-softmax and their gradients",
    "16-bit copies": "of fp32 or 4-bit weights, for computing",
    "unsharded blocks": "parameters that are whole for a while",
    "optimizer's step": "what the step makes beside the states",
    "communication buffers": "of gradients on their way",
}


def _source(name: str, model: Model) -> Source:
    if name in ("weights", "optimizer"):
        return "exact"
    return "guessed" if model.config.get("moe") and name == "activations" else "source"


def _sure(name: str, size: float, model: Model, recipe: Recipe) -> Span:
    """How far a line may be off: states are counted; what a compiler keeps, or experts, is known less well."""
    if name not in ("activations", "logits", "unsharded blocks"):
        return exactly(size)
    off = 0.25 if model.config.get("moe") else 0.1 if recipe.compile or recipe.stage else 0.02
    return span(size * (1 - off), size, size * (1 + off))
