"""Reference rows about what a model is and how large it is in, the planner's answers out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mgpu.catalog.gpus import by_name as gpu_named
from mgpu.catalog.gpus import usable
from mgpu.catalog.models import by_name
from mgpu.memory import gguf
from mgpu.memory.cache import cached
from mgpu.memory.weights import format_of, nominal, on_gpu, rotary
from mgpu.values.model import Model

Row = Mapping[str, Any]
UNITS = {"GiB": 2**30, "MiB": 2**20, "GB": 1e9, "MB": 1e6}
NOMINAL = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int4": "gptq-int4", "int8": "int8", "fp32": "fp32",
    "nf4": "nf4",
}  # fmt: skip


def model_named(text: str) -> Model:
    """The model that a row means: some name it with its dimensions behind it, or in words."""
    name = re.sub(r"\s*\(.*", "", text).strip()
    found = by_name(name) or by_name(name.replace(" ", "-"))
    if found is None:
        raise LookupError(f"{text} is not in the catalogue")
    return found


def weights(row: Row) -> float:
    """Nominal sizes, as tables print them: parameters by bytes."""
    inputs = row["inputs"]
    if "component" in inputs:
        size = nominal(inputs["params"], "bf16")
    elif "fp32_GiB" in inputs:
        size = nominal(int(inputs["fp32_GiB"] * 2**30 / 4), NOMINAL[inputs["dtype"]])
    else:
        params = inputs.get("params") or model_named(inputs["model"]).params
        size = nominal(params, NOMINAL.get(inputs["dtype"], inputs["dtype"]))
    return size / UNITS[row["unit"]]


ELEMENTS = {"fp8": 1.0, "int8": 1.0, "q8_0": 34 / 32, "q4_0": 18 / 32, "fp32": 4.0}
"""Bytes of a number in the cache; every other type has two."""


def kv(row: Row) -> float:
    """The cache of one sequence."""
    inputs = row["inputs"]
    element = ELEMENTS.get(str(inputs.get("kv_dtype")), 2.0)
    return cached(model_named(inputs["model"]), inputs["tokens"], element) / UNITS[row["unit"]]


def gguf_weights(row: Row) -> float:
    """A GGUF file's size, or its bits per weight."""
    model = model_named(row["inputs"]["model"])
    size = gguf.stored(model, row["inputs"]["ftype"]).total
    return size * 8 / (model.params or 1) if row["unit"] == "bits/weight" else size / UNITS[row["unit"]]


def vllm_weights(row: Row) -> float:
    """What vLLM's log says that loading took, of its first worker."""
    inputs = row["inputs"]
    model = model_named(inputs["model"])
    form = format_of(inputs["model"], _quantized(inputs), model)
    if inputs.get("dtype") == "float32":
        form = "fp32"
    tensor, pipeline = inputs.get("tp", 1), inputs.get("pp", 1)
    return (on_gpu(model, form, tensor, pipeline) + rotary(model)) / UNITS[row["unit"]]


def _quantized(inputs: Row) -> str | None:
    """The first word of what a row says of the format, as `fp8 at load`."""
    said = inputs.get("quantization") or inputs.get("quant") or inputs.get("weights_dtype")
    return str(said).split()[0] if said else None


EAGER, LAZY = 1.3 * 2**30, 0.55 * 2**30
"""Bytes of a CUDA context with its kernels, loaded at the start as up to CUDA 11.6, or as they are used (NVIDIA, CUDA
programming guide, lazy loading)."""


def device_total(row: Row) -> float:
    """What CUDA says that a GPU has, or what a context takes of it."""
    inputs = row["inputs"]
    if "nvidia_smi_MiB" in inputs:
        total, product = int(inputs["nvidia_smi_MiB"]) * 2**20, gpu_named(inputs["gpu"])
        near = product and 0 < total - product.memory < total // 20
        return (product.memory if product and near else usable(total)) / UNITS[row["unit"]]
    cuda = re.search(r"CUDA (\d+)\.?(\d*)", str(inputs.get("torch")))
    eager = cuda is not None and (int(cuda[1]), int(cuda[2] or 0)) < (11, 7)
    return (EAGER if eager else LAZY) / UNITS[row["unit"]]


def activation_theory(row: Row) -> float:
    """Korthikanti et al. (arXiv 2205.05198), section 5: 34 + 5as/h bytes a layer, of which the second part is computed
    again."""
    inputs = row["inputs"]
    scores = 5 * inputs["a"] * inputs["s"] / inputs["h"]
    return float(100 * scores / (34 + scores) if row["unit"] == "percent" else scores)


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
    "activation_theory": activation_theory,
}
