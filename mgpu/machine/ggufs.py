"""A GGUF file in, its facts and the table of its tensors out: only the head of the file is read.

The format: ggml-org/ggml docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from mgpu.catalog.formats import gguf_block, gguf_type
from mgpu.machine.safetensors import Entry

TEXT, ARRAY = 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRUCTS = {kind: Struct(form) for kind, form in SCALARS.items()}
COUNT = Struct("<Q")
WORD = Struct("<I")
MOST = {"facts": 65536, "tensors": 2**20, "dimensions": 8, "kept": 4096, "depth": 3}
"""More of these than any file has, and arrays longer than these facts ever are: only their length is kept."""


class Head(NamedTuple):
    """What stands before the weights: facts by name (of a long array, only its length), and the tensors."""

    facts: dict[str, Any]
    tensors: tuple[Entry, ...]


def head(path: Path) -> Head:
    """The head of a file. Raises ValueError for what is no such file, OSError where it cannot be read."""
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise ValueError("it is too short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Reader(data).head()
            except (struct.error, IndexError, UnicodeDecodeError, OverflowError) as error:
                raise ValueError("it breaks off in its head") from error


class Length(int):
    """How many things an array holds that was not read."""


class _Reader:
    """Where in the file the reading is."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def take(self, form: Struct) -> Any:
        """The next number."""
        value = form.unpack_from(self.data, self.at)[0]
        self.at += form.size
        return value

    def count(self, most: int, what: str) -> int:
        """The next count, if it is one that can be."""
        value: int = self.take(COUNT)
        if value > most:
            raise ValueError(f"it claims to have {value} {what}")
        return value

    def text(self) -> str:
        """The next text."""
        size = self.count(len(self.data) - self.at, "letters in a word")
        begin, self.at = self.at, self.at + size
        return self.data[begin : self.at].decode("utf-8", "replace")

    def skip_texts(self, count: int) -> None:
        """Pass over texts: vocabularies have hundreds of thousands."""
        at, data, unpack = self.at, self.data, COUNT.unpack_from
        for _ in range(count):
            at += 8 + unpack(data, at)[0]
        if at > len(data):
            raise ValueError("it breaks off in its head")
        self.at = at

    def value(self, kind: int, depth: int = 0) -> Any:
        """The next value of this kind."""
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            return self.array(depth)
        if kind not in STRUCTS:
            raise ValueError(f"it has a fact of kind {kind}, which there is not")
        return self.take(STRUCTS[kind])

    def array(self, depth: int) -> Any:
        """The next array, or its length where it is long."""
        kind, count = self.take(WORD), self.count(len(self.data), "things in an array")
        if depth > MOST["depth"]:
            raise ValueError("its arrays are nested too deep")
        if kind == TEXT and count > MOST["kept"]:
            self.skip_texts(count)
            return Length(count)
        if kind in STRUCTS and count > MOST["kept"]:
            self.at += STRUCTS[kind].size * count
            return Length(count)
        return [self.value(kind, depth + 1) for _ in range(count)]

    def head(self) -> Head:
        """All that stands before the weights."""
        if self.data[:4] != b"GGUF":
            raise ValueError("it does not begin as GGUF files do")
        self.at = 4
        version = self.take(WORD)
        if version not in (2, 3):
            raise ValueError(f"it is of version {version} of GGUF, which mgpu does not read")
        tensors, facts = self.count(MOST["tensors"], "tensors"), self.count(MOST["facts"], "facts")
        known = {self.text(): self.value(self.take(WORD)) for _ in range(facts)}
        return Head(known, tuple(self.tensors(tensors)))

    def tensors(self, count: int) -> Iterator[Entry]:
        """The table of tensors."""
        for _ in range(count):
            name, dimensions = self.text(), self.take(WORD)
            if dimensions > MOST["dimensions"]:
                raise ValueError(f"a tensor of it has {dimensions} dimensions")
            numbers = prod(self.take(COUNT) for _ in range(dimensions))
            number = self.take(WORD)
            kind = gguf_type(number)
            self.take(COUNT)
            if kind is None or numbers > 2**50:
                raise ValueError(f"it has a tensor of type {number}, which mgpu does not know")
            weights, size = gguf_block(kind)
            yield Entry(name, kind, numbers, numbers // weights * size)
