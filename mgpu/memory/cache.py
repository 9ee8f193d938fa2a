"""A model in, bytes of the cache of keys and values out."""

from __future__ import annotations

from mgpu.values.model import Model


def cached(
    model: Model, tokens: int, element: float = 2.0, tensor: int = 1, layers: range | None = None, window: int = 0
) -> int:
    """Bytes that one sequence of `tokens` takes on one of `tensor` GPUs that hold `layers` (None: all of them). An
    element of keys or values takes `element` bytes; layers with a sliding window hold no more than it and `window`
    tokens more (what an engine reserves beyond it)."""
    raise NotImplementedError((model, tokens, element, tensor, layers, window))
