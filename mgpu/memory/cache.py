"""A model in, bytes of the cache of keys and values out."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import NamedTuple

from mgpu.memory.parts import key, parts
from mgpu.memory.tensors import Config, full, heads
from mgpu.memory.tensors import window as looks_back
from mgpu.values.model import Model

STATE = 4
"""Bytes of a number in a state of linear attention or Mamba: float32 (config.json: mamba_ssm_dtype)."""
CONVOLVED = 2
"""Bytes of a number in the state of its convolution."""


class Held(NamedTuple):
    """What one layer holds of a sequence on one GPU: `numbers` a token, of at most `window` tokens (None: of all),
    `fixed` bytes a token besides, and a `state` of so many bytes however long it is."""

    numbers: int
    window: int | None
    fixed: int = 0
    state: int = 0


def cached(
    model: Model, tokens: int, element: float = 2.0, tensor: int = 1, layers: range | None = None, window: int = 0
) -> int:
    """Bytes that one sequence of `tokens` takes on one of `tensor` GPUs that hold `layers` (None: all of them). An
    element of keys or values takes `element` bytes; layers with a sliding window hold no more than it and `window`
    tokens more (what an engine reserves beyond it). Raises ValueError for a model whose dimensions are not all known.
    """
    count = len(parts(model).layers)
    mine = range(count) if layers is None else layers
    return round(sum(_bytes(held(model, index, tensor), tokens, element, window) for index in mine))


def _bytes(at: Held, tokens: int, element: float, more: int) -> float:
    kept = tokens if at.window is None else min(tokens, at.window + more)
    return kept * (at.numbers * element + at.fixed) + at.state


def held(model: Model, index: int, tensor: int = 1) -> Held:
    """What layer `index` holds on one of `tensor` GPUs."""
    return _held(key(model), index, tensor)


@lru_cache(maxsize=4096)
def _held(text: str, index: int, tensor: int) -> Held:
    config: Config = json.loads(text)
    blocks = config.get("blocks")
    if blocks is not None and blocks[index] not in "*M":
        return Held(0, None)
    if not full(config, index):
        return Held(0, None, state=-(-_state(config) // tensor))
    if "mla" in config:
        mla, indexer = config["mla"], config.get("indexer", {})
        looked_up = indexer["head_dim"] + 4 if indexer and index in indexer.get("layers", (index,)) else 0
        return Held(mla["kv_lora_rank"] + mla["qk_rope_head_dim"], None, looked_up)
    at = heads(config, index)
    mine = max(1, at.keys_values // tensor)
    return Held(mine * (at.width + (0 if at.shared else at.values)), looks_back(config, index))


def _state(config: Config) -> int:
    """Bytes of the state of a layer that has no cache: of its convolution, and of what it has summed up."""
    if "mamba" in config:
        ssm = config["mamba"]
        inner = ssm["heads"] * ssm["head_dim"]
        convolved = (inner + 2 * ssm["groups"] * ssm["state"]) * (ssm["kernel"] - 1)
        return int(CONVOLVED * convolved + STATE * inner * ssm["state"])
    linear = config["linear"]
    keys, values = linear["key_heads"] * linear["key_dim"], linear["value_heads"] * linear["value_dim"]
    return int(CONVOLVED * (2 * keys + values) * (linear["kernel"] - 1) + STATE * values * linear["key_dim"])
