"""What a parser says and what is known beside it in, a list's data out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgpu.catalog.flags import numbers
from mgpu.values.flag import plain

Entries = Mapping[str, Mapping[str, Any]]


def merged(parsed: Entries, known: Mapping[str, Any], version: str, source: str) -> dict[str, Any]:
    """The list of this version. What is known of a flag that it has not is left out, and null takes a field away."""
    flags = {name: _joined(entry, known.get("flags", {}).get(name, {})) for name, entry in parsed.items()}
    return {
        "source": source,
        "flags": flags,
        "removed": _removed(flags, known.get("removed", {}), version),
        "excludes": [group for group in known.get("excludes", []) if all(name in flags for name in group)],
        "open": known.get("open", False),
        "dotted": known.get("dotted", False),
    }


def _joined(entry: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    both = {**entry, **known}
    both["aliases"] = [*dict.fromkeys([*entry.get("aliases", []), *known.get("aliases", [])])]
    return {key: value for key, value in both.items() if value not in (None, [], "")}


def _removed(flags: Entries, removed: Entries, version: str) -> dict[str, Any]:
    """Those that this version has lost: not those that it has still, or has again."""
    there = {plain(name) for flag, entry in flags.items() for name in (flag, *entry.get("aliases", []))}
    there |= {plain(entry["negative"]) for entry in flags.values() if entry.get("negative")}
    return {
        name: dict(facts)
        for name, facts in removed.items()
        if plain(name) not in there and numbers(facts.get("gone")) <= numbers(version)
    }
