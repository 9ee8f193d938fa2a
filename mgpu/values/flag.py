"""What is known of one flag of an engine, and of all the flags of one of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Kind = Literal["bool", "int", "float", "str", "choice", "json", "any"]


class Flag(NamedTuple):
    """One flag, `name` without its dashes as the engine's own parser spells it.

    `kind` is that of one value (``any``: nobody says which); `also` are words taken beside it (``auto``), `usual` those
    of a text that are known, where there may be others; `low` and `high` are within the range, `above` is not. `many`:
    how several values are given: ``words`` after one flag, ``repeat`` (the flag again), a separator that joins them, or
    the number of words. `bare`: the value may be left out. `suffix`: 8k and 2M are numbers. `negative` is the flag that
    turns a bool off. `scripts` are those that have it, none named: all. `keys` are those of a mapping, where they are
    known.
    """

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    choices: tuple[Any, ...] = ()
    also: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
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
    keys: tuple[str, ...] = ()


class Removed(NamedTuple):
    """A flag that was: the version that no longer has it, and what to use instead."""

    gone: str | None = None
    use: str | None = None


@dataclass(frozen=True)
class FlagList:
    """The flags of one version of a parser. `excludes` are groups of which one may be given; `open`: what is not listed
    is let through by the parser (a config file with sections of other programs); `dotted`: one key of a mapping can be
    a flag of its own (compilation-config.mode)."""

    name: str
    version: str
    source: str
    flags: Mapping[str, Flag]
    removed: Mapping[str, Removed] = field(default_factory=dict)
    excludes: tuple[tuple[str, ...], ...] = ()
    open: bool = False
    dotted: bool = False

    @cached_property
    def _spellings(self) -> dict[str, Flag]:
        known: dict[str, Flag] = {}
        for flag in self.flags.values():
            for name in (flag.name, *flag.aliases):
                known.setdefault(name, flag)
        for name, flag in list(known.items()):
            known.setdefault(plain(name), flag)
        return known

    @cached_property
    def _negatives(self) -> dict[str, Flag]:
        turning = [flag for flag in self.flags.values() if flag.negative]
        known = {plain(f"no-{alias}"): flag for flag in turning for alias in flag.aliases if len(alias) > 3}
        return known | {plain(flag.negative or ""): flag for flag in turning}

    def find(self, name: str) -> Flag | None:
        """The flag of this name or alias, or that it turns off; hyphens and underscores are the same."""
        known = self._spellings.get(name) or self._spellings.get(plain(name)) or self._negatives.get(plain(name))
        return known or (self._key(name) if self.dotted else None)

    def turns_off(self, name: str) -> bool:
        """Whether this is the name that turns its flag off: ``no-mmap: true`` is ``mmap: false``."""
        return not (name in self._spellings or plain(name) in self._spellings) and plain(name) in self._negatives

    def _key(self, name: str) -> Flag | None:
        """One key of a mapping, as a flag: what it takes is not known."""
        whole, dot, key = name.partition(".")
        flag = self._spellings.get(plain(whole)) if dot and key else None
        if flag is None or flag.kind != "json" or (flag.keys and key.partition(".")[0] not in flag.keys):
            return None
        return Flag(f"{flag.name}.{key}", "any")

    def gone(self, name: str) -> Removed | None:
        """What became of a flag that this version has no more."""
        return self.removed.get(name) or {plain(n): r for n, r in self.removed.items()}.get(plain(name))


def plain(name: str) -> str:
    """A flag's name with hyphens: what people write for either spelling. Case stays: ``-a`` and ``-A`` are two."""
    return name.replace("_", "-")
