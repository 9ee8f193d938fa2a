"""A model's config.json in, its dimensions out, by the names that the catalogue has for them.

Each family's rules are those of its class in huggingface/transformers (modeling_*.py), by `model_type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgpu.catalog.published import published, text_of
from mgpu.values.model import Model, Origin, sizes_of

Raw = Mapping[str, Any]

ONE_NORM = frozenset(("cohere", "cohere2"))
FOUR_NORMS = frozenset(("gemma2", "gemma3", "gemma3_text", "gemma4_text", "glm4"))
HEAD_NORMS = frozenset((
    "qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_5_text", "qwen3_5_moe_text",
    "gemma3", "gemma3_text", "gemma4_text",
))  # fmt: skip
WHOLE_NORMS = frozenset(("olmo2", "olmo3", "minimax_m2"))
BIASED = frozenset(("qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text", "mimo"))
"""Families with a bias on queries, keys and values, whatever the file says."""
CORRECTED = frozenset((
    "deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe", "glm_moe_dsa", "mimo_v2_flash", "minimax_m2", "nemotron_h",
))  # fmt: skip
"""Families whose router has a bias for each expert."""
COPIES = frozenset(("deepseek_v3", "deepseek_v32", "glm4_moe", "glm_moe_dsa"))
"""Families whose checkpoints hold embedding and head again for the layers that guess ahead."""
PLAIN = frozenset((
    "llama", "mistral", "mixtral", "phi3", "gemma", "granite", "gpt_oss", "deepseek_v2", "internlm2", "llama4_text",
    "ministral", "mimo_v2_flash", "olmo", "seed_oss",
))  # fmt: skip
"""Families that the general rules describe without more."""
KNOWN = ONE_NORM | FOUR_NORMS | HEAD_NORMS | WHOLE_NORMS | BIASED | CORRECTED | PLAIN
TIED = frozenset(("gemma", "gemma2", "gemma3", "gemma3_text", "gemma4_text", "cohere", "cohere2"))
"""Families whose head is the embedding where the file does not say."""


GEMMA_EXPERT_NORMS = 8
"""Gemma 4 with experts beside each MLP has three norms more, and a scale before the router."""


def family(raw: Raw) -> str:
    """The `model_type` of the language model."""
    return str(text_of(raw).get("model_type") or raw.get("model_type") or "")


def dimensions(raw: Raw) -> dict[str, Any]:
    """The dimensions that a config.json tells. Raises KeyError for one that is missing, ValueError for what is no
    positive number."""
    text, kind = text_of(raw), family(raw)
    heads = _count(text, "num_attention_heads")
    hidden = _count(text, "hidden_size")
    tied = text.get("tie_word_embeddings", raw.get("tie_word_embeddings", kind in TIED))
    found = {
        "hidden_size": hidden,
        "num_hidden_layers": len(_blocks(text) or ()) or _count(text, "num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": text.get("num_key_value_heads") or heads,
        "head_dim": text.get("head_dim") or text.get("attention_head_dim") or hidden // heads,
        "intermediate_size": _wide(text, kind),
        "vocab_size": _count(text, "vocab_size"),
        "tie_word_embeddings": bool(tied),
        "max_position_embeddings": text.get("max_position_embeddings"),
        **_attention(text, kind),
        **_windows(text, kind),
        **_others(text, kind),
    }
    return {name: value for name, value in found.items() if value is not None}


def _count(text: Raw, name: str) -> int:
    value = text[name]
    most = 10000 if name == "num_hidden_layers" else 2**31
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < most:
        raise ValueError(f"{name} is {value!r}")
    return value


def _wide(text: Raw, kind: str) -> int | None:
    return text.get("intermediate_size_mlp") if kind == "llama4_text" else text.get("intermediate_size")


def _attention(text: Raw, kind: str) -> dict[str, Any]:
    biased = "qkv" if kind in BIASED else None
    if text.get("attention_bias") and not biased:
        biased = "qkvo"
    norms = {True: 1}.get(kind in ONE_NORM, 4 if kind in FOUR_NORMS else None)
    if text.get("enable_moe_block"):
        norms = GEMMA_EXPERT_NORMS
    without = WHOLE_NORMS | {"llama4_text"}
    head_norms = kind in HEAD_NORMS or (kind not in without and bool(text.get("use_qk_norm"))) or None
    return {
        "attention_bias": biased,
        "norms_per_layer": norms,
        "qk_norm": "full" if kind in WHOLE_NORMS else head_norms,
        "attention_sinks": kind == "gpt_oss" or None,
        "attn_output_gate": text.get("attn_output_gate") or kind == "qwen3_next" or None,
        "mlp": "plain" if kind == "nemotron_h" else None,
        "mlp_bias": text.get("mlp_bias") or None,
        "mla": _latent(text),
        "indexer": _indexer(text),
        "linear": _linear(text),
        "global": _whole(text),
        "local": _local(text),
        "v_head_dim": text.get("v_head_dim") if not text.get("kv_lora_rank") else None,
    }


def _local(text: Raw) -> dict[str, Any] | None:
    """What layers with a window have of their own (MiMo-V2)."""
    if not text.get("swa_num_key_value_heads"):
        return None
    return {
        "num_attention_heads": text["swa_num_attention_heads"],
        "num_key_value_heads": text["swa_num_key_value_heads"],
        "head_dim": text["swa_head_dim"],
        "v_head_dim": text["swa_v_head_dim"],
        "sinks": bool(text.get("add_swa_attention_sink_bias")),
    }


def _whole(text: Raw) -> dict[str, Any] | None:
    """What layers without a window have of their own (Gemma 4): values there may be the keys again."""
    if not text.get("global_head_dim"):
        return None
    return {
        "head_dim": text["global_head_dim"],
        "num_key_value_heads": text.get("num_global_key_value_heads") or text["num_key_value_heads"],
        "shared_values": bool(text.get("attention_k_eq_v")),
    }


def _latent(text: Raw) -> dict[str, Any] | None:
    names = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    return {name: text[name] for name in names if text.get(name)} if text.get("kv_lora_rank") else None


def _indexer(text: Raw) -> dict[str, Any] | None:
    """The indexer of sparse attention; where layers share one, only some have it."""
    if not text.get("index_n_heads"):
        return None
    kinds = text.get("indexer_types")
    layers = {"layers": [i for i, kind in enumerate(kinds) if kind == "full"]} if kinds else {}
    return {"heads": text["index_n_heads"], "head_dim": text["index_head_dim"], **layers}


def _linear(text: Raw) -> dict[str, Any] | None:
    if not text.get("linear_num_value_heads"):
        return None
    return {
        "full_every": text.get("full_attention_interval", 4),
        "key_heads": text["linear_num_key_heads"],
        "key_dim": text["linear_key_head_dim"],
        "value_heads": text["linear_num_value_heads"],
        "value_dim": text["linear_value_head_dim"],
        "kernel": text["linear_conv_kernel_dim"],
    }


def _windows(text: Raw, kind: str) -> dict[str, Any]:
    """Which layers look back at a window only; the full ones are listed where the file lists kinds of layers."""
    if kind == "llama4_text":
        return {"attention_chunk_size": text.get("attention_chunk_size"), "nope_every": 4}
    width = text.get("sliding_window")
    if not width or text.get("use_sliding_window") is False or width >= text.get("max_position_embeddings", 2**62):
        return {}
    kinds = text.get("layer_types") or [("full", "window")[local] for local in text.get("hybrid_layer_pattern", ())]
    if kinds:
        return {"sliding_window": width, "sliding_pattern": [i for i, k in enumerate(kinds) if "full" in k]}
    pattern = "alternating 1:1" if kind in ("gemma2", "gpt_oss") else None
    every = text.get("sliding_window_pattern") or (6 if kind.startswith("gemma3") else None)
    return {"sliding_window": width, "sliding_pattern": f"{every - 1} local : 1 global" if every else pattern}


def _others(text: Raw, kind: str) -> dict[str, Any]:
    ahead = text.get("num_nextn_predict_layers") or text.get("mtp_num_hidden_layers")
    return {
        "moe": _experts(text, kind),
        "blocks": _blocks(text),
        "mamba": _mamba(text),
        "mtp_layers": ahead or None,
        "mtp_copies": bool(ahead and kind in COPIES) or None,
    }


def _blocks(text: Raw) -> str | None:
    kinds = text.get("layers_block_type")
    if kinds:
        return "".join({"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}[kind] for kind in kinds)
    return text.get("hybrid_override_pattern")


def _mamba(text: Raw) -> dict[str, Any] | None:
    if not text.get("mamba_num_heads"):
        return None
    return {
        "heads": text["mamba_num_heads"],
        "head_dim": text["mamba_head_dim"],
        "groups": text["n_groups"],
        "state": text["ssm_state_size"],
        "kernel": text["conv_kernel"],
        "conv_bias": text.get("use_conv_bias", True),
    }


def _experts(text: Raw, kind: str) -> dict[str, Any] | None:
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    count = next((text[name] for name in names if text.get(name)), 0)
    if count < 2:
        return None
    shared = text.get("moe_shared_expert_intermediate_size") or text.get("shared_expert_intermediate_size")
    gated = kind in ("qwen2_moe", "qwen3_next", "qwen3_5_moe_text") and bool(shared)
    found = {
        "num_experts": count,
        "top_k": text.get("num_experts_per_tok") or text.get("top_k_experts"),
        "intermediate": text.get("moe_intermediate_size") or text["intermediate_size"],
        "latent": text.get("moe_latent_size"),
        "num_shared": 1 if kind == "llama4_text" else text.get("n_shared_experts"),
        "shared_intermediate": shared or None,
        "shared_gate": gated or None,
        "every": text.get("interleave_moe_layer_step") or text.get("decoder_sparse_step"),
        "first_dense": _dense(text),
        "dense_beside": text.get("enable_moe_block") or None,
        "router_correction_bias": kind in CORRECTED or bool(text.get("enable_moe_block")) or None,
        "expert_bias": kind == "gpt_oss" or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _dense(text: Raw) -> int | None:
    """How many layers at the start have no experts; some files list it for each layer."""
    listed = text.get("moe_layer_freq")
    return listed.index(1) if isinstance(listed, list) and 1 in listed else text.get("first_k_dense_replace")


def known(raw: Raw) -> bool:
    """Whether the rules here are known to describe a model of this kind."""
    text = text_of(raw)
    unlike = ("hidden_size_per_layer_input", "num_kv_shared_layers", "mlp_only_layers", "block_configs")
    return family(raw) in KNOWN and not any(text.get(name) for name in unlike)


def model_of(name: str, raw: Raw, origin: Origin) -> Model | None:
    """The model that a config.json describes, or None where it lacks a dimension or holds none that can be. Its
    parameters are left to be counted from the dimensions; `known` says whether they can be."""
    try:
        config = dimensions(raw)
    except (KeyError, ValueError, TypeError, ZeroDivisionError, AttributeError, IndexError):
        return None
    return described(name, config, published(raw), origin)


def described(name: str, config: Mapping[str, Any], dtype: str, origin: Origin) -> Model:
    """The model of this name with these dimensions."""
    return Model(name, name, dtype=dtype, origin=origin, **sizes_of(config))
