"""A model's config.json in, the format that its weights are published in out, as `native_dtype` of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Raw = Mapping[str, Any]


def text_of(raw: Raw) -> Raw:
    """The part that describes the language model."""
    return next((raw[name] for name in ("text_config", "llm_config", "language_config") if raw.get(name)), raw)


def published(raw: Raw) -> str:
    """The format of the weights, as `native_dtype` of the catalogue has it."""
    plan = raw.get("quantization_config") or text_of(raw).get("quantization_config")
    dtype = str(text_of(raw).get("dtype") or text_of(raw).get("torch_dtype") or raw.get("torch_dtype") or "bfloat16")
    if not isinstance(plan, Mapping):
        return dtype
    method = str(plan.get("quant_method", ""))
    if method == "fp8":
        return "float8_e4m3fn (block 128x128)" if plan.get("weight_block_size") else "float8_e4m3fn"
    if method == "bitsandbytes":
        return "int8" if plan.get("load_in_8bit") else "nf4"
    if method == "compressed-tensors":
        return _compressed(plan)
    known = {"awq": "awq-int4", "gptq": "gptq-int4", "mxfp4": "mxfp4", "modelopt": _modelopt(plan)}
    return known.get(method, method or dtype)


def _compressed(plan: Raw) -> str:
    if any("self_attn" in str(name) for name in plan.get("ignore") or ()):
        return "int4-experts"
    groups: list[Raw] = list((plan.get("config_groups") or {}).values())
    weights = (groups[0].get("weights") if groups else None) or {}
    if weights.get("type") == "float":
        return "float8_e4m3fn" if weights.get("num_bits") == 8 else "nvfp4"
    return "int8" if weights.get("num_bits") == 8 else "gptq-int4"


def _modelopt(plan: Raw) -> str:
    return "nvfp4" if "FP4" in str(plan.get("quant_algo", "")) else "float8_e4m3fn"
