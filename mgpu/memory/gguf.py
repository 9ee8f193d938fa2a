"""A model and the kind of a GGUF file (Q4_K_M) in, the bytes of its tensors out, as llama-quantize chooses their types.

Read from ggml-org/llama.cpp src/llama-quant.cpp at 007dbbf3fd17 (llama_tensor_get_type_impl and
tensor_type_fallback). Vendors' own mixes differ: where the file is at hand, its own table is read instead.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import NamedTuple

from mgpu.catalog.formats import gguf_block, gguf_default, gguf_fallback
from mgpu.memory.mixes import NEEDS_MATRIX, File, Place, chosen
from mgpu.memory.parts import key, part_of, tensors
from mgpu.memory.tensors import Config, Tensor
from mgpu.values.model import Model, Stored

EMBEDDING = "token_embd"
HEAD = "output"


def stored(model: Model, mix: str, imatrix: bool | None = None) -> Stored:
    """The bytes of the tensors of `model` in a file of kind `mix`; `imatrix`: it was made with an importance matrix
    (None: only where it cannot be made without). Without the header and its vocabulary, a few MiB. Raises ValueError
    for a model whose dimensions are not known, KeyError for a kind that there is not."""
    gguf_default(mix)
    try:
        return _stored(key(model), mix, imatrix)
    except KeyError as error:
        raise ValueError(f"{model.id}: {error.args[0]} is not known") from None


@lru_cache(maxsize=64)
def _stored(text: str, mix: str, imatrix: bool | None) -> Stored:
    config: Config = json.loads(text)
    file = _file(config, text, mix, imatrix)
    h, entries = config["hidden_size"], config["vocab_size"]
    place = Place(0, 0)
    embedding = _bytes(Tensor(EMBEDDING, h, entries), file, place)
    head = 0 if file.tied else _bytes(Tensor(HEAD, h, entries), file, place)
    layers, experts, seen = [], [], 0
    for index in range(file.layers):
        found = _as_stored(tensors(text, index))
        sizes = [(part_of(tensor), _bytes(tensor, file, Place(index, seen))) for tensor in found]
        layers.append(sum(size for _, size in sizes))
        experts.append(sum(size for part, size in sizes if part == "experts"))
        seen += any(_valued(tensor) for tensor in found)
    return Stored(mix, embedding, head, tuple(layers), tuple(experts), 4 * h)


def _as_stored(found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Norms and the router's matrix stay float32."""
    return tuple(tensor._replace(small=tensor.small or tensor.role == "ffn_gate_inp") for tensor in found)


def _valued(tensor: Tensor) -> bool:
    return tensor.role in ("attn_v", "attn_qkv", "attn_kv_b")


def _file(config: Config, text: str, mix: str, imatrix: bool | None) -> File:
    layers = config["num_hidden_layers"]
    valued = sum(any(map(_valued, tensors(text, index))) for index in range(layers))
    heads, keys = config["num_attention_heads"], config["num_key_value_heads"]
    return File(
        mix,
        gguf_default(mix),
        layers,
        valued,
        heads // keys,
        config.get("moe", {}).get("num_experts", 0),
        bool(config.get("tie_word_embeddings")),
        mix in NEEDS_MATRIX if imatrix is None else imatrix,
        layers == 80 and heads != keys,
    )


def _bytes(tensor: Tensor, file: File, place: Place) -> int:
    if tensor.small:
        return 4 * tensor.size
    weights, size = gguf_block(kind(tensor, file, place))
    return tensor.size // weights * size


def kind(tensor: Tensor, file: File, place: Place) -> str:
    """The type of ggml's that a matrix gets."""
    if file.default in ("F32", "F16", "BF16"):
        return file.default
    wanted = chosen(tensor, file, place)
    if tensor.columns % gguf_block(wanted)[0] == 0:
        return wanted
    other = gguf_fallback(wanted)
    return other if other and tensor.columns % gguf_block(other)[0] == 0 else "F16"


class Share(NamedTuple):
    """What one device has of a file that is split by layers: bytes."""

    layers: int
    head: int


def placed(found: Stored, counts: tuple[int, ...]) -> tuple[Share, ...]:
    """The bytes on each device where device d has the next `counts[d]` layers; the head counts as the one after the
    last (llama-model.cpp: the output layer goes with the last device that has something), and the embedding stays in
    the host's memory."""
    shares, first = [], 0
    last = max((d for d, count in enumerate(counts) if count), default=0)
    for device, count in enumerate(counts):
        layers = sum(found.layers[first : first + count])
        shares.append(Share(layers, (found.head or found.embedding) + found.other if device == last else 0))
        first += count
    return tuple(shares)
