"""The flags of an engine in, JSON Schema for the keys of a job that hold them out: what an editor completes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mgpu.engines import engine_named, every
from mgpu.spec.flag_values import SUFFIXED, WHOLE
from mgpu.spec.flags import owners
from mgpu.spec.versions import listed
from mgpu.values.engine import Engine
from mgpu.values.flag import Flag, FlagList, plain

ONE: dict[str, dict[str, Any]] = {
    "bool": {"type": "boolean"},
    "int": {"type": ["integer", "string"], "pattern": f"^(?:{WHOLE.pattern})$"},
    "float": {"type": ["number", "string"], "pattern": "[0-9nN]"},
    "str": {"type": ["string", "number"]},
    "json": {"type": ["object", "array", "string"]},
    "any": {},
}
"""What one value of a flag may be; of a number that is written as text `validate` tells more."""


def definitions(kind: str) -> dict[str, Any]:
    """The schema of every place for flags of this kind of job, by the name that `branches` refers to."""
    return {_name(engine, place): _table(engine, place, known) for engine, place, known in _places(kind)}


def branches(kind: str) -> list[dict[str, Any]]:
    """What holds for a job of this kind with each engine, in the version that the flags are those of."""
    then: dict[str, dict[str, Any]] = {}
    for engine, place, _ in _places(kind):
        then.setdefault(engine.name, {})[place] = {"$ref": f"#/definitions/{_name(engine, place)}"}
    return [{"if": _is(engine_named(name)), "then": {"properties": places}} for name, places in then.items()]


def _is(engine: Engine) -> dict[str, Any]:
    """What holds for a job with this engine, in its own version."""
    of = {key: {"const": getattr(engine, key)} for key in ("version", "image")}
    return {"required": ["engine"], "properties": {"engine": {"const": engine.name}, **of}}


def _places(kind: str) -> Iterator[tuple[Engine, str, FlagList]]:
    for engine in every():
        for place in engine.lists if kind in engine.kinds else ():
            known = listed(engine, place, engine.version)
            if known:
                yield engine, place, known


def _name(engine: Engine, place: str) -> str:
    return f"{engine.name}.{place}"


def _table(engine: Engine, place: str, known: FlagList) -> dict[str, Any]:
    owned = owners(engine, place)
    flags = {name: _flag(flag, owned.get(plain(name))) for name, flag in known.flags.items() if "." not in name}
    return {"properties": flags}


def _flag(flag: Flag, owner: str | None) -> dict[str, Any]:
    one = _one(flag)
    many = {"anyOf": [one, {"type": "array", "items": one}]} if flag.many else one
    told = f"set by mgpu: {owner}" if owner else flag.meaning
    default = "" if flag.default in (None, "", False) else f"default {flag.default}"
    words = "; ".join(word for word in (told, default, f"deprecated: {flag.use}" if flag.deprecated else "") if word)
    return {**many, **({"description": words} if words else {})}


def _one(flag: Flag) -> dict[str, Any]:
    if flag.kind == "choice":
        words = {str(choice).lower() if isinstance(choice, bool) else choice: None for choice in flag.choices}
        texts = {str(word): None for word in words}
        one: dict[str, Any] = {"enum": [*flag.choices, *(text for text in texts if text not in words)]}
    else:
        one = {**ONE[flag.kind], **({"pattern": f"^(?:{SUFFIXED.pattern})$"} if flag.suffix else {})}
        one |= {"minimum": flag.low} if flag.low is not None else {}
        one |= {"exclusiveMinimum": flag.above} if flag.above is not None else {}
        one |= {"maximum": flag.high} if flag.high is not None else {}
    extra = [*flag.also, *([True] if flag.bare else [])]
    return {"anyOf": [one, {"enum": extra}]} if extra else one
