"""Reference rows about what a model is and how large it is in, the planner's answers out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mgpu.catalog.formats import gguf_mix
from mgpu.catalog.gpus import by_name as gpu_named
from mgpu.catalog.gpus import usable
from mgpu.memory import diffusion, gguf
from mgpu.memory.cache import cached
from mgpu.memory.weights import format_of, nominal, on_gpu, rotary
from mgpu.values.model import Model
from tests.reference.reading import UNITS, count_of, element_of, model_named, model_of, params_of, staged, unit_of

Row = Mapping[str, Any]
NOMINAL = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int4": "gptq-int4", "int8": "int8", "fp32": "fp32",
    "nf4": "nf4", "fp4": "nvfp4", "4bit": "gptq-int4", "4-bit": "gptq-int4", "8bit": "int8", "8-bit": "int8",
}  # fmt: skip


def weights(row: Row) -> float:
    """Nominal sizes, as tables print them: parameters by bytes."""
    inputs = row["inputs"]
    dtype = str(inputs.get("dtype") or inputs.get("quant") or "bf16").lower()
    whole = next((inputs[f"fp32_{unit}"] * size / 4 for unit, size in UNITS.items() if f"fp32_{unit}" in inputs), None)
    whole = whole or inputs.get("params") or (float(inputs.get("params_B") or 0) * 1e9)
    if not whole and "component" in inputs:
        whole = component(inputs)
    params = whole or model_named(inputs["model"]).params or params_of(inputs["model"])
    return nominal(int(params), NOMINAL.get(dtype) or format_of(None, dtype, Model("", ""))) / unit_of(row)


def component(inputs: Row) -> int:
    """The parameters of a part of a pipeline."""
    parts = diffusion.parts(model_named(inputs.get("model", "flux.1-dev")))
    return next(part.params for part in parts if str(inputs["component"]).lower() in part.name.lower())


def kv(row: Row) -> float:
    """The cache of one sequence, or of as many as the row says."""
    inputs = row["inputs"]
    model, tokens = model_of(inputs), count_of(inputs.get("tokens") or inputs.get("context") or 1)
    element = element_of(inputs.get("kv_dtype") or inputs.get("kv_cache_dtype"))
    many = int(inputs.get("batch") or inputs.get("sequences") or 1)
    if model.vocabulary:
        return many * cached(model, tokens, element, int(inputs.get("tp") or 1)) / unit_of(row)
    heads = (model.kv_heads or 0) * (model.head_dim or 0) or model.hidden
    if not heads or not model.layers:
        raise LookupError(f"{inputs['model']} is not in the catalogue")
    return many * 2 * model.layers * heads * tokens * element / unit_of(row)


def gguf_weights(row: Row) -> float:
    """A GGUF file's size, or its bits per weight."""
    inputs = row["inputs"]
    model, said = model_named(inputs["model"]), str(inputs.get("ftype") or inputs.get("quant"))
    size = gguf.stored(model, gguf_mix(said) or ("MXFP4_MOE" if said.upper() == "MXFP4" else said)).total
    return size * 8 / (model.params or 1) if row["unit"].startswith(("bit", "bpw")) else size / unit_of(row)


def vllm_weights(row: Row) -> float:
    """What vLLM's log says that loading took, of its first worker."""
    inputs = staged(row)
    model = model_of(inputs)
    form = format_of(inputs["model"], _quantized(inputs), model)
    if inputs.get("dtype") == "float32":
        form = "fp32"
    tensor, pipeline = inputs.get("tp", 1), inputs.get("pp", 1)
    return (on_gpu(model, form, tensor, pipeline, int(inputs.get("stage") or 0)) + rotary(model)) / unit_of(row)


def _quantized(inputs: Row) -> str | None:
    """The first word of what a row says of the format, as `fp8 at load`."""
    said = inputs.get("quantization") or inputs.get("quant") or inputs.get("weights_dtype")
    return str(said).split()[0] if said else None


EAGER, LAZY = 1.3 * 2**30, 0.55 * 2**30
"""Bytes of a CUDA context with its kernels, loaded at the start as up to CUDA 11.6, or as they are used (NVIDIA, CUDA
programming guide, lazy loading)."""


def device_total(row: Row) -> float:
    """What CUDA says that a GPU has, or what a context takes of it."""
    inputs, what = row["inputs"], str(row.get("what", ""))
    product = gpu_named(str(inputs.get("gpu", "")))
    if "nvidia_smi_MiB" in inputs:
        total = int(inputs["nvidia_smi_MiB"]) * 2**20
        near = product and 0 < total - product.memory < total // 20
        return (product.memory if product and near else usable(total)) / unit_of(row, "MiB")
    if product and "total" in what and "context" not in what:
        return product.memory / unit_of(row, "MiB")
    cuda = re.search(r"CUDA (\d+)\.?(\d*)", f"{inputs.get('torch')} {inputs.get('cuda')}")
    eager = cuda is not None and (int(cuda[1]), int(cuda[2] or 0)) < (11, 7)
    return (EAGER if eager else LAZY) / unit_of(row, "MiB")


def kv_known_wrong(row: Row) -> float:
    """The model's own heads count, not those that the table assumed."""
    return kv(replace_inputs(row))


def replace_inputs(row: Row) -> Row:
    """The row without what its table assumed."""
    return {**row, "inputs": {k: v for k, v in row["inputs"].items() if k != "kv_heads_assumed"}}


ANSWERS = {
    "weights": weights,
    "kv": kv,
    "kv_known_wrong": kv_known_wrong,
    "gguf_weights": gguf_weights,
    "vllm_weights": vllm_weights,
    "device_total": device_total,
}
