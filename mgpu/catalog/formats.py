"""The name of a format of weights in, the bytes it takes out (formats.json; every format has its source)."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class Format(NamedTuple):
    """`bytes` of a weight of a quantized matrix, scales among them; what is not quantized takes `rest` bytes. Tables
    that leave scales out say `nominal`. `only` names the one part of a layer that is quantized, None: all matrices; a
    `block` of rows x columns has a scale of `scale` bytes besides."""

    name: str
    bytes: float
    rest: int
    nominal: float
    only: str | None = None
    block: tuple[int, int] | None = None
    scale: int = 0


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_name("formats.json").read_text("utf-8"))
    return data


@cache
def format_named(name: str) -> Format:
    """The format of this name. Raises KeyError where there is none."""
    row = _data()["formats"][name]
    block = row.get("block")
    return Format(
        name,
        row["bytes"],
        row["rest"],
        row["nominal"],
        row.get("only"),
        (block[0], block[1]) if block else None,
        row.get("scale", 0),
    )


def formats() -> tuple[str, ...]:
    """The names of all formats, without those of GGUF files."""
    return tuple(_data()["formats"])


@cache
def gguf_block(kind: str) -> tuple[int, int]:
    """How many weights a block of this type of ggml's has, and how many bytes. Raises KeyError for another."""
    weights, size = _data()["gguf"]["blocks"][kind]
    return weights, size


def gguf_type(number: int) -> str | None:
    """The type that a GGUF file means by this number."""
    name: str | None = _data()["gguf"]["numbers"].get(str(number))
    return name


def gguf_file(number: int) -> str | None:
    """The kind of file that general.file_type means by this number (llama.h: llama_ftype)."""
    name: str | None = _data()["gguf"]["files"].get(str(number))
    return name


def gguf_default(mix: str) -> str:
    """The type that most matrices of a file of this name (Q4_K_M) have. Raises KeyError for another."""
    return str(_data()["gguf"]["defaults"][mix])


def gguf_fallback(kind: str) -> str | None:
    """The type that is taken where a row is no whole number of blocks."""
    found: str | None = _data()["gguf"]["fallbacks"].get(kind)
    return found


def gguf_mix(text: str) -> str | None:
    """The kind of GGUF file that a name ends with or a spec says: ``Q4_K_M`` of ``model-q4_k_m.gguf``."""
    known, others = _data()["gguf"]["defaults"], _data()["gguf"]["aliases"]
    words = re.split(r"[-.:/@ ]", text.upper().removesuffix(".GGUF"))
    return next((others.get(word, word) for word in reversed(words) if word in known or word in others), None)
