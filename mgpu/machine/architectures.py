"""The facts of a GGUF file in, the dimensions of its model out, by the names that the catalogue has for them.

The names of the facts: ggml-org/llama.cpp gguf-py/gguf/constants.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]

PATTERNS = {"gemma2": "alternating 1:1", "gpt-oss": "alternating 1:1", "gemma3": "5 local : 1 global"}
"""Which layers have the window, by architecture (llama.cpp, llama-model.cpp: set_swa_pattern)."""
HEAD_NORMS = frozenset(("qwen3", "qwen3moe", "gemma3"))
BIASED = frozenset(("qwen2", "qwen2moe"))


def dimensions(facts: Facts, tied: bool) -> dict[str, Any] | None:
    """The dimensions; None for a model with states in place of a cache, whose kind the file does not tell whole.
    Raises KeyError for one that is missing."""
    kind = str(facts["general.architecture"])
    own = {name.removeprefix(f"{kind}."): value for name, value in facts.items() if name.startswith(f"{kind}.")}
    if any(name.startswith(("ssm.", "wkv", "shortconv")) for name in own):
        return None
    heads, hidden = _one(own["attention.head_count"]), own["embedding_length"]
    found = {
        "hidden_size": hidden,
        "num_hidden_layers": own["block_count"] - own.get("nextn_predict_layers", 0),
        "num_attention_heads": heads,
        "num_key_value_heads": _one(own.get("attention.head_count_kv", heads)),
        "head_dim": own.get("attention.key_length", hidden // heads),
        "intermediate_size": _one(own.get("feed_forward_length", own.get("expert_feed_forward_length"))),
        "vocab_size": own.get("vocab_size") or _length(facts.get("tokenizer.ggml.tokens")),
        "tie_word_embeddings": tied,
        "max_position_embeddings": own.get("context_length"),
        "moe": _experts(own),
        "mla": _latent(own),
        "qk_norm": kind in HEAD_NORMS or None,
        "attention_bias": "qkv" if kind in BIASED else None,
        **_window(own, kind),
    }
    _checked(found)
    return {name: value for name, value in found.items() if value is not None}


LARGEST = {"num_hidden_layers": 10000}
"""More than any model has: what is larger is damage."""


def _checked(found: Facts) -> None:
    """Raise KeyError, as for a missing one, for a dimension that none can be."""
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size"):
        value = found[name]
        if not isinstance(value, int) or not 0 < value <= LARGEST.get(name, 2**31):
            raise KeyError(f"{name} is {value}")


def _one(value: Any) -> Any:
    """A number of each layer, or of all: the largest."""
    return max(value) if isinstance(value, list) and value else value


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else value


def _experts(own: Facts) -> dict[str, Any] | None:
    if own.get("expert_count", 0) < 2:
        return None
    return {
        "num_experts": own["expert_count"],
        "top_k": own.get("expert_used_count"),
        "intermediate": own.get("expert_feed_forward_length") or _one(own["feed_forward_length"]),
        "num_shared": own.get("expert_shared_count", 0),
        "first_dense": own.get("leading_dense_block_count", 0),
    }


def _latent(own: Facts) -> dict[str, Any] | None:
    rank = own.get("attention.kv_lora_rank")
    if not rank:
        return None
    rope = own["rope.dimension_count"]
    width = own.get("attention.key_length_mla") or own["attention.key_length"]
    found = {
        "q_lora_rank": own.get("attention.q_lora_rank"),
        "kv_lora_rank": rank,
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": width - rope,
        "v_head_dim": own.get("attention.value_length_mla") or own["attention.value_length"],
    }
    return {name: value for name, value in found.items() if value}


def _window(own: Facts, kind: str) -> dict[str, Any]:
    width = own.get("attention.sliding_window")
    pattern = own.get("attention.sliding_window_pattern")
    if not width or (kind not in PATTERNS and not isinstance(pattern, list)):
        return {}
    if isinstance(pattern, list):
        return {"sliding_window": width, "sliding_pattern": [i for i, local in enumerate(pattern) if not local]}
    return {"sliding_window": width, "sliding_pattern": PATTERNS[kind]}
