"""An engine's name and version in, its flags out: flags/<list>/<version>.json, read one at a time."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from mgpu.values.flag import Flag, FlagList, Removed

FOLDER = Path(__file__).with_name("flags")


@cache
def versions(name: str) -> tuple[str, ...]:
    """The versions that the catalogue has a list of, oldest first."""
    return tuple(sorted((path.stem for path in (FOLDER / name).glob("*.json")), key=numbers))


def numbers(version: str | None) -> tuple[int, ...]:
    """The numbers that a version starts with (``b10875`` and ``v3.3.7`` too); none for one that is not known."""
    parts = re.match(r"[a-z]?([0-9.]*)", version or "")
    return tuple(int(part) for part in parts[1].split(".") if part) if parts else ()


def flags(name: str, version: str | None) -> FlagList | None:
    """The list for this version: its own, or that of another patch of the same release; None where there is none."""
    known = versions(name)
    if version in known:
        return _read(name, version)
    release = numbers(version)
    same = [other for other in known if len(release) > 1 and numbers(other)[:2] == release[:2]]
    return _read(name, same[-1]) if same else None


@cache
def _read(name: str, version: str) -> FlagList:
    data: dict[str, Any] = json.loads((FOLDER / name / f"{version}.json").read_text("utf-8"))
    return FlagList(
        name=name,
        version=version,
        source=data["source"],
        flags={flag: _flag(flag, facts) for flag, facts in data["flags"].items()},
        removed={flag: Removed(**facts) for flag, facts in data.get("removed", {}).items()},
        excludes=tuple(tuple(group) for group in data.get("excludes", ())),
        open=data.get("open", False),
        dotted=data.get("dotted", False),
    )


def _flag(name: str, facts: dict[str, Any]) -> Flag:
    return Flag(name, **(facts | {key: tuple(facts[key]) for key in TUPLES & facts.keys()}))


TUPLES = frozenset(("aliases", "choices", "also", "usual", "scripts", "keys"))
