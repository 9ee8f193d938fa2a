"""A pool of bytes and a model in; how many tokens vLLM's cache of keys and values holds in it out.

vLLM cuts the pool into blocks of one size for all groups of layers. A group has as many layers as the rarest kind, so
models with layers of several kinds (all tokens, a window of them, a state) pay for the last group being filled up
(v1/core/kv_cache_utils.py: get_kv_cache_groups, get_max_concurrency_for_kv_cache_config; read in 0.32.0).
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from mgpu.catalog.engine_memory import constant
from mgpu.memory.cache import held
from mgpu.values.model import Model

BLOCK = 16
"""Tokens of a block where nothing else is said."""
NEAR = 1.25
"""Kinds whose numbers of layers differ by less than this share one group size, that of the larger."""


class Kind(NamedTuple):
    """Layers that hold the same of a sequence: how many, bytes a token of each, the window (None: all tokens), and
    bytes of a state."""

    layers: int
    token: float
    window: int | None
    state: int


class Blocks(NamedTuple):
    """What one sequence takes: `needed` blocks of `size` bytes over all layers; a block has `tokens`, in `groups`."""

    needed: int
    size: int
    tokens: int
    groups: int

    @property
    def total(self) -> int:
        """Bytes of the sequence."""
        return self.needed * self.size


class Shape(NamedTuple):
    """How a cache is laid out: bytes an element, parts and layers, tokens a block, tokens computed at once, tokens
    guessed ahead, whose own layer counts as one more."""

    element: float = 2.0
    tensor: int = 1
    layers: range | None = None
    block: int = BLOCK
    batch: int = 8192
    ahead: int = 0


def kinds(model: Model, shape: Shape) -> list[Kind]:
    """The kinds of layers on the GPU, those with all tokens first. Raises ValueError for dimensions not known."""
    mine = range(model.layers or 0) if shape.layers is None else shape.layers
    found: dict[tuple[float, int | None, int], int] = {}
    for index in mine:
        at = held(model, index, shape.tensor)
        if at.numbers or at.state:
            kind = (at.numbers * shape.element + at.fixed, at.window, at.state)
            found[kind] = found.get(kind, 0) + 1
    listed = [Kind(count, *kind) for kind, count in found.items()]
    return sorted(listed, key=lambda kind: (kind.state > 0, kind.window is not None))


def blocks(model: Model, context: int, shape: Shape) -> Blocks:
    """The blocks of one sequence of `context` tokens on one GPU."""
    found = kinds(model, shape)
    if not found:
        return Blocks(0, 1, shape.block, 1)
    if shape.ahead and not found[0].state:
        found[0] = found[0]._replace(layers=found[0].layers + 1)
    counts = [kind.layers for kind in found]
    size = max(counts) if max(counts) < NEAR * min(counts) else min(counts)
    per_token = max(kind.token for kind in found) or 1.0
    tokens = max(shape.block, *(_covering(model, kind, shape, per_token) for kind in found))
    groups = [ceil(kind.layers / size) for kind in found]
    count = sum(n * _needed(kind, context, tokens, shape) for n, kind in zip(groups, found, strict=True))
    return Blocks(count, int(size * tokens * per_token), tokens, sum(groups))


def _covering(model: Model, kind: Kind, shape: Shape, per_token: float) -> int:
    """How many tokens a block must have to be as large as a state, which has the last inputs of its convolution for
    every token guessed ahead too."""
    if not kind.state:
        return 1
    linear = model.config.get("linear") or {}
    keys, values = (linear.get(f"{part}_heads", 0) * linear.get(f"{part}_dim", 0) for part in ("key", "value"))
    state: int = kind.state + 2 * shape.ahead * (2 * keys + values) // shape.tensor
    return ceil(state / per_token / shape.block) * shape.block


def _needed(kind: Kind, context: int, tokens: int, shape: Shape) -> int:
    """Blocks of one sequence in a group: a state is kept twice, and once for every token guessed ahead; a window needs
    what is computed at once beside it."""
    if kind.state:
        return 2 + shape.ahead
    whole = ceil(context / tokens)
    if kind.window is None:
        return whole
    return min(whole, ceil((kind.window - 1 + shape.batch) / tokens) + 1)


def cache_tokens(pool: float, model: Model, context: int, shape: Shape, version: str | None = None) -> int:
    """The tokens that vLLM says its cache has ("GPU KV cache size")."""
    one = blocks(model, context, shape)
    if not one.needed:
        return 0
    number = int(pool // one.size)
    if constant("vllm", "tokens_by_concurrency", version):
        return int(number / one.needed * context)
    return number // one.groups * one.tokens
