"""The shapes of single values: text, numbers, choices, sizes, durations. Each reads, and says itself as JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mgpu.spec.nearest import did_you_mean
from mgpu.spec.notes import Notes, called, show
from mgpu.values.document import Written
from mgpu.values.mark import Path


@dataclass(frozen=True, eq=False, repr=False)
class Text:
    """Text. A number or true is refused with its quoted form, but for integers, whose text is the same everywhere."""

    pattern: str | None = None
    what: str = "text"
    empty: bool = False
    dash: bool = True
    longest: int | None = None

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, (bool, Written)):
            text = str(value).lower() if isinstance(value, bool) else value.text
            return notes.add(
                f"{called(path)} wants {self.what}, and {text} is not", path, f"write it in quotes: '{text}'"
            )
        if not isinstance(value, str):
            return notes.add(f"{called(path)} wants {self.what}, not {show(value)}", path)
        if not value and not self.empty:
            return notes.add(f"{called(path)} is empty", path, "give a value or remove the key")
        if self.longest and len(value) > self.longest:
            return notes.add(f"{called(path)} has more than {self.longest:,} characters", path)
        if value.startswith("-") and not self.dash:
            return notes.add(f"{called(path)} must not start with a dash: it would be read as an option", path)
        if self.pattern and not re.fullmatch(self.pattern, value):
            return notes.add(f"{called(path)} wants {self.what}, not {show(value)}", path)
        return value

    def schema(self) -> dict[str, Any]:
        pattern = self.pattern and f"^(?:{self.pattern})$"
        pattern = pattern or (None if self.dash else "^[^-]") or (None if self.empty else ".")
        return {"type": ["string", "integer"]} | ({"pattern": pattern} if pattern else {})


@dataclass(frozen=True, eq=False, repr=False)
class Integer:
    """A whole number between `low` and `high`."""

    low: int = 0
    high: int | None = None

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return notes.add(f"{called(path)} wants a whole number, not {show(value)}", path, _plainly(value))
        if value < self.low or (self.high is not None and value > self.high):
            span = f"from {self.low} to {self.high}" if self.high is not None else f"of at least {self.low}"
            return notes.add(f"{called(path)} wants a number {span}, not {show(value)}", path)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low} | ({} if self.high is None else {"maximum": self.high})


def _plainly(value: Any) -> str | None:
    """The hint for a whole number that is written as text, with a fraction, or in another base."""
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value):
        return f"write it without quotes: {value}"
    return f"write {int(value)}" if isinstance(value, Written) and value.is_integer() and abs(value) < 1e15 else None


@dataclass(frozen=True, eq=False, repr=False)
class Number:
    """A number of any kind from `low` on, read into a float."""

    low: float = 0.0

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value < 1e300:
            return notes.add(f"{called(path)} wants a number of at least {self.low:g}, not {show(value)}", path)
        return float(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.low}


@dataclass(frozen=True, eq=False, repr=False)
class Flag:
    """true or false."""

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if isinstance(value, bool):
            return value
        meant = {"yes": "write true", "on": "write true", "no": "write false", "off": "write false"}
        hint = meant.get(str(value).lower())
        return notes.add(f"{called(path)} wants true or false, not {show(value)}", path, hint)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, eq=False, repr=False)
class Choice:
    """One of a few words; `hint` is for what is none of them nor near."""

    words: tuple[str, ...]
    hint: str | None = None

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if value in self.words and isinstance(value, str):
            return value
        hint = self.hint or (did_you_mean(value, self.words) if isinstance(value, str) else None)
        return notes.add(f"{called(path)} cannot be {show(value)}", path, hint or f"one of: {', '.join(self.words)}")

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "ms": 0.001}
SIZE = r"[0-9]+(\.[0-9]+)? ?([KMGT]i?B|B)"
DURATION = r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+"


@dataclass(frozen=True, eq=False, repr=False)
class Size:
    """An amount of memory, as ``20GiB`` or ``24GB``: read into bytes."""

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if isinstance(value, str) and re.fullmatch(SIZE, value):
            number, unit = re.fullmatch(r"([0-9.]+) ?([A-Za-z]+)", value).groups()  # type: ignore[union-attr]
            amount = float(number) * UNITS[unit]
            if amount < 2**63:
                return int(amount)
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000
        hint = f"write it with its unit: {value if whole else 20}GiB"
        return notes.add(f"{called(path)} wants an amount of memory, not {show(value)}", path, hint)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{SIZE}$"}


@dataclass(frozen=True, eq=False, repr=False)
class Duration:
    """A length of time, as ``90s``, ``10m`` or ``1h30m``; a bare number is seconds. Read into seconds."""

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9:
            return float(value)
        if isinstance(value, str) and re.fullmatch(DURATION, value) and len(value) < 40:
            seconds = sum(float(n) * SECONDS[u] for n, _, u in re.findall(r"([0-9]+(\.[0-9]+)?)(ms|[smhd])", value))
            if 0 < seconds < 1e9:
                return seconds
        return notes.add(f"{called(path)} wants a length of time, not {show(value)}", path, "write 90s, 10m or 1h30m")

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": f"^{DURATION}$"}]}


@dataclass(frozen=True, eq=False, repr=False)
class Anything:
    """Any plain value: the engine's own flags, whose shapes its flag list knows."""

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if value is None:
            return notes.add(f"{called(path)} has no value", path, "give one, or true for a flag without one", key=True)
        if isinstance(value, list) and (not value or None in value):
            hint = "give values, or true for a flag without one"
            return notes.add(f"{called(path)} has an empty place, or is empty", path, hint)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean", "array", "object"]}


@dataclass(frozen=True, eq=False, repr=False)
class Settings:
    """A mapping of plain data of any depth, where null is a value too: the content of a config file."""

    def read(self, value: Any, path: Path, notes: Notes) -> Any:
        if not isinstance(value, dict) or not value:
            return notes.add(f"{called(path)} wants a mapping, not {show(value)}", path)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "minProperties": 1}
