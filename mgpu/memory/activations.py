"""A model and a recipe in, the bytes that a training keeps of each token for its backward pass out.

Counted from what torch's autograd saves in transformers 5.17 (LlamaForCausalLM, sdpa) and, compiled, in torchtune 0.3;
checked against 18 runs on H100 and H200, all within 0.2 %. Letters: h hidden, a the width of all query heads, k of all
key heads, I that of the MLP, V the vocabulary, T tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from mgpu.values.model import Model
from mgpu.values.recipe import Recipe


class Widths(NamedTuple):
    """The widths of a layer, in numbers per token; `routed` are the copies of a token that experts get."""

    hidden: int
    queries: int
    keys: int
    inner: int
    vocabulary: int
    layers: int
    heads: int
    routed: int
    normed: bool


def widths(model: Model) -> Widths:
    """Of a model of known dimensions. Raises ValueError for another."""
    needed = (model.hidden, model.layers, model.heads, model.vocabulary)
    if not all(needed):
        raise ValueError(f"the dimensions of {model.id} are not all known")
    hidden, layers, heads, vocabulary = (number or 0 for number in needed)
    head = model.head_dim or hidden // heads
    moe = model.config.get("moe") or {}
    inner, routed = model.intermediate or 4 * hidden, 0
    if moe:
        routed = int(moe.get("top_k", 1))
        inner = int(moe.get("intermediate", inner)) * (routed + int(moe.get("num_shared", 0)))
    normed = bool(model.config.get("qk_norm"))
    return Widths(
        hidden, heads * head, (model.kv_heads or heads) * head, inner, vocabulary, layers, heads, routed, normed
    )


def autocast(recipe: Recipe) -> bool:
    """Whether 16-bit copies are made of fp32 weights on the way; DeepSpeed and FSDP hold them in 16 bits themselves."""
    held = recipe.deepspeed or recipe.stage or recipe.adapters
    return recipe.precision == "amp" and not held


def stream(recipe: Recipe) -> int:
    """Bytes of a number of the residual stream: fp32 weights keep it in fp32, under autocast too."""
    return 4 if recipe.precision == "fp32" or autocast(recipe) else 2


def of_layer(model: Model, recipe: Recipe) -> int:
    """Bytes that one layer keeps of one token."""
    w = widths(model)
    kept = _compiled(w, recipe) if recipe.compile else _eager(w, recipe)
    scores = 6 * w.heads * recipe.sequence if recipe.attention == "eager" else 0
    return kept + scores + 4 * w.hidden * w.routed


def _eager(w: Widths, recipe: Recipe) -> int:
    """AMP: 26h + 4a + 4k + 8I; bf16: 16h + 4a + 4k + 8I; fp32: 24h + 8a + 8k + 16I; frozen with adapters 8h + 4a + 4k
    + 6I, and what the adapters keep. Each norm keeps its input in fp32, and where it is trained the result too; under
    autocast every matrix has its own 16-bit copy of its input."""
    attention = 4 * w.queries + 4 * w.keys
    norms = w.queries + w.keys if w.normed else 0
    if recipe.adapters:
        return 8 * w.hidden + attention + 6 * w.inner + 4 * norms + _inputs(w, recipe)
    if autocast(recipe):
        return 26 * w.hidden + attention + 8 * w.inner + 6 * norms
    if recipe.precision == "fp32":
        return 24 * w.hidden + 2 * attention + 16 * w.inner + 8 * norms
    return 16 * w.hidden + attention + 8 * w.inner + 6 * norms


def _inputs(w: Widths, recipe: Recipe) -> int:
    """What adapters keep of their inputs: an fp32 copy each (peft), or in bf16 the one that they share."""
    on = recipe.adapted
    if recipe.adapters_in_fp32:
        into = {"o": w.queries, "down": w.inner}
        return sum(4 * into.get(name, w.hidden) for name in on)
    shared = any(name in on for name in "qkv") + any(name in on for name in ("gate", "up"))
    return 2 * w.hidden * shared + 2 * w.inner * ("down" in on)


def _compiled(w: Widths, recipe: Recipe) -> int:
    """A compiled layer keeps its input, what every matrix and the attention take, gate and up, and reckons the rest
    anew; what a frozen matrix takes is not kept (torch's partitioner: only what must lie in memory anyway)."""
    attention = 4 * w.queries + (4 * w.queries if recipe.expanded else 4 * w.keys)
    norms = 2 * (w.queries + w.keys) if w.normed else 0
    bare = 4 * w.hidden + attention + 4 * w.inner + norms
    if not recipe.adapters:
        return bare + 4 * w.hidden + 2 * w.inner
    return bare + _inputs(w, recipe)


def kept(model: Model, recipe: Recipe) -> int:
    """Bytes of all layers while the loss is reckoned: everything, or with checkpointing each layer's input."""
    w = widths(model)
    each = stream(recipe) * w.hidden if recipe.checkpointing else of_layer(model, recipe)
    return (each * w.layers + _last_norm(w, recipe)) * recipe.tokens


def _last_norm(w: Widths, recipe: Recipe) -> int:
    if recipe.adapters:
        return 4 * w.hidden
    return w.hidden * (12 if recipe.precision == "fp32" else 10 if autocast(recipe) else 8)


CHUNKS = 8
"""torchtune's default (CEWithChunkedOutputLoss)."""


def of_loss(model: Model, recipe: Recipe) -> int:
    """Bytes that the loss takes. Eager: log-softmax and two gradients in fp32, 12 V T; compiled only fp32 logits and a
    gradient, 8 V T. Chunked: all logits in 16 bits, and two pieces more. Fused: pieces of the logits in 16 bits
    and fp32, and the gradient of the hidden states (Liger, fused_linear_cross_entropy.py)."""
    w, tokens = widths(model), recipe.tokens
    if recipe.loss == "eager":
        return (8 if recipe.compile else 12) * w.vocabulary * tokens
    if recipe.loss == "chunked":
        return 2 * w.vocabulary * tokens + 4 * w.vocabulary * -(-tokens // CHUNKS)
    pieces = -(-w.vocabulary // w.hidden)
    rows = min(tokens, 1 << max(0, (-(-tokens // pieces) - 1).bit_length()))
    return 6 * w.vocabulary * rows + 2 * w.hidden * tokens


def of_prefill(model: Model, tokens: int) -> int:
    """Bytes of a forward pass that keeps keys and values and makes the logits of the last token: three tensors of the
    MLP and four hidden states of one layer, in 16 bits (transformers' DynamicCache)."""
    w = widths(model)
    return tokens * (4 * w.keys * w.layers + 6 * w.inner + 8 * w.hidden)
