"""A model, the format of its weights and a layout in, bytes of weights out: of the checkpoint, and on one GPU."""

from __future__ import annotations

import re
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from mgpu.catalog.formats import Format, format_named, formats, gguf_mix
from mgpu.catalog.models import words
from mgpu.memory import gguf
from mgpu.memory.parts import key, part_of, parts, tensors
from mgpu.memory.tensors import Tensor
from mgpu.values.model import Model

WORDS = (
    (("nvfp4", "fp4"), "nvfp4"),
    (("mxfp4",), "mxfp4"),
    (("awq",), "awq-int4"),
    (("bnb", "nf4"), "nf4"),
    (("gptq", "w4a16", "int4", "4bit", "autoround"), "gptq-int4"),
    (("fp8",), "fp8"),
    (("int8", "8bit", "w8a8", "w8a16"), "int8"),
    (("bf16",), "bf16"),
    (("fp16",), "fp16"),
)
"""What a word in the name of a repository says of its weights; the first that fits."""
DTYPES = {
    "float32": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "float": "fp32",
    "mxfp4": "mxfp4",
    "fp8": "fp8-block",
}
VOCABULARY = 64
"""vLLM and SGLang make the vocabulary a multiple of this (vllm, layers/vocab_parallel_embedding.py)."""
PART, WIDE, SCALED = 64, 256, 32
"""MXFP4 experts on a Hopper GPU: each part of an expert's width is a multiple of 64, the inputs of a matrix one of 256
(hidden 2880 becomes 3072), and 32 weights have a scale (vllm, quantization/mxfp4.py: create_weights; triton_kernels,
hopper_value.py: swizzle_data). Measured: 64.38 GiB for gpt-oss-120b under vLLM 0.11 on one."""
COPIED = frozenset(("attn_q_a", "attn_kv_a", "ffn_gate_inp", "indexer_q_b", "indexer_k", "indexer_proj"))
"""What every GPU of a tensor parallel group has whole (vllm, models/deepseek_v2.py: ReplicatedLinear)."""


def format_of(name: str | None, quantization: str | None, model: Model) -> str:
    """The format that a job's weights have: what the spec says (`quantization`), what the name of the repository says,
    else as the model is published. One of bf16, fp16, fp32, fp8, fp8-block, int8, awq-int4, gptq-int4, nf4,
    nf4-double, mxfp4, nvfp4, or a GGUF type as Q4_K_M."""
    native = _native(model)
    for text in (quantization, name):
        said = _said(text or "")
        if said:
            return native if native.startswith(said) else said
    return native


def _said(text: str) -> str | None:
    if text.lower() in formats():
        return text.lower()
    mix, in_gguf = gguf_mix(text), "gguf" in text.lower()
    if mix and (in_gguf or mix not in ELSEWHERE):
        return mix
    found = set(re.findall(r"[a-z0-9]+", " ".join(words(text)).replace(".", " ")))
    return next((form for said, form in WORDS if found.intersection(said)), None)


ELSEWHERE = ("F16", "BF16", "F32", "NVFP4")
"""Kinds of GGUF files whose names other files have too."""


def _native(model: Model) -> str:
    if model.stored:
        return model.stored.format
    first = re.split(r"[ ,]", model.dtype)[0].lower()
    if first.startswith("float8"):
        return "fp8-block" if "block" in model.dtype else "fp8"
    return DTYPES.get(first, first)


def checkpoint(model: Model, stored: str) -> int:
    """Bytes of all weights in this format, with layers that guess ahead and towers: exact where the files were read in
    it. Raises ValueError where neither the model's dimensions nor its files are known, or there is no such format."""
    if model.stored and model.stored.format == stored:
        return model.stored.total
    if gguf_mix(stored) == stored and stored not in formats():
        return gguf.stored(model, stored).total
    form = _format(stored)
    counted = parts(model)
    text = sum(_text(model, form))
    return ceil(text + _ahead(model, form) + form.rest * counted.towers)


def _format(name: str) -> Format:
    try:
        return format_named(name)
    except KeyError:
        raise ValueError(f"{name} is no format that mgpu knows") from None


def nominal(params: int, stored: str) -> float:
    """Bytes of so many parameters as tables say it that leave out scales and what is not quantized."""
    return params * _format(stored).nominal


def _text(model: Model, form: Format) -> tuple[float, float, float]:
    """The bytes of embedding, head and everything between."""
    counted = parts(model)
    between = sum(_layer_bytes(key(model), index, form) for index in range(len(counted.layers)))
    return form.rest * counted.embedding, form.rest * counted.head, between + form.rest * counted.small


def _ahead(model: Model, form: Format) -> float:
    """The layers that guess ahead, quantized as the last layer is."""
    counted = parts(model)
    if not counted.mtp:
        return 0.0
    last, count = len(counted.layers) - 1, int(model.config.get("mtp_layers", 1))
    rest = counted.mtp - count * counted.layers[last].total
    return count * _layer_bytes(key(model), last, form) + form.rest * rest


@lru_cache(maxsize=4096)
def _layer_bytes(text: str, index: int, form: Format) -> float:
    return sum((size_of(tensor, form) for tensor in tensors(text, index)), 0.0)


def size_of(tensor: Tensor, form: Format) -> float:
    """Bytes of a tensor in this format."""
    if not quantized(tensor, form):
        return form.rest * tensor.size
    if form.block is None:
        return form.bytes * tensor.size
    rows, columns = form.block
    blocks = ceil(tensor.rows / rows) * ceil(tensor.columns / columns) * tensor.copies
    return form.bytes * tensor.size + form.scale * blocks


def quantized(tensor: Tensor, form: Format) -> bool:
    """Norms, biases and the router never are."""
    part = part_of(tensor)
    return part not in ("small", "router") and form.only in (None, part)


class Shares(NamedTuple):
    """Into how many parts the tensors of a layer are split: by `tensor`, and experts by `expert` (1: by `tensor` too);
    there are `keys` heads of keys and values, which are copied beyond that."""

    tensor: int
    expert: int
    keys: int


def on_gpu(model: Model, stored: str, tensor: int = 1, pipeline: int = 1, stage: int = 0, expert: int = 1) -> int:
    """Bytes of weights on one GPU of `stage` (from 0) of `pipeline` stages, each of `tensor` GPUs; `expert` GPUs share
    a layer's experts. Matrices are split evenly, norms copied, layers shared as vLLM does (the first stage has the
    embedding, the last the head, and layers that are left over go to the middle). Without layers that guess ahead, and
    with the towers whole. Raises ValueError as `checkpoint`."""
    counted = parts(model)
    counts = stages(len(counted.layers), pipeline)
    mine = range(sum(counts[:stage]), sum(counts[: stage + 1]))
    shares = Shares(tensor, expert, model.kv_heads or tensor)
    if gguf_mix(stored) == stored and stored not in formats():
        return _split_of_gguf(model, stored, shares, mine, stage, pipeline)
    form = _format(stored)
    layers = sum(_share(key(model), index, form, shares) for index in mine)
    total = layers + _ends(model, form, tensor, stage == 0, stage == pipeline - 1)
    scale = _read_over_reckoned(model, stored, form)
    return ceil(total * scale + (form.rest * counted.towers if stage == 0 else 0))


def _read_over_reckoned(model: Model, stored: str, form: Format) -> float:
    """What the files' own sizes are of those that follow from the dimensions; 1 where none were read."""
    if not model.stored or model.stored.format != stored:
        return 1.0
    read = model.stored.total - model.stored.other + form.rest * parts(model).small
    return read / sum(_text(model, form))


def _ends(model: Model, form: Format, tensor: int, first: bool, last: bool) -> float:
    """Embedding and head, with a vocabulary of whole 64s; a last stage has its own copy of an embedding that is the
    head too."""
    counted, h = parts(model), model.hidden or 0
    padded = _up_to(model.vocabulary or 0, VOCABULARY) * h / tensor
    has_head = last and (counted.head > 0 or not first)
    return form.rest * (padded * first + padded * has_head + counted.small * last)


@lru_cache(maxsize=8192)
def _share(text: str, index: int, form: Format, shares: Shares) -> float:
    return sum(_on_each(tensor, form, shares) for tensor in tensors(text, index))


def _on_each(tensor: Tensor, form: Format, shares: Shares) -> float:
    if tensor.role.endswith("_exps"):
        return _experts(tensor, form, shares)
    return size_of(tensor, form) / _ways(tensor, shares)


def _ways(tensor: Tensor, shares: Shares) -> int:
    if tensor.small or tensor.role in COPIED:
        return 1
    return min(shares.tensor, shares.keys) if tensor.role in ("attn_k", "attn_v") else shares.tensor


def _experts(tensor: Tensor, form: Format, shares: Shares) -> float:
    """Whole experts a GPU, or a part of each."""
    whole = ceil(tensor.copies / shares.expert)
    parts_ = 1 if shares.expert > 1 else shares.tensor
    if form.name == "mxfp4":
        return whole * _swizzled(tensor, parts_)
    return size_of(tensor, form) / tensor.copies * whole / parts_


def _swizzled(tensor: Tensor, parts_: int) -> float:
    """Bytes of one of `parts_` parts of one MXFP4 expert's matrix, as its kernels have it."""
    down = "down" in tensor.role
    part = _up_to((tensor.columns if down else tensor.rows) / parts_, PART)
    inputs, outputs = (part, tensor.rows) if down else (tensor.columns, part)
    return outputs * (_up_to(inputs, WIDE) / 2 + inputs / SCALED)


def _up_to(size: float, multiple: int) -> int:
    return ceil(size / multiple) * multiple


def _split_of_gguf(model: Model, mix: str, shares: Shares, mine: range, stage: int, pipeline: int) -> int:
    """A GGUF file's tensors split as evenly as may be."""
    found = model.stored if model.stored and model.stored.format == mix else gguf.stored(model, mix)
    total = float(sum(found.layers[index] for index in mine))
    total += found.embedding if stage == 0 else 0
    total += (found.head or found.embedding * (pipeline > 1)) + found.other if stage == pipeline - 1 else 0
    return ceil(total / shares.tensor)


def stages(layers: int, pipeline: int) -> tuple[int, ...]:
    """How many layers each stage has: what is left over goes to the stages before the last, from the last but one
    backwards (vllm, distributed/utils.py: get_pp_indices)."""
    whole, left = divmod(layers, pipeline)
    counts = [whole] * pipeline
    for back in range(2, left + 2):
        counts[-back] += 1
    return tuple(counts)


def rotary(model: Model) -> int:
    """Bytes of the table of sines and cosines that vLLM keeps beside the weights on every GPU, in 16 bits for each
    position that the model knows (vllm, layers/rotary_embedding/base.py: cos_sin_cache); its log counts it as weights.
    """
    mla = model.config.get("mla")
    width = mla["qk_rope_head_dim"] if mla else (model.head_dim or 0) * model.config.get("rotary_part", 1)
    return int(2 * width * (model.context or 0))
