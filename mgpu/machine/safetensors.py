"""Files of safetensors in, the names, types, shapes and bytes of their tensors out: only the headers are read.

The format: 8 bytes of length (little-endian), then that much JSON (huggingface/safetensors README).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 100_000_000
"""The longest header that the library itself takes (safetensors, tensor.rs: MAX_HEADER_SIZE)."""
INDEX = "model.safetensors.index.json"


class Entry(NamedTuple):
    """A tensor of a file: its type by the file's own word, how many numbers and how many bytes."""

    name: str
    dtype: str
    numbers: int
    bytes: int


def entries(path: Path) -> Iterator[Entry]:
    """The tensors of one file. Raises ValueError for what is no such file, or not all of one, OSError where it cannot
    be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LONGEST, size - 8):
            raise ValueError("it is no safetensors file: its first 8 bytes are no length of a header")
        found = list(of_header(file.read(length)))
    whole = 8 + length + sum(entry.bytes for entry in found)
    if size < whole:
        raise ValueError(f"it is cut short: {size:,} of {whole:,} bytes are there")
    yield from found


def of_header(text: bytes) -> Iterator[Entry]:
    """The tensors that a header lists. Raises ValueError for what is no header."""
    try:
        header = json.loads(text)
        for name, row in header.items():
            if name != "__metadata__":
                yield _entry(name, row)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("its header is not as headers are") from error


def _entry(name: str, row: Any) -> Entry:
    begin, end = row["data_offsets"]
    if not 0 <= begin <= end < 2**62:
        raise ValueError("a tensor ends before it begins")
    return Entry(name, str(row["dtype"]), prod(row["shape"]), end - begin)


def files(folder: Path) -> list[Path]:
    """The files with a model's weights, as its index lists them; a folder may hold its weights twice. Raises ValueError
    and OSError."""
    index = folder / INDEX
    if not index.exists():
        return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("consolidated"))
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{INDEX} lists no weights") from error
    if any("/" in str(name) for name in names):
        raise ValueError(f"{INDEX} leads out of its folder")
    return sorted(folder / str(name) for name in names)


class Sorted(NamedTuple):
    """The bytes of tensors by where they belong, as in `Stored`."""

    embedding: int
    head: int
    layers: tuple[int, ...]
    experts: tuple[int, ...]
    other: int


PLACES = re.compile(r"(?:^|\.)(?:layers|h|blocks|blk)\.(\d+)\.")
EMBEDDING = re.compile(r"(?:^|\.)(?:embed_tokens|wte|embeddings|word_embeddings|token_embd)\.weight$")
HEAD = re.compile(r"(?:^|\.)(?:lm_head|output)\.weight$")
TOWERS = re.compile(r"vision|visual|audio|multi_modal|mm_projector|mtp\.")
EXPERTS = re.compile(r"(?<!shared_)experts[._]|_exps\.")


def placed(found: Iterable[Entry], count: int) -> Sorted:
    """The bytes of each of `count` layers, and of the rest. Layers beyond are those that guess ahead."""
    ends, layers, experts = [0, 0, 0], [0] * count, [0] * count
    for entry in found:
        at = None if TOWERS.search(entry.name) else PLACES.search(entry.name)
        if at and int(at[1]) < count:
            layers[int(at[1])] += entry.bytes
            experts[int(at[1])] += entry.bytes if EXPERTS.search(entry.name) else 0
        else:
            ends[_end(entry.name, at is None)] += entry.bytes
    return Sorted(ends[0], ends[1], tuple(layers), tuple(experts), ends[2])


def _end(name: str, plain: bool) -> int:
    if not plain or TOWERS.search(name):
        return 2
    return 0 if EMBEDDING.search(name) else 1 if HEAD.search(name) else 2
