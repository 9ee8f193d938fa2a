"""What is known of one flag of an engine, and of all the flags of one of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Kind = Literal["bool", "int", "float", "str", "choice", "json", "any"]


class Flag(NamedTuple):
    """One flag, `name` without its dashes as the engine's own parser spells it.

    `kind` is that of one value (``any``: nobody says which); `also` are words taken beside it (``auto``); `low` and
    `high` are within the range, `above` is not. `many`: how several values are given: ``words`` after one flag,
    ``repeat`` (the flag again), a separator that joins them, or the number of words. `bare`: the value may be left
    out. `suffix`: 8k and 2M are numbers. `negative` is the flag that turns a bool off. `scripts` are those that have
    it, none named: all.
    """

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    choices: tuple[Any, ...] = ()
    also: tuple[str, ...] = ()
    default: Any = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    many: str | int | None = None
    bare: bool = False
    suffix: bool = False
    negative: str | None = None
    deprecated: str | None = None
    use: str | None = None
    meaning: str | None = None
    scripts: tuple[str, ...] = ()


class Removed(NamedTuple):
    """A flag that was: the version that no longer has it, and what to use instead."""

    gone: str | None = None
    use: str | None = None


@dataclass(frozen=True)
class FlagList:
    """The flags of one version of a parser. `excludes` are groups of which one may be given; `open`: what is not listed
    is let through by the parser (a config file with sections of other programs)."""

    name: str
    version: str
    source: str
    flags: Mapping[str, Flag]
    removed: Mapping[str, Removed] = field(default_factory=dict)
    excludes: tuple[tuple[str, ...], ...] = ()
    open: bool = False

    @cached_property
    def _spellings(self) -> dict[str, Flag]:
        known: dict[str, Flag] = {}
        for flag in self.flags.values():
            for name in (flag.name, *flag.aliases):
                known.setdefault(name, flag)
        for name, flag in list(known.items()):
            known.setdefault(plain(name), flag)
        return known

    def find(self, name: str) -> Flag | None:
        """The flag of this name or alias; hyphens and underscores are the same."""
        return self._spellings.get(name) or self._spellings.get(plain(name))

    def gone(self, name: str) -> Removed | None:
        """What became of a flag that this version has no more."""
        return self.removed.get(name) or {plain(n): r for n, r in self.removed.items()}.get(plain(name))


def plain(name: str) -> str:
    """A flag's name with hyphens: what people write for either spelling. Case stays: ``-a`` and ``-A`` are two."""
    return name.replace("_", "-")
