"""The errors a person can cause or meet: each says what is wrong, where, and what to change."""

from __future__ import annotations

from typing import NamedTuple

from mgpu.values.mark import Mark, Path


class Problem(NamedTuple):
    """One thing that is wrong with a document."""

    message: str
    path: Path = ()
    mark: Mark | None = None
    hint: str | None = None


class MgpuError(Exception):
    """What went wrong in a sentence, and the change that mends it."""

    exit_code = 125

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecError(MgpuError):
    """A document is wrong: every problem found in it, in the order of its lines."""

    exit_code = 1

    def __init__(self, name: str, text: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(f"{name}: {len(problems)} problem{'s' if len(problems) != 1 else ''}")
        self.name = name
        self.text = text
        self.problems = tuple(sorted(problems, key=lambda p: p.mark or Mark(1, 1)))


class NoRoom(MgpuError):
    """The machine cannot give what the spec asks for: never (`ever` False) or not now."""

    def __init__(self, message: str, hint: str | None = None, ever: bool = True) -> None:
        super().__init__(message, hint)
        self.ever = ever
        self.exit_code = 75 if ever else 1


class HostError(MgpuError):
    """The host refused something that mgpu needs: a folder, a library, a command."""

    def __init__(self, message: str, hint: str | None = None, exit_code: int = 125) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


class UsageError(MgpuError):
    """The command line itself is wrong."""

    exit_code = 2
