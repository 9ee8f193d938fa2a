"""A model's sizes as a value, whoever said them: its own files, its config.json, the catalogue, the spec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Origin = Literal["the spec", "safetensors headers", "GGUF table", "config.json", "the hub", "the catalogue"]


class Stored(NamedTuple):
    """The bytes of a model's tensors as its files hold them, in `format` (bf16, fp8, awq-int4, Q4_K_M ...): the input
    embedding, the output head (0 where the embedding is used again), everything else of each of the `layers`, of it
    the `experts`, and what is in none of these."""

    format: str
    embedding: int
    head: int
    layers: tuple[int, ...]
    experts: tuple[int, ...]
    other: int = 0

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.embedding + self.head + sum(self.layers) + self.other


@dataclass(frozen=True)
class Model:
    """A model. `params` counts all weights of the checkpoint, `text_params` those of its language model; of a
    diffusion model only these are known, in parts (`facts`). `layers`, `heads`, `kv_heads`, `head_dim`, `hidden`,
    `intermediate`, `vocabulary` are its language model's; `experts` of each layer that has them, 0 where none has;
    `context` in tokens. `config` are all its dimensions by the names of its config.json, `facts` the whole row of the
    catalogue; `stored` are its files' own bytes, where those were read, and `origin` says who told all this."""

    id: str
    repository: str
    aliases: tuple[str, ...] = ()
    kind: str = "llm"
    dtype: str = "bfloat16"
    params: int | None = None
    text_params: int | None = None
    hidden: int | None = None
    layers: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    experts: int = 0
    context: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    stored: Stored | None = None
    origin: Origin = "the catalogue"

    @cached_property
    def dimensions(self) -> str:
        """`config` as a text, by which what follows from it is remembered."""
        return json.dumps(self.config, sort_keys=True)

    @property
    def intermediate(self) -> int | None:
        """The width of a dense layer's MLP."""
        return self.config.get("intermediate_size")

    @property
    def vocabulary(self) -> int | None:
        """Entries of the vocabulary."""
        return self.config.get("vocab_size")


def sizes_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Model that its dimensions tell, and these."""
    return {
        "hidden": config.get("hidden_size"),
        "layers": config.get("num_hidden_layers"),
        "heads": config.get("num_attention_heads"),
        "kv_heads": config.get("num_key_value_heads"),
        "head_dim": config.get("head_dim"),
        "experts": config.get("moe", {}).get("num_experts", 0),
        "context": config.get("max_position_embeddings"),
        "config": config,
    }
