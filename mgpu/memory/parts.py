"""A model in, how many parameters each part of it has out: what is split, copied and quantized differs by part."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mgpu.values.model import Model


class Layer(NamedTuple):
    """Parameters of one layer: `attention` and `mlp` matrices (shared experts among the latter), all its `experts`
    together, their `router`, and what is `small` and copied to every GPU (norms)."""

    attention: int
    mlp: int
    experts: int
    router: int
    small: int

    @property
    def total(self) -> int:
        """All parameters of the layer."""
        return sum(self)


class Parts(NamedTuple):
    """Parameters of a language model: `head` is 0 where the embedding is used again; `mtp` of the layers that only
    guess ahead, `towers` of what is not text."""

    embedding: int
    head: int
    layers: tuple[Layer, ...]
    small: int
    mtp: int
    towers: int


@lru_cache(maxsize=64)
def _counted(key: tuple[object, ...]) -> Parts:
    raise NotImplementedError(key)


def parts(model: Model) -> Parts:
    """The parts of a language model. Raises ValueError for a model whose dimensions are not all known."""
    raise NotImplementedError(model)
