"""The problems found while a document is read, each with its place, and the words that name a value or a key."""

from __future__ import annotations

from typing import Any

from mgpu.errors import Problem
from mgpu.values.document import Document
from mgpu.values.mark import Path

BAD = object()
"""What `read` returns where it has noted a problem."""

MOST = 200
"""How many problems of one document are told: looking for the word that was meant takes its time with each."""


class Notes:
    """The problems found so far in one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, message: str, path: Path, hint: str | None = None, *, key: bool = False) -> Any:
        """Note a problem at `path` and return BAD. Raises SpecError where there are so many that more say nothing."""
        self.problems.append(self.document.problem(message, path, hint, key=key))
        if len(self.problems) == MOST:
            enough = f"these are {MOST} problems: the rest of the document was not looked at"
            raise self.document.error(*self.problems, self.document.problem(enough, path))
        return BAD

    def warn(self, message: str, path: Path, hint: str | None = None, *, key: bool = False) -> None:
        """Note what does not keep the document from being used."""
        self.warnings.append(self.document.problem(message, path, hint, key=key))


def show(value: Any) -> str:
    """A value in a few words, for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def called(path: Path) -> str:
    """The name of what stands at `path`, as a person writes it: ``gpus.count``, ``volumes[0]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[-2:])
    return text.lstrip(".") or "the document"
