"""A job and the version of its engine in, what is wrong with the engine's own flags out: each by its list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mgpu.spec.flag_hints import Hints, use
from mgpu.spec.flag_values import value_complaints
from mgpu.spec.notes import show
from mgpu.spec.versions import listed
from mgpu.values.engine import Complaint, Engine
from mgpu.values.flag import Flag, FlagList, Removed, plain
from mgpu.values.mark import Path
from mgpu.values.spec import Job

PLACES = ("args", "script_args", "config")
"""The keys of a job that may hold an engine's own flags."""
THEIRS = ("script_args",)
"""Those of a program that the engine starts: what mgpu sets of the engine's own is not meant there."""


def owners(engine: Engine, place: str) -> Mapping[str, str]:
    """What sets the engine's flags, where those under this key are the engine's."""
    return {} if place in THEIRS else engine.owners


def flag_complaints(job: Job, engine: Engine, version: str | None) -> Iterator[Complaint]:
    """Everything that is wrong with the flags of `job`, were its engine of this version."""
    told = False
    for place in PLACES:
        given = getattr(job, place)
        if not isinstance(given, Mapping) or not given:
            continue
        known = listed(engine, place, version)
        if place in THEIRS and not known:
            yield from _of_the_launcher(given, place, engine)
        if place not in THEIRS:
            yield from _owned(given, (place,), engine, known)
        if known:
            yield from _Place(job, engine, place, known, version).complaints(given)
        elif place in engine.lists and not told:
            told = True
            yield _unlisted(job, engine, version)


def _unlisted(job: Job, engine: Engine, version: str | None) -> Complaint:
    """The warning that nothing is known of these flags."""
    key = "version" if job.version else "image" if job.image else "engine"
    if version:
        message = f"mgpu has no list of the flags of {engine.name} {version}: they pass unchecked"
        return Complaint(message, (key,), f"the lists there are: mgpu engines {engine.name}", warning=True)
    message = f"which {engine.name} is in {job.image} is not known: its flags pass unchecked"
    return Complaint(message, (key,), f"say it beside the image: version: '{engine.version}'", warning=True)


def _owned(given: Mapping[str, Any], path: Path, engine: Engine, known: FlagList | None) -> Iterator[Complaint]:
    """Flags that mgpu itself sets, by whatever spelling."""
    for name in given:
        flag = known.find(name) if known else None
        owner = engine.owners.get(plain(flag.name if flag else name))
        if owner:
            hint = "remove it" if owner.startswith("nothing") else f"use {owner} instead"
            why = owner.partition(": ")[2] if owner.startswith("nothing") else ""
            yield Complaint(f"{name} is set by mgpu" + (f": {why}" if why else ""), (*path, name), hint, key=True)


def _of_the_launcher(given: Mapping[str, Any], place: str, engine: Engine) -> Iterator[Complaint]:
    """The warning that a script, whose flags nobody lists, is given what counts or joins its ranks. Names of one word
    are those of scripts too."""
    for name in given:
        owner = engine.owners.get(plain(name), "")
        if "-" in plain(name) and owner.startswith(("gpus", "nothing")):
            message = f"{name} is a flag of {engine.name} itself, and here it goes to the script"
            yield Complaint(message, (place, name), use(owner), key=True, warning=True)


class _Place:
    """The flags under one key of a job, and the list that they are held against."""

    def __init__(self, job: Job, engine: Engine, place: str, known: FlagList, version: str | None) -> None:
        self.engine, self.place, self.known = engine, place, known
        own = known.name.removesuffix("-config") == engine.name
        self.version = known.version if own else f"({known.name} {known.version})"
        scripts = {script for flag in known.flags.values() for script in flag.scripts}
        stem = job.trainer or PurePath(job.script or "").stem
        self.strange = bool(scripts) and stem not in scripts
        self.hints = Hints(engine, place, known, version, owners(engine, place), stem if scripts else None)

    def complaints(self, given: Mapping[str, Any]) -> Iterator[Complaint]:
        """What is wrong with `given`; a script that the list does not know has whatever flags it wants."""
        if not self.strange:
            yield from self._mapping(given, (self.place,), "")

    def _mapping(self, given: Mapping[str, Any], path: Path, above: str) -> Iterator[Complaint]:
        seen: dict[str, str] = {}
        for name, value in given.items():
            here, dotted = (*path, name), above + name
            flag = self.known.find(dotted)
            if plain(flag.name if flag else dotted) in self.hints.owners:
                continue
            whole = flag.name if flag else dotted
            inside = self._inside(whole)
            if isinstance(value, Mapping) and inside:
                yield from self._mapping(value, here, f"{whole}.")
            elif flag is None or not self.hints.has(flag):
                yield self._unknown(dotted, here, above, flag)
            elif flag.name in seen:
                yield self._twice(name, seen[flag.name], here)
            elif inside and flag.kind == "json" and value is not None and "${" not in str(value):
                seen[flag.name] = name
                yield Complaint(f"{name} wants a mapping, not {show(value)}", here, _section(name, value, inside))
            else:
                seen[flag.name] = name
                yield from self._deprecated(flag, name, here)
                yield from value_complaints(flag, value, here, config=self.place == "config")
        yield from self._parts(seen, path)
        yield from self._excluded(seen, given, path)

    def _inside(self, dotted: str) -> list[str]:
        """The keys that the list has within a section."""
        start = f"{dotted}."
        return [name.removeprefix(start) for name in self.known.flags if name.startswith(start)]

    def _unknown(self, name: str, path: Path, above: str, flag: Flag | None) -> Complaint:
        """A flag that is none: one that was, one of another place or script, or one that is not spelled like that."""
        gone = self.known.gone(name)
        if gone:
            return Complaint(self._gone(name, gone), path, gone.use and f"use {gone.use}", key=True)
        whose = self.hints.script if flag else f"{self.engine.name} {self.version}"
        what = "key" if self.place == "config" else "flag"
        close = self.hints.close(name, above)
        hint = self.hints.hint(name, above, close, flag)
        passes = self.known.open and not above and not close
        return Complaint(f"{whose} has no {what} {name}", path, hint, key=True, warning=passes)

    def _twice(self, name: str, before: str, path: Path) -> Complaint:
        """Two spellings of one flag, or the two that turn it on and off."""
        if self.known.turns_off(name) != self.known.turns_off(before):
            return Complaint(f"{name} is the opposite of {before}", path, "keep one of them", key=True)
        return Complaint(f"{name} is {before} once more", path, "keep one of them", key=True)

    def _parts(self, seen: Mapping[str, str], path: Path) -> Iterator[Complaint]:
        """One key of a mapping as a flag, and the mapping as well: the key replaces it."""
        for flag, name in seen.items() if self.known.dotted else ():
            whole = seen.get(flag.partition(".")[0])
            if "." in flag and whole:
                message = f"{name} takes the place of all that {whole} says"
                yield Complaint(message, (*path, name), f"put it into {whole}", key=True)

    def _gone(self, name: str, gone: Removed) -> str:
        who = f"{self.engine.name} {self.version}"
        return f"{who} has no {name} any more: it went with {gone.gone}" if gone.gone else f"{who} has no flag {name}"

    def _deprecated(self, flag: Flag, name: str, path: Path) -> Iterator[Complaint]:
        if flag.deprecated:
            hint = flag.use and f"use {flag.use}"
            message = f"{name} is deprecated in {self.engine.name} {self.version}"
            yield Complaint(message, path, hint, key=True, warning=True)

    def _excluded(self, seen: Mapping[str, str], given: Mapping[str, Any], path: Path) -> Iterator[Complaint]:
        """Flags of which only one may be given: told at the later."""
        for group in self.known.excludes:
            both = [seen[name] for name in seen if name in group and not _off(given[seen[name]])]
            for other in both[1:]:
                yield Complaint(f"{both[0]} and {other} exclude each other", (*path, other), "keep one", key=True)


def _off(value: Any) -> bool:
    return value in (False, None) or (isinstance(value, str) and value.lower() in ("false", "no"))


def _section(name: str, value: Any, inside: list[str]) -> str:
    """How to write a section of which a single value was given."""
    first = {bool: "enabled", int: "stage", str: "type"}.get(type(value))
    if first in inside:
        return f"{name}: {{{first}: {show(value) if isinstance(value, bool) else value}}}"
    return f"its keys: {', '.join(inside[:6])}" + (", ..." if len(inside) > 6 else "")
