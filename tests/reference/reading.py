"""The words of a row in: units, sizes of numbers, models by their name and dimensions; what the planner takes, out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mgpu.catalog.models import by_name, models, plain
from mgpu.memory.serving import cache_element
from mgpu.values.model import Model, sizes_of

Row = Mapping[str, Any]
UNITS = {
    "B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}  # fmt: skip
WORDS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "hidden size": "hidden_size",
    "intermediate": "intermediate_size",
    "intermediate size": "intermediate_size",
    "ffn": "intermediate_size",
    "vocab": "vocab_size",
    "vocab size": "vocab_size",
    "vocabulary": "vocab_size",
    "heads": "num_attention_heads",
    "attention heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "kv heads": "num_key_value_heads",
    "key-value heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "head dim": "head_dim",
    "top-k": "top_k",
    "top k": "top_k",
    "top": "top_k",
    "experts": "num_experts",
    "expert intermediate": "expert_intermediate",
    "moe intermediate": "expert_intermediate",
}
TIMES = {"": 1, "k": 2**10, "m": 2**20}


def unit_of(row: Row, usual: str = "GiB") -> float:
    """Bytes of the row's unit."""
    return UNITS.get(str(row.get("unit")), UNITS[usual])


def count_of(value: object) -> int:
    """A number of tokens: as it is, or as ``128k`` and ``16,384``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([km]?)", str(value).strip().lower().replace(",", "").replace("_", ""))
    if found is None:
        raise ValueError(f"{value} is no number of tokens")
    return int(float(found[1]) * TIMES[found[2]])


ELEMENTS = {"q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32}
"""Bytes of a number in llama.cpp's caches (ggml: blocks of 32)."""


def element_of(kind: object) -> float:
    """Bytes of a number in a cache of this kind."""
    return ELEMENTS.get(str(kind).lower()) or cache_element(kind)


def named(text: str) -> tuple[str, dict[str, int]]:
    """The id of a model, and the dimensions that stand in brackets behind it."""
    name, _, rest = text.partition(" (")
    found: dict[str, int] = {}
    plainly = re.sub(r"(?<=\d),(?=\d{3}\b)", "", rest.rstrip(")").lower())
    for part in (part.strip() for part in re.split(r"[,;]", plainly)):
        if match := re.fullmatch(r"(\d+) kv heads (?:x|of) (\d+)", part):
            found |= {"num_key_value_heads": int(match[1]), "head_dim": int(match[2])}
        elif match := re.fullmatch(r"(\d+) (?:experts )?top[- ](\d+)|top[- ](\d+) of (\d+)", part):
            found |= {"num_experts": int(match[1] or match[4]), "top_k": int(match[2] or match[3])}
        elif match := re.fullmatch(r"(\d+) ([a-z_ -]+)", part) or re.fullmatch(r"([a-z_ -]+?)[ =-]+(\d+)", part):
            word, count = (match[2], match[1]) if match[1].isdigit() else (match[1], match[2])
            found |= {WORDS[word]: int(count)} if word in WORDS else {}
    return name.strip(), found


def known(text: str) -> Model | None:
    """The model of the catalogue that a name means: its own, else the first whose name has all of its words and at
    least its size among them (``Mistral 7B``, ``R1-distill Llama 8B``)."""
    name = named(text)[0]
    found = by_name(name) or by_name(name.replace(" ", "-")) or by_name(name.split(" ")[0])
    if found:
        return found
    asked = set(plain(name.replace(" ", "-")).split("-"))
    if not any(re.fullmatch(r"\d+(\.\d+)?b", word) for word in asked):
        return None
    return next((model for model in models() if asked <= set(plain(model.id).split("-"))), None)


def model_named(text: str) -> Model:
    """The model that a row means. Raises LookupError for one that the catalogue has not."""
    found = known(text)
    if found is None:
        raise LookupError(f"{text} is not in the catalogue")
    return found


def params_of(text: str) -> float:
    """How many parameters a model's name says that it has; 0 where it does not."""
    count = re.search(r"(?:(\d+)x)?(\d+(?:\.\d+)?) ?b\b", text.lower())
    return float(count[2]) * 1e9 * int(count[1] or 1) if count else 0.0


def nearest(params: float) -> Model:
    """The dense model of the catalogue whose size is most alike."""
    dense = [model for model in models() if model.kind == "llm" and not model.experts and model.params]
    return min(dense, key=lambda model: abs((model.params or 0) / params - 1))


def staged(row: Row) -> Row:
    """The inputs of a row, with the stage of a pipeline that it is about."""
    inputs: Row = row["inputs"]
    last = re.search(r"\blast (?:worker|stage|rank|gpu)", str(row.get("what", "")).lower())
    return {**inputs, "stage": int(inputs.get("pp", 1)) - 1} if last else inputs


def model_of(inputs: Row) -> Model:
    """The model that a row names: of the catalogue, with what the row says of it besides."""
    text = str(inputs.get("model", ""))
    name, dims = named(text)
    found = known(text) or Model(name, name, kind="llm")
    config = dict(found.config)
    if "top_k" in dims:
        inner = dims.pop("expert_intermediate", config.get("intermediate_size", 0))
        moe = {"num_experts": dims.pop("num_experts", 64), "top_k": dims.pop("top_k"), "intermediate": inner}
        config["moe"] = config.get("moe", {}) | moe
    if "num_key_value_heads" in dims and "num_attention_heads" not in config | dims:
        config["num_attention_heads"] = dims["num_key_value_heads"]
    config |= dims
    if "linear" not in config:
        config |= {key: value for key, value in _hybrid(inputs).items() if key not in config}
    return replace(found, **sizes_of(config))


def _hybrid(inputs: Row) -> dict[str, Any]:
    """A model that is partly linear attention, as a row describes it; keys and values of the linear layers as Qwen's
    have them where it does not say: 16 heads of keys, twice as many of values as attention has heads, 128 wide."""
    said = inputs.get("hybrid")
    if not said:
        return {}
    layers, full = said["layers"], said["attention_layers"]
    linear = {
        "key_heads": said.get("linear_key_heads", 16),
        "value_heads": said.get("linear_value_heads", 2 * said.get("heads", 16)),
        "key_dim": said.get("linear_key_dim", 128),
        "value_dim": said.get("linear_value_dim", 128),
        "kernel": said.get("kernel", 4),
    }
    return {
        "num_hidden_layers": layers,
        "num_attention_heads": said.get("heads", 4 * said["kv_heads"]),
        "num_key_value_heads": said["kv_heads"],
        "head_dim": said["head_dim"],
        "hidden_size": said.get("hidden", 5120),
        "intermediate_size": said.get("intermediate", 17408),
        "vocab_size": said.get("vocab", 248320),
        "linear": linear | {"full_every": layers // full},
    }
