"""The dimensions of a language model in, the matrices of each of its layers out, by the names that GGUF files have.

The keys are those of `Model.config`. The counts were checked against published totals: see the rows of models.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Config = Mapping[str, Any]


class Tensor(NamedTuple):
    """`copies` matrices of `rows` x `columns` numbers (a row is one output). A `small` one is a norm, a bias or the
    like: every GPU has its own, and no format quantizes it."""

    role: str
    columns: int
    rows: int = 1
    copies: int = 1
    small: bool = False

    @property
    def size(self) -> int:
        """How many numbers these are."""
        return self.columns * self.rows * self.copies


def small(role: str, size: int) -> Tensor:
    """A vector of `size` numbers."""
    return Tensor(role, size, small=True)


def of_layer(config: Config, index: int) -> tuple[Tensor, ...]:
    """The tensors of layer `index` (from 0). Raises KeyError for a dimension that is not there."""
    blocks = config.get("blocks")
    if blocks is not None:
        return (*_BLOCKS[blocks[index]](config, index), small("attn_norm", config["hidden_size"]))
    norms = config.get("norms_per_layer", 2) * config["hidden_size"] * (2 if config.get("norm_bias") else 1)
    mixer = attention if full(config, index) else delta_net
    return (*mixer(config, index), *feed_forward(config, index), small("norms", norms))


def full(config: Config, index: int) -> bool:
    """Whether a layer has attention over what came before, and not a state of constant size."""
    blocks = config.get("blocks")
    if blocks is not None:
        return bool(blocks[index] == "*")
    linear = config.get("linear")
    return linear is None or (index + 1) % linear["full_every"] == 0


def window(config: Config, index: int) -> int | None:
    """How many tokens the attention of a layer looks back at, at most; None: all of them."""
    chunk = config.get("attention_chunk_size")
    if chunk:
        return None if (index + 1) % config.get("nope_every", index + 2) == 0 else int(chunk)
    width = config.get("sliding_window")
    return None if not width or _is_global(config, index) else int(width)


def _is_global(config: Config, index: int) -> bool:
    """`sliding_pattern` counts window layers and then full ones, as in "5 local : 1 global", or lists the full ones."""
    pattern = config.get("sliding_pattern")
    if not isinstance(pattern, str):
        return pattern is not None and index in pattern
    local, whole = (int(word) for word in pattern.replace(":", " ").split() if word.isdigit())
    return index % (local + whole) >= local


class Heads(NamedTuple):
    """The attention of one layer: `keys` is the width of one head, `shared` that values are the keys again."""

    queries: int
    keys_values: int
    width: int
    values: int
    shared: bool = False
    sinks: bool = False


def heads(config: Config, index: int) -> Heads:
    """What the attention of a layer has: layers without a window may differ, values may be narrower."""
    own = config.get("global" if window(config, index) is None else "local", {})
    found = {**config, **own}
    width = found["head_dim"]
    return Heads(
        found["num_attention_heads"],
        found["num_key_value_heads"],
        width,
        found.get("v_head_dim", width),
        bool(found.get("shared_values")),
        bool(found.get("sinks") or found.get("attention_sinks")),
    )


def attention(config: Config, index: int) -> Iterator[Tensor]:
    """Query, key, value and output matrices, their biases and norms."""
    if "mla" in config:
        yield from latent(config, index)
        return
    h, at = config["hidden_size"], heads(config, index)
    queries, keys, values = at.queries * at.width, at.keys_values * at.width, at.keys_values * at.values
    yield Tensor("attn_q", h, queries * (2 if config.get("attn_output_gate") else 1))
    yield Tensor("attn_k", h, keys)
    if not at.shared:
        yield Tensor("attn_v", h, values)
    yield Tensor("attn_output", at.queries * at.values, h)
    bias = config.get("attention_bias", "")
    yield small("attn_bias", (queries + keys + values if "qkv" in bias else 0) + (h if "o" in bias else 0))
    norms = {"full": queries + keys, True: 2 * at.width}.get(config.get("qk_norm", False), 0)
    yield small("attn_norms", norms + (at.queries if at.sinks else 0))


def latent(config: Config, index: int) -> Iterator[Tensor]:
    """DeepSeek's latent attention (arXiv 2405.04434), with the indexer of V3.2 where there is one."""
    mla, h, n = config["mla"], config["hidden_size"], config["num_attention_heads"]
    rope, nope, kv = mla["qk_rope_head_dim"], mla["qk_nope_head_dim"], mla["kv_lora_rank"]
    rank = mla.get("q_lora_rank")
    if rank:
        yield Tensor("attn_q_a", h, rank)
        yield small("attn_q_a_norm", rank)
    yield Tensor("attn_q_b" if rank else "attn_q", rank or h, n * (nope + rope))
    yield Tensor("attn_kv_a", h, kv + rope)
    yield small("attn_kv_a_norm", kv)
    yield Tensor("attn_k_b", nope, kv, n)
    yield Tensor("attn_v_b", kv, mla["v_head_dim"], n)
    yield Tensor("attn_output", n * mla["v_head_dim"], h)
    indexer = config.get("indexer")
    if indexer and index in indexer.get("layers", (index,)):
        wide = indexer["heads"] * indexer["head_dim"]
        yield Tensor("indexer_q_b", rank or h, wide)
        yield Tensor("indexer_k", h, indexer["head_dim"])
        yield Tensor("indexer_proj", h, indexer["heads"])
        yield small("indexer_norm", 2 * indexer["head_dim"])


def delta_net(config: Config, _: int) -> Iterator[Tensor]:
    """The linear attention of Qwen3-Next and 3.5 (transformers, modeling_qwen3_next.py: Qwen3NextGatedDeltaNet)."""
    linear, h = config["linear"], config["hidden_size"]
    keys = linear["key_heads"] * linear["key_dim"]
    values = linear["value_heads"] * linear["value_dim"]
    yield Tensor("attn_qkv", h, 2 * keys + values)
    yield Tensor("attn_gate", h, values)
    yield Tensor("ssm_ba", h, 2 * linear["value_heads"])
    yield Tensor("ssm_out", values, h)
    yield small("ssm_conv1d", (2 * keys + values) * linear["kernel"])
    yield small("ssm", 2 * linear["value_heads"] + linear["value_dim"])


def mamba(config: Config, _: int) -> Iterator[Tensor]:
    """A Mamba 2 mixer (transformers, modeling_mamba2.py)."""
    ssm, h = config["mamba"], config["hidden_size"]
    inner, grouped = ssm["heads"] * ssm["head_dim"], 2 * ssm["groups"] * ssm["state"]
    yield Tensor("ssm_in", h, 2 * inner + grouped + ssm["heads"])
    yield Tensor("ssm_out", inner, h)
    yield small("ssm_conv1d", (inner + grouped) * (ssm["kernel"] + (1 if ssm.get("conv_bias", True) else 0)))
    yield small("ssm", 3 * ssm["heads"] + inner)


def feed_forward(config: Config, index: int) -> Iterator[Tensor]:
    """The MLP of a layer, or its experts."""
    return experts(config, index) if sparse(config, index) else mlp(config, config["intermediate_size"])


def sparse(config: Config, index: int) -> bool:
    """Whether a layer has experts."""
    blocks, moe = config.get("blocks"), config.get("moe")
    if blocks is not None or not moe:
        return bool(blocks and blocks[index] == "E")
    every = moe.get("every", 1)
    return bool(index >= moe.get("first_dense", 0) and index % every == every - 1)


def mlp(config: Config, wide: int, suffix: str = "", *, columns: int | None = None) -> Iterator[Tensor]:
    """Gate, up and down; a plain one has no gate."""
    h = columns or config["hidden_size"]
    if config.get("mlp") != "plain":
        yield Tensor("ffn_gate" + suffix, h, wide)
    yield Tensor("ffn_up" + suffix, h, wide)
    yield Tensor("ffn_down" + suffix, wide, h)
    if config.get("mlp_bias") and not suffix:
        yield small("ffn_bias", h + wide * (1 if config.get("mlp") == "plain" else 2))


def experts(config: Config, _: int) -> Iterator[Tensor]:
    """The experts, the router, and the experts that every token has."""
    moe, h = config["moe"], config["hidden_size"]
    count, wide, seen = moe["num_experts"], moe["intermediate"], moe.get("latent") or h
    for tensor in mlp(config, wide, "_exps", columns=seen):
        yield tensor._replace(copies=count)
    if moe.get("expert_bias"):
        yield small("ffn_exps_bias", count * (2 * wide + h))
    if moe.get("latent"):
        yield Tensor("ffn_latent_down", h, seen)
        yield Tensor("ffn_latent_up", seen, h)
    yield Tensor("ffn_gate_inp", h, count)
    bias = moe.get("router_correction_bias", False) or moe.get("expert_bias", False)
    yield small("router_bias", count if bias else 0)
    shared = moe.get("shared_intermediate") or moe.get("num_shared", 0) * wide
    if shared:
        yield from mlp(config, shared, "_shexp")
    if moe.get("shared_gate"):
        yield small("ffn_gate_inp_shexp", h)
    if moe.get("dense_beside"):
        yield from mlp(config, config["intermediate_size"])


_BLOCKS = {
    "*": attention,
    "M": mamba,
    "-": lambda config, index: mlp(config, config["intermediate_size"]),
    "E": experts,
}
"""What a layer is where each has one thing only, as in the `hybrid_override_pattern` of Nemotron-H."""
