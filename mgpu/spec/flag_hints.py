"""A name that is no flag of a list in, what to write instead out: what other engines, people and versions call so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mgpu.catalog.same import called, spec_key
from mgpu.spec.nearest import TYPO, meant, nearest
from mgpu.spec.versions import listed
from mgpu.values.engine import Engine
from mgpu.values.flag import Flag, FlagList, plain

TOP = ("gpus", "port", "host", "secrets", "env", "replicas")
"""Keys that every job may have."""
SIDES = (("disable-", "enable-"), ("enable-", "disable-"), ("no-", ""), ("no-", "enable-"))
MOST_PLACES = 3
"""Where a key stands in more sections than these, none is named; of scripts no more are."""


class Hints(NamedTuple):
    """What is known where a flag was looked for: in which `place`, its list, the version of the engine, what mgpu sets
    (by `owners`), and the script whose flags count."""

    engine: Engine
    place: str
    known: FlagList
    version: str | None
    owners: Mapping[str, str]
    script: str | None

    def has(self, flag: Flag) -> bool:
        """Whether the script has this flag."""
        return not flag.scripts or self.script in flag.scripts

    def close(self, name: str, above: str) -> str | None:
        """The flag that is spelled nearly so, within the section `above`."""
        whole = self.known.find(name.partition(".")[0]) if self.known.dotted and "." in name else None
        if whole and (key := meant(name.partition(".")[2], whole.keys)):
            return f"{whole.name}.{key}"
        if above:
            names = [other.removeprefix(above) for other in self._names() if other.startswith(above)]
            found = meant(name.removeprefix(above), names)
            return f"{above}{found}" if found else None
        return meant(name, (other for other in self._names() if "." not in other or "." in name))

    def inner(self, name: str) -> list[str]:
        """The keys within sections that are called so, or nearly."""
        last = plain(name.rpartition(".")[2])
        inner = [other for other in self.known.flags if "." in other]
        found = [other for other in inner if plain(other).endswith(f".{last}")]
        close = None if found else nearest(last, (other.rpartition(".")[2] for other in inner), TYPO)
        return found or [other for other in inner if close and other.endswith(f".{close}")]

    def hint(self, name: str, above: str, close: str | None, flag: Flag | None) -> str:
        """What to write in place of `name`; `flag` is that of another script."""
        found = self._same(name) or self._other_side(name)
        found = found or (self._nearly(close, above) if close and not flag else None)
        found = found or self._elsewhere(name, above) or self._of_other_scripts(name, flag)
        if found or self.place != "args" or "script_args" not in self.engine.takes:
            return found or f"its {self._what()}s are listed by: mgpu engines {self.engine.name}"
        return "the flags of the script itself stand under script_args:"

    def _what(self) -> str:
        return "key" if self.place == "config" else "flag"

    def _of_other_scripts(self, name: str, flag: Flag | None) -> str | None:
        """The scripts that have this flag, or one that is spelled nearly so."""
        if flag:
            return _scripts(flag)
        close = nearest(name, (flag.name for flag in self.known.flags.values() if not self.has(flag)), TYPO)
        return f"did you mean {close!r}? {_scripts(self.known.flags[close])}" if close else None

    def _names(self) -> Iterator[str]:
        for flag in self.known.flags.values():
            if self.has(flag):
                yield from (flag.name, *(alias for alias in flag.aliases if len(alias) > 3))

    def _nearly(self, close: str, above: str) -> str:
        owner, flag = self.owner(close), self.known.find(close)
        more = f" mgpu sets it: {use(owner)}" if owner else ""
        more = more or (f" it is deprecated: use {flag.use}" if flag and flag.deprecated and flag.use else "")
        return f"did you mean {close.removeprefix(above)!r}?{more}"

    def owner(self, name: str) -> str | None:
        """What mgpu sets this flag from."""
        flag = self.known.find(name)
        return self.owners.get(plain(flag.name if flag else name))

    def _same(self, name: str) -> str | None:
        """What this engine calls that which another one calls `name`; else the key of the spec."""
        own = called(name, self.known.name)
        flag = self.known.find(own) if own else None
        if own and flag and self.has(flag) and plain(own) != plain(name):
            owner = self.owner(own)
            return f"{self.engine.name} calls it {own}" + (f": {use(owner)}" if owner else "")
        key = spec_key(name)
        key = key if key and key.partition(":")[0] in {*TOP, *self.engine.takes} else None
        inner = key.partition("{")[2].partition(":")[0] if key else ""
        return f"use {key} instead" if key and (not inner or inner in self.engine.dimensions) else None

    def _other_side(self, name: str) -> str | None:
        """The flag that turns off what this name would turn on, or the other way round."""
        for old, new in SIDES:
            flag = self.known.find(new + plain(name).removeprefix(old)) if plain(name).startswith(old) else None
            if flag and flag.kind == "bool" and self.has(flag):
                return f"write {flag.name}: false"
        return None

    def _elsewhere(self, name: str, above: str) -> str | None:
        """The other place of the job, or the other section of this one, that has it."""
        if above and self.known.find(name.removeprefix(above)):
            return "it stands at the top, not in a section"
        inner = self.inner(name)
        if 0 < len(inner) <= MOST_PLACES:
            return f"that is a key within a section: {' or '.join(self.known.flags[at].use or at for at in inner)}"
        for place in (other for other in self.engine.lists if other != self.place):
            known = listed(self.engine, place, self.version)
            if known and (found := known.find(name)):
                owner = self.engine.owners.get(plain(found.name), "nothing")
                return f"put it under {place}:" if owner.startswith("nothing") else use(owner)
        return None


def _scripts(flag: Flag) -> str:
    more = ", ..." if len(flag.scripts) > MOST_PLACES else ""
    return f"it is one of {', '.join(flag.scripts[:MOST_PLACES])}{more}"


def use(owner: str) -> str:
    """What to do in place of giving a flag that mgpu sets."""
    return owner.partition(": ")[2] or "leave it out" if owner.startswith("nothing") else f"use {owner} instead"
