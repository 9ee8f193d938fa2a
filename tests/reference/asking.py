"""A reference row in, what a planner may see of it out: never its answer, nor what gives it away."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Row = Mapping[str, Any]
Answer = Callable[[Row], object]
MODULES = ("sizes", "serving", "training", "layouts")
OWN = {"train": "peak_allocated", "infer": "peak_allocated", "context": "context_bytes"}
"""Rows of one's own runs have no `inputs`: by their kind, where the answer stands, in bytes."""
GIVEN = ("kind", "recipe", "model", "seq", "micro_batch", "ckpt")
"""What a planner may see of these."""
MEASURED = ("tpot_ms", "ttft_ms", "decode_tok_s_per_gpu")


def answers() -> dict[str, Answer]:
    """Who answers each kind of row."""
    known: dict[str, Answer] = {}
    for name in MODULES:
        known |= import_module(f"tests.reference.{name}").ANSWERS
    return known


def asked(row: Row) -> dict[str, Any]:
    """The row as a planner sees it."""
    if "inputs" in row:
        return _memory(row)
    if row["kind"] in OWN:
        return {name: row.get(name) for name in GIVEN}
    if row["kind"] == "tp_sweep_nvswitch":
        return _sweep(row)
    seen = {name: row.get(name) for name in ("kind", "what", "setup")}
    return seen | {"source": where(row), "options": options(row)}


def where(row: Row) -> str:
    """Who published the row, which tells the engine where nothing else does, but not which row of theirs it is."""
    return " ".join(re.sub(r"[#@]\w+|\b(issue|PR|discussion)\b", "", str(row.get("source") or "")).split())


def _memory(row: Row) -> dict[str, Any]:
    """Inputs, kind, unit and what is asked. Notes explain results, but where they say of a training what its inputs do
    not: there they stay, without their numbers."""
    inputs = {name: value for name, value in row["inputs"].items() if not name.startswith("published")}
    seen = {"kind": row["kind"], "unit": row["unit"], "what": row.get("what"), "inputs": inputs}
    if row["kind"] == "training_measured" and row.get("note"):
        seen["note"] = re.sub(r"[-+]?\d[\d.,]*", "", row["note"])
    return seen


def _sweep(row: Row) -> dict[str, Any]:
    hidden = ("id", "source", "note", "lowest_tpot_tp", "best_per_gpu_tp")
    seen = {name: value for name, value in row.items() if name not in hidden}
    seen["options"] = [{k: v for k, v in option.items() if k not in MEASURED} for option in row["options"]]
    return seen


def options(row: Row) -> list[str]:
    """The two layouts in words, in the order of the alphabet, without what was measured of them."""
    return sorted(unmeasured(row[name], row.get("values")) for name in ("better", "worse"))


def unmeasured(text: str, values: Mapping[str, Any] | None) -> str:
    """A layout in words, without the numbers that were measured."""
    for value in (values or {}).values():
        if isinstance(value, (int, float)) and (value > 16 or value != int(value)):
            text = re.sub(rf"(?<![\w.]){re.escape(f'{value:g}')}(?![\w.])", "", text)
    text = re.sub(r"\b\d+(\.\d+)?\s*(tok/s|t/s|tokens/s|req/s|ms)", "", text)
    return " ".join(re.sub(r"\(\s*\)|tok/s", "", text).split())
