"""The shapes made of other shapes: lists, tables, records. A shape reads plain data into a value, or notes a problem.

A shape also says itself as JSON Schema (keywords of draft-07), so that what an editor accepts and what `validate`
accepts come from one description.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from mgpu.spec.nearest import did_you_mean, nearest
from mgpu.spec.notes import BAD, Notes, called, show
from mgpu.spec.scalars import Anything
from mgpu.values.mark import Path


class Shape(Protocol):
    """What a value must look like."""

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        """The value in its final form, or BAD with a problem noted."""

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""


@dataclass(frozen=True, eq=False, repr=False)
class Array:
    """A list of one shape, read into a tuple."""

    item: Shape
    least: int = 0

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if not isinstance(value, list):
            words = value.split() if isinstance(value, str) and len(value) < 40 else []
            hint = f"write it as a list: [{', '.join(words)}]" if words else None
            return notes.add(f"{called(path)} wants a list, not {show(value)}", path, hint)
        if len(value) < self.least:
            return notes.add(f"{called(path)} is empty", path, f"give at least {self.least}")
        items = [self.item.read(item, (*path, at), notes) for at, item in enumerate(value)]
        return BAD if any(item is BAD for item in items) else tuple(items)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema()} | ({"minItems": self.least} if self.least else {})


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A mapping from names to one shape. Names match `pattern`."""

    item: Shape
    pattern: str
    what: str

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if not isinstance(value, dict):
            return notes.add(f"{called(path)} wants a mapping, not {show(value)}", path)
        table = {}
        for name, item in value.items():
            if not re.fullmatch(self.pattern, name):
                bare = re.sub(r"\s+", "-", name.strip().lstrip("-"))
                hint = f"write {bare}" if bare != name and re.fullmatch(self.pattern, bare) else None
                notes.add(f"{show(name)} is not {self.what}", (*path, name), hint, key=True)
            else:
                table[name] = self.item.read(item, (*path, name), notes)
        return BAD if any(item is BAD for item in table.values()) else table

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "patternProperties": {f"^(?:{self.pattern})$": self.item.schema()},
            "additionalProperties": False,
        }


class Key(NamedTuple):
    """A key of a record: its shape, what it means in a sentence, and whether it must stand there."""

    shape: Shape
    doc: str
    required: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """A mapping with known keys. `make` gets the keys that stand there by name, and fills in the defaults."""

    make: Callable[..., Any]
    keys: Mapping[str, Key]
    elsewhere: Callable[[str], str | None] = field(default=lambda key: None, compare=False)

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if not isinstance(value, dict):
            return notes.add(f"{called(path)} wants a mapping, not {show(value)}", path)
        found = {}
        for name, item in value.items():
            key = self.keys.get(name)
            if key is None:
                notes.add(f"unknown key {show(name)}", (*path, name), self.hint(name), key=True)
            elif item is None and not isinstance(key.shape, Anything):
                found[name] = notes.add(
                    f"{name} has no value", (*path, name), "give a value or remove the key", key=True
                )
            else:
                found[name] = key.shape.read(item, (*path, name), notes)
        meant = {nearest(name, self.keys) for name in value if name not in self.keys}
        for name, key in self.keys.items():
            if key.required and name in meant:
                found[name] = BAD
            elif key.required and name not in value:
                where = f" in {called(path)}" if path else ""
                found[name] = notes.add(f"{name} is missing{where}", path, f"add {name}: {key.doc}", key=True)
        return BAD if any(item is BAD for item in found.values()) else self.make(**found)

    def hint(self, name: str) -> str | None:
        close = nearest(name, self.keys)
        return f"did you mean {close!r}?" if close else self.elsewhere(name) or did_you_mean(name, self.keys)

    def schema(self) -> dict[str, Any]:
        keys = {name: {**key.shape.schema(), "description": key.doc} for name, key in self.keys.items()}
        required = [name for name, key in self.keys.items() if key.required]
        more = {"required": required} if required else {}
        return {"type": "object", "properties": keys, "additionalProperties": False, **more}


@dataclass(frozen=True, eq=False, repr=False)
class Either:
    """Several shapes, told apart by the kind of YAML value: int, str, list or dict; `instead` are hints for others."""

    shapes: Mapping[type, Shape]
    what: str
    instead: Mapping[type, str] = field(default_factory=dict)

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        shape = self.shapes.get(type(value))
        if shape is None:
            return notes.add(
                f"{called(path)} wants {self.what}, not {show(value)}", path, self.instead.get(type(value))
            )
        return shape.read(value, path, notes)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [shape.schema() for shape in self.shapes.values()]}


@dataclass(frozen=True, eq=False, repr=False)
class Made:
    """Another shape's value, made into something else. `make` raises ValueError with the words of a problem."""

    shape: Shape
    make: Callable[[Any], Any]

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        plain = self.shape.read(value, path, notes)
        if plain is BAD:
            return BAD
        try:
            return self.make(plain)
        except ValueError as error:
            return notes.add(f"{called(path)} {error.args[0]}", path, *error.args[1:])

    def schema(self) -> dict[str, Any]:
        return self.shape.schema()


def made(make: Any, **keys: Key) -> Made:
    """A mapping of these keys, made into something by `make`, which raises ValueError with the words of a problem."""
    return Made(Record(dict, keys), lambda given: make(**given))
