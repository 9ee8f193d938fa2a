"""Plain data read from a YAML text, with the place of every key and value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mgpu.errors import Problem, SpecError
from mgpu.values.mark import Mark, Path


class Written(float):
    """A number that its text tells more of than its value, and that text: ``1.0e-4``, ``0755`` reach an engine so."""

    text: str

    def __new__(cls, text: str) -> Written:
        plain = text.lower().replace(".inf", "inf").replace(".nan", "nan")
        number = super().__new__(cls, int(plain, 0) if plain.startswith(("0x", "0o")) else plain)
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # a copy is made of the text
        return (self.text,)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Document:
    """A text and what it says. `keys` and `values` hold a Mark per path (a list's items have no key); `given` holds
    the paths that the command line has set, with the words that did."""

    name: str
    text: str
    data: Any
    keys: Mapping[Path, Mark]
    values: Mapping[Path, Mark]
    given: Mapping[Path, str] = field(default_factory=dict)

    def problem(self, message: str, path: Path, hint: str | None = None, *, key: bool = False) -> Problem:
        """A problem that points at the value under `path`, or at its key; else at the nearest parent that is there."""
        first, second = (self.keys, self.values) if key else (self.values, self.keys)
        at = path
        while at and at not in first and at not in second:
            at = at[:-1]
        words = next((words for given, words in self.given.items() if path[: len(given)] == given), None)
        where = f" (from --set {words})" if words else ""
        return Problem(message + where, path, first.get(at) or second.get(at) or Mark(1, 1), hint)

    def error(self, *problems: Problem) -> SpecError:
        """The error that carries these problems of this document."""
        return SpecError(self.name, self.text, problems)
