"""A model in, how many parameters each part of it has out: what is split, copied and quantized differs by part."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import NamedTuple

from mgpu.memory.tensors import Config, Tensor, of_layer, sparse
from mgpu.values.model import Model


class Layer(NamedTuple):
    """Parameters of one layer: `attention` and `mlp` matrices (shared experts among the latter), all its `experts`
    together, their `router`, and what is `small` and copied to every GPU (norms, biases)."""

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

    @property
    def text(self) -> int:
        """All parameters of the language model itself."""
        return self.embedding + self.head + sum(layer.total for layer in self.layers) + self.small


NEEDED = ("hidden_size", "num_hidden_layers", "vocab_size")


def parts(model: Model) -> Parts:
    """The parts of a language model. Raises ValueError for a model whose dimensions are not all known."""
    missing = [name for name in NEEDED if not model.config.get(name)]
    try:
        if not missing:
            return _counted(key(model))
    except KeyError as error:
        missing = [str(error.args[0])]
    raise ValueError(f"{model.id}: {', '.join(missing)} is not known")


def key(model: Model) -> str:
    """The dimensions of a model as a text, by which what follows from them is remembered."""
    return model.dimensions


@lru_cache(maxsize=64)
def _counted(text: str) -> Parts:
    config = json.loads(text)
    entries, layers = config["vocab_size"] * config["hidden_size"], config["num_hidden_layers"]
    each = tuple(_layer(tensors(text, index)) for index in range(layers))
    positions = config.get("position_embeddings", 0) * config["hidden_size"]
    return Parts(
        entries + positions,
        0 if config.get("tie_word_embeddings") else entries,
        each,
        config["hidden_size"] * (2 if config.get("norm_bias") else 1),
        _ahead(config, each),
        config.get("tower_params", 0),
    )


@lru_cache(maxsize=4096)
def tensors(text: str, index: int) -> tuple[Tensor, ...]:
    """The tensors of a layer of the model with these dimensions (see `key`)."""
    return of_layer(_config(text), index)


@lru_cache(maxsize=64)
def _config(text: str) -> Config:
    config: Config = json.loads(text)
    return config


def part_of(tensor: Tensor) -> str:
    """Which part of its layer a tensor belongs to: one of the names of `Layer`."""
    if tensor.small:
        return "small"
    if tensor.role == "ffn_gate_inp":
        return "router"
    if tensor.role.endswith("_exps"):
        return "experts"
    return "mlp" if tensor.role.startswith("ffn") else "attention"


def _layer(found: tuple[Tensor, ...]) -> Layer:
    sums = dict.fromkeys(Layer._fields, 0)
    for tensor in found:
        sums[part_of(tensor)] += tensor.size
    return Layer(**sums)


def _ahead(config: Config, layers: tuple[Layer, ...]) -> int:
    """The layers that guess ahead, as DeepSeek-V3 has them (arXiv 2412.19437, 2.2): a layer of the last kind, a matrix
    that joins two hidden states, three norms, and copies of embedding and head where `mtp_copies` says so."""
    count, h = config.get("mtp_layers", 0), config["hidden_size"]
    if not count:
        return 0
    last = next((i for i in reversed(range(len(layers))) if not config.get("moe") or sparse(config, i)), -1)
    copies = 2 * config["vocab_size"] * h if config.get("mtp_copies") else 0
    return int(count * (layers[last].total + 2 * h * h + 3 * h + copies))
