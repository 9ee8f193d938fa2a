"""The models that mgpu knows: a repository or a name in, its sizes out (models.json; each row has its sources)."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from mgpu.values.model import Model, sizes_of

TUNED = frozenset(("instruct", "it", "chat", "base", "hf", "meta"))
"""What tells how a model was trained on or packed, and nothing of its sizes."""
QUANTIZED = frozenset((
    "awq", "gptq", "int4", "int8", "4bit", "8bit", "4", "8", "bit", "w4a16", "w8a8", "w8a16", "fp8",
    "dynamic", "quantized", "bnb", "nf4", "nvfp4", "fp4", "gguf", "bf16", "fp16", "marlin",
))  # fmt: skip
"""What tells how its weights are stored."""


@cache
def models() -> tuple[Model, ...]:
    """Every model of the catalogue."""
    rows: list[dict[str, Any]] = json.loads(Path(__file__).with_name("models.json").read_text("utf-8"))["models"]
    return tuple(_model(row) for row in rows)


def _model(row: dict[str, Any]) -> Model:
    return Model(
        row["id"],
        row["hf_id"],
        tuple(row["aliases"]),
        row["kind"],
        row["native_dtype"],
        row.get("params_total"),
        row.get("params_text"),
        facts=row,
        **sizes_of(row.get("config", {})),
    )


def by_name(name: str) -> Model | None:
    """The model that `name` means: its id, its repository, a repository of the same weights tuned or quantized
    (``hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4``), or an alias. Any other word in a name makes it another
    model: a distilled or pruned one may have other sizes."""
    return _spellings().get(plain(name))


@cache
def _spellings() -> dict[str, Model]:
    known: dict[str, Model] = {}
    for model in models():
        for name in (model.id, model.repository, *model.aliases):
            known.setdefault(plain(name), model)
    return known


def words(name: str) -> tuple[str, ...]:
    """The words of a model's name, without the owner of its repository; ``3.1`` is one."""
    return tuple(re.findall(r"[a-z0-9.:]+", name.rstrip("/").rpartition("/")[2].lower().removesuffix(".gguf")))


MIX = re.compile(r"[-.:@](i?q\d\w*|tq\d_0|b?f16|f32|mxfp4(_moe)?)$", re.IGNORECASE)
"""How the name of a GGUF file, or a tag of Ollama's, ends: with the mix of its types."""
PART = re.compile(r"-\d{5}-of-\d{5}$")


def plain(name: str) -> str:
    """The words that tell models apart."""
    base = MIX.sub("", PART.sub("", name.removesuffix(".gguf")))
    return "-".join(word for word in words(base) if word not in TUNED | QUANTIZED)
