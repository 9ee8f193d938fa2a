"""A matrix, its place and the kind of the file in, the type that llama-quantize gives it out, before any fallback.

Read from ggml-org/llama.cpp src/llama-quant.cpp at 007dbbf3fd17, llama_tensor_get_type_impl.
"""

from __future__ import annotations

from typing import NamedTuple

from mgpu.memory.tensors import Tensor


class File(NamedTuple):
    """What the choice looks at: the `mix`, the type most matrices get, how many layers there are and how many of them
    have values, query heads per key, experts, whether the head is the embedding, whether there is an importance matrix,
    and whether llama.cpp calls the model 70B (80 layers, keys shared by heads)."""

    mix: str
    default: str
    layers: int
    valued: int
    shared: int
    experts: int
    tied: bool
    imatrix: bool
    large: bool


class Place(NamedTuple):
    """The layer of a matrix, and how many layers before it have values."""

    layer: int
    values: int


SMALLEST = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
MIDDLE = ("IQ2_S", "IQ2_M")
NEEDS_MATRIX = frozenset((*SMALLEST, "IQ3_XXS", "IQ3_XS", "Q2_K_S"))
"""Kinds of files that are not made without an importance matrix (tensor_requires_imatrix)."""


def chosen(tensor: Tensor, file: File, place: Place) -> str:
    """The type of ggml's for this matrix."""
    role = tensor.role
    if role == "output" or (role == "token_embd" and file.tied):
        return _head(tensor, file)
    if file.mix == "MXFP4_MOE":
        return "MXFP4" if role.endswith("_exps") else "Q8_0"
    if role == "token_embd":
        return _embedding(file)
    if file.mix in SMALLEST:
        return _smallest(role, file, place)
    rule = next((rule for start, rule in _RULES if role.startswith(start)), None)
    return rule(file, place) if rule else file.default


def _more(index: int, of: int) -> bool:
    """Layers that get more bits: the first and the last eighth, and every third between."""
    return index < of // 8 or index >= 7 * of // 8 or (index - of // 8) % 3 == 2


def _head(tensor: Tensor, file: File) -> str:
    if file.mix == "MXFP4_MOE" or file.default == "Q8_0" or (tensor.columns % 256 and file.default not in _THIRTY_TWO):
        return "Q8_0"
    if tensor.columns % 32:
        return "Q8_0"
    return "Q5_K" if file.mix in (*SMALLEST, "IQ3_XXS") else "Q6_K"


_THIRTY_TWO = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4", "NVFP4")
"""Types whose blocks have fewer than 256 weights."""


def _embedding(file: File) -> str:
    if file.mix in ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"):
        return "Q2_K"
    if file.mix in (*MIDDLE, "IQ3_XXS"):
        return "IQ3_S"
    return "Q4_K" if file.mix in ("TQ1_0", "TQ2_0") else file.default


def _smallest(role: str, file: File, place: Place) -> str:
    better = "IQ3_S" if file.mix in MIDDLE else "Q2_K"
    if role in ("attn_v", "attn_qkv", "attn_kv_b"):
        return "Q4_K" if file.shared >= 4 or file.experts >= 4 else better
    if role == "attn_k" and file.experts == 8:
        return "Q4_K"
    if role.startswith("ffn_down"):
        return better if place.layer < file.layers // 8 else file.default
    if role == "attn_output":
        if file.experts == 8:
            return "Q5_K"
        return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(file.mix, file.default)
    return file.default


def _values(file: File, place: Place) -> str:
    if file.experts == 8:
        return "Q8_0"
    found = _value(file, place)
    return "Q5_K" if file.large and found in ("Q3_K", "Q4_K") else found


def _value(file: File, place: Place) -> str:
    mix, wide, index = file.mix, file.shared >= 4, place.values
    always = {"IQ3_M": "Q4_K", "Q3_K_L": "Q5_K", "Q3_K_M": "Q5_K" if index < 2 else "Q4_K"}
    shared = {"Q2_K_S": "Q4_K", "IQ3_XS": "Q4_K", "IQ3_S": "Q4_K", "IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K"}
    if mix == "Q2_K":
        return "Q4_K" if wide else "Q3_K"
    if mix == "IQ3_XXS":
        return "Q4_K" if wide else "IQ3_XXS" if file.imatrix else "IQ3_S"
    if mix in ("Q4_K_M", "Q5_K_M"):
        return "Q6_K" if _more(index, file.valued) else file.default
    if mix == "Q4_K_S":
        return "Q5_K" if index < 4 else file.default
    return always.get(mix) or (shared.get(mix) if wide else None) or file.default


def _keys(file: File, _: Place) -> str:
    return "Q8_0" if file.experts == 8 else _queries(file, _)


def _queries(file: File, _: Place) -> str:
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(file.mix, file.default)


def _down(file: File, place: Place) -> str:
    mix, index, count = file.mix, place.layer, file.layers
    early, more = index < count // 8, _more(index, count)
    if mix == "IQ3_XXS" and not file.imatrix:
        return "Q4_K" if early else "Q3_K"
    if mix in ("IQ4_NL", "IQ4_XS") and not file.imatrix:
        return "Q5_K" if early else file.default
    if mix in ("Q4_0", "Q5_0") and file.imatrix:
        return {"Q4_0": "Q4_1", "Q5_0": "Q5_1"}[mix] if early else file.default
    return {
        "Q2_K": "Q3_K",
        "Q2_K_S": "Q4_K" if early else file.default,
        "Q3_K_M": "Q5_K" if index < count // 16 else "Q4_K",
        "IQ3_M": "Q4_K" if early or (file.experts == 8 and more) else file.default,
        "Q3_K_L": "Q5_K",
        "Q4_K_M": "Q6_K" if more else file.default,
        "Q5_K_M": "Q6_K" if more else file.default,
        "Q4_K_S": "Q5_K" if early else file.default,
    }.get(mix, file.default)


EIGHT = frozenset(
    ("Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS")
)


def _outputs(file: File, _: Place) -> str:
    if file.experts == 8:
        return "Q5_K" if file.mix in EIGHT else file.default
    mixed = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
    return mixed.get(file.mix, file.default)


def _wide(file: File, place: Place) -> str:
    middle = file.layers // 8 <= place.layer < 7 * file.layers // 8
    return "IQ3_XXS" if file.mix == "IQ3_XS" and middle else file.default


_RULES = (
    ("attn_qkv", _values),
    ("attn_kv_b", _values),
    ("attn_v_", lambda file, _: file.default),
    ("attn_v", _values),
    ("attn_k_", lambda file, _: file.default),
    ("attn_kv_a", lambda file, _: file.default),
    ("attn_k", _keys),
    ("attn_q_", lambda file, _: file.default),
    ("attn_q", _queries),
    ("ffn_down", _down),
    ("attn_output", _outputs),
    ("ffn_gate", _wide),
    ("ffn_up", _wide),
)
"""The first that a matrix's name begins with. Parts of latent attention have names that no rule is for."""
