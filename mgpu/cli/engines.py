"""List the engines, or explain one of them or one of its flags."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any

from mgpu.catalog.flags import versions
from mgpu.engines import ENGINES, engine_named, every
from mgpu.errors import UsageError
from mgpu.spec.flags import owners
from mgpu.spec.nearest import did_you_mean
from mgpu.spec.versions import list_names, listed
from mgpu.values.engine import Engine
from mgpu.values.flag import Flag, FlagList, Removed, plain


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("engine", nargs="?", metavar="ENGINE", help="an engine; without it all are listed")
    parser.add_argument("flag", nargs="?", metavar="FLAG", help="one of its flags, without dashes")
    parser.add_argument("--version", metavar="VERSION", help="of which version; the engine's own if left out")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def main(options: argparse.Namespace) -> int:
    if options.engine is None:
        _print([_row(engine) for engine in every()], _table, options)
        return 0
    if options.engine not in ENGINES:
        raise UsageError(f"there is no engine {options.engine!r}", did_you_mean(options.engine, ENGINES))
    engine = engine_named(options.engine)
    places = _places(engine, options.version)
    if options.flag is None:
        _print(_row(engine) | {"flags": _all(engine, places)}, _engine, options)
    else:
        found = _explained(engine, places, options.flag.lstrip("-"))
        _print(found, lambda facts: "\n\n".join("\n".join(_flag(fact)) for fact in facts), options)
    return 0


def _print(data: Any, words: Any, options: argparse.Namespace) -> None:
    if options.json:
        import json

        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        print(words(data))


def _row(engine: Engine) -> dict[str, Any]:
    return {
        "engine": engine.name,
        "kinds": list(engine.kinds),
        "version": engine.version,
        "versions": {name: list(versions(name)) for name in list_names(engine)},
        "image": engine.image.format(version=engine.version) if engine.image else None,
        "port": engine.port,
        "parallel": list(engine.dimensions),
        "keys": sorted(engine.takes | engine.requires),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [(row["engine"], row["version"] or "", " ".join(row["kinds"]), row["image"] or "") for row in rows]
    head = ("engine", "version", "kind", "image")
    widths = [max(len(row[at]) for row in (head, *cells)) for at in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in (head, *cells)
    )


def _places(engine: Engine, version: str | None) -> dict[str, FlagList]:
    """The engine's lists by the key of a spec that holds their flags. Raises UsageError for a version without one."""
    found = {place: listed(engine, place, version or engine.version) for place in engine.lists}
    if version and None in found.values():
        known = ", ".join(other for name in list_names(engine) for other in versions(name))
        raise UsageError(f"mgpu has no list of the flags of {engine.name} {version}", f"it has: {known}")
    return {place: known for place, known in found.items() if known}


def _all(engine: Engine, places: dict[str, FlagList]) -> list[dict[str, Any]]:
    """Every flag of the engine."""
    return [_facts(engine, place, known, flag) for place, known in places.items() for flag in known.flags.values()]


def _facts(engine: Engine, place: str, known: FlagList, flag: Flag) -> dict[str, Any]:
    """What is known of a flag, as JSON-ready data: what says nothing is left out."""
    facts = {name: getattr(flag, name) for name in flag._fields}
    owner = owners(engine, place).get(plain(flag.name))
    told = {name: list(fact) if isinstance(fact, tuple) else fact for name, fact in facts.items() if fact or fact == 0}
    return {**told, "place": place, "version": known.version, "source": known.source} | (
        {"owner": owner} if owner else {}
    )


def _engine(row: dict[str, Any]) -> str:
    lines = [f"{row['engine']} {row['version'] or ''}".rstrip() + f"  ({', '.join(row['kinds'])})"]
    lines += [f"  image     {row['image']}"] if row["image"] else []
    lines += [f"  port      {row['port']}"] if row["port"] else []
    lines += [f"  parallel  {', '.join(row['parallel'])}"] if row["parallel"] else []
    lines += [f"  keys      {', '.join(row['keys'])}"]
    for name, known in row["versions"].items():
        lines += [f"  flags     {name} {', '.join(known)}"] if known else []
    flags = row["flags"]
    for place in dict.fromkeys(flag["place"] for flag in flags):
        lines += ["", f"{place}:"]
        here = [flag for flag in flags if flag["place"] == place]
        width = min(40, max(len(flag["name"]) for flag in here))
        lines += [f"  {flag['name']:<{width}}  {_short(flag)}".rstrip() for flag in here]
    return "\n".join(lines)


def _short(fact: dict[str, Any]) -> str:
    """A flag's values and meaning on a line."""
    note = f"set by mgpu: {fact['owner']}" if "owner" in fact else fact.get("meaning", "")
    return textwrap.shorten(f"{_values(fact)}; {note}" if note else _values(fact), 100, placeholder=" ...")


WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "json": "mapping",
    "any": "any value",
}


def _values(fact: dict[str, Any]) -> str:
    """What a flag takes, in words."""
    what = " | ".join(map(str, fact["choices"])) if "choices" in fact else WORDS[fact["kind"]]
    what += "".join(f" | {word}" for word in fact.get("also", ()))
    many = fact.get("many")
    return f"list of {what}" if many and not isinstance(many, int) else f"{many} of {what}" if many else what


def _explained(engine: Engine, places: dict[str, FlagList], name: str) -> list[dict[str, Any]]:
    """What is known of the flag of this name, under every key that has one. Raises UsageError where none has."""
    found = [_facts(engine, place, known, flag) for place, known in places.items() if (flag := known.find(name))]
    if found:
        return found
    for place, known in places.items():
        gone = known.gone(name)
        if gone:
            return [{"name": name, "place": place, "version": known.version, "removed": _gone(gone)}]
    names = [flag for known in places.values() for flag in known.flags]
    raise UsageError(f"{engine.name} {engine.version or ''} has no flag {name}", did_you_mean(name, names))


def _gone(removed: Removed) -> dict[str, str]:
    return {name: value for name, value in removed._asdict().items() if value}


def _flag(fact: dict[str, Any]) -> Iterator[str]:
    """A flag's facts in lines."""
    if "removed" in fact:
        gone, use = (fact["removed"].get(name) for name in ("gone", "use"))
        yield f"{fact['name']}: no flag of {fact['version']}" + (f" any more, gone since {gone}" if gone else "")
        if use:
            yield f"  use      {use}"
        return
    yield fact["name"] + (f": {fact['meaning']}" if "meaning" in fact else "")
    span = [f"at least {fact['low']:g}"] if "low" in fact else [f"above {fact['above']:g}"] if "above" in fact else []
    span += [f"at most {fact['high']:g}"] if "high" in fact else []
    rows = {
        "takes": ", ".join([_values(fact), *span]),
        "default": None if fact.get("default") in (None, "") else str(fact["default"]).lower(),
        "also": ", ".join(fact.get("aliases", ())),
        "off by": fact.get("negative"),
        "scripts": ", ".join(fact.get("scripts", ())),
        "instead": fact.get("owner"),
        "deprecated": (fact.get("use") or "yes") if "deprecated" in fact else None,
        "under": f"{fact['place']}:",
        "source": fact["source"],
    }
    yield from (f"  {name:<10} {text}" for name, text in rows.items() if text)
