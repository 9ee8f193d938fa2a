"""A model in a format in, what a step has to read and to reckon out: bytes and operations, whole, before any split."""

from __future__ import annotations

from typing import NamedTuple

from mgpu.catalog.formats import formats
from mgpu.memory.cache import cached
from mgpu.memory.parts import Parts, parts
from mgpu.memory.weights import on_gpu
from mgpu.values.model import Model
from mgpu.values.speed import Workload

HEAD = 6.5625 / 8
"""Bytes of a parameter of a GGUF file's output head, which is Q6_K in most mixes (llama.cpp, src/llama-quant.cpp)."""


class Burden(NamedTuple):
    """Bytes: `attention` and `mlp` are read for every step, `experts` as far as tokens choose them (all of them
    together), `head` at the end. Operations of one token: `dense`, `chosen` (its experts'), `scan` for each token that
    it looks back on. `sequence` are bytes of cache that one sequence of the workload has half way through its answer.
    `sparse` layers have experts; `block`: how many rows an expert has, where it is in fp8 blocks."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    latent: bool
    attention: float
    mlp: float
    experts: float
    head: float
    dense: float
    chosen: float
    scan: float
    sequence: float
    many: int = 0
    top: int = 0
    sparse: int = 0
    block: int = 0
    format: str = "bf16"

    @property
    def weights(self) -> float:
        """All bytes of weights that can be read in a step."""
        return self.attention + self.mlp + self.experts + self.head

    def touched(self, tokens: float) -> float:
        """Bytes of the experts that `tokens` tokens choose, if they choose alike: E (1 - (1 - k/E)^tokens) of E."""
        if not self.many:
            return 0.0
        return self.experts * (1.0 - float((1 - self.top / self.many) ** tokens))


def burden_of(model: Model, stored: str, workload: Workload, element: float = 2.0) -> Burden:
    """What `model` asks under `workload` with its weights in the format `stored` (see `format_of`); an element of its
    cache takes `element` bytes. Raises ValueError for a model whose dimensions are not all known."""
    counted = parts(model)
    layers, hidden = len(counted.layers), model.hidden or 0
    rest, experts = _between(model, stored, counted)
    head = (counted.head or counted.embedding) * (HEAD if is_gguf(stored) else 2.0)
    attention = sum(layer.attention for layer in counted.layers)
    mlp = sum(layer.mlp + layer.router + layer.small for layer in counted.layers)
    every = sum(layer.experts for layer in counted.layers)
    moe = model.config.get("moe", {})
    top = int(moe.get("top_k", 0)) if model.experts else 0
    chosen = 2.0 * every * top / model.experts if model.experts else 0.0
    share = attention / max(1, attention + mlp)
    middle = workload.prompt + workload.output // 2
    return Burden(
        layers,
        hidden,
        model.heads or 1,
        model.kv_heads or model.heads or 1,
        "mla" in model.config,
        rest * share,
        rest * (1 - share),
        experts,
        head,
        2.0 * (attention + mlp),
        chosen,
        _scanned(model, workload.prompt),
        float(cached(model, middle, element)),
        model.experts,
        top,
        sum(1 for layer in counted.layers if layer.experts),
        int(moe.get("intermediate", 0)) if stored.startswith("fp8") else 0,
        stored,
    )


def _between(model: Model, stored: str, counted: Parts) -> tuple[float, float]:
    """Bytes of what lies between embedding and head, without and of its experts: these are twice what half of them is,
    and in a GGUF file about as many of the bytes as of the parameters."""
    ends = (counted.embedding + counted.head) * (HEAD if is_gguf(stored) else 2.0) + 2.0 * counted.towers
    whole = max(0.0, on_gpu(model, stored) - ends)
    if not model.experts:
        return whole, 0.0
    if is_gguf(stored):
        every = sum(layer.experts for layer in counted.layers)
        experts = whole * every / max(1, sum(layer.total for layer in counted.layers))
    else:
        experts = 2.0 * (on_gpu(model, stored) - on_gpu(model, stored, expert=2))
    return max(0.0, whole - experts), experts


def is_gguf(stored: str) -> bool:
    """Whether a format is a mix of a GGUF file."""
    return stored not in formats()


def _scanned(model: Model, tokens: int) -> float:
    """Operations of attention for each token looked back on, in all layers that look back on all: of layers with a
    window, or without a cache that grows, only as much as their cache has of `tokens`."""
    latent = model.config.get("mla")
    heads, size = model.heads or 1, model.head_dim or 128
    if latent:
        one = 2.0 * (latent["kv_lora_rank"] + latent["qk_rope_head_dim"])
        wide = (latent["qk_nope_head_dim"] + latent["qk_rope_head_dim"] + latent["v_head_dim"]) / 2
    else:
        one, wide = 4.0 * (model.kv_heads or heads) * size, float(size)
    layers = min(float(model.layers or 1), cached(model, tokens) / (tokens * one)) if tokens else 0.0
    return float(4.0 * heads * wide * layers)
