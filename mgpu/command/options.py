"""A mapping of an engine's own flags in, options out: each a tuple of words, spelled as that engine's parser wants."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mgpu.values.document import Written
from mgpu.values.engine import Spelling
from mgpu.values.flag import Flag, FlagList

Option = tuple[str, ...]


class Options(tuple[Option, ...]):
    """Options in their order: a template prints each on a line of its own."""


def options(flags: Mapping[str, Any] | tuple[Any, ...], spelling: Spelling, known: FlagList | None = None) -> Options:
    """The options that `flags` mean. A tuple is words already, each an option by itself.

    A flag that is `known` is called by its own name, and given as its parser takes it; another as it was written, in
    the `spelling` of the engine.
    """
    if not isinstance(flags, Mapping):
        return Options((plain(word),) for word in flags)
    return Options(
        option
        for name, value in flags.items()
        for option in _spelled(known.find(name) if known else None, name, _turned(name, value, known), spelling)
    )


def _turned(name: str, value: Any, known: FlagList | None) -> Any:
    """The value of the flag itself, where the spec has the name that turns it off."""
    return not value if known and isinstance(value, bool) and known.turns_off(name) else value


def _spelled(flag: Flag | None, name: str, value: Any, spelling: Spelling) -> Iterator[Option]:
    dashed = _dashed(flag.name if flag else name)
    many = flag.many if flag else "repeat" if spelling.repeat else None
    if value is True:
        valued = flag is not None and flag.kind != "bool" and not flag.bare
        yield (dashed, "true") if valued else (dashed,)
    elif value is False:
        yield from _off(flag, name, spelling)
    elif not isinstance(value, (list, tuple)) or (flag and flag.kind in ("json", "any") and not many):
        yield _valued(dashed, (plain(value),), spelling)
    elif many == "repeat":
        yield from (_valued(dashed, (plain(item),), spelling) for item in value)
    elif isinstance(many, str) and many != "words":
        yield _valued(dashed, (many.join(plain(item) for item in value),), spelling)
    else:
        yield _valued(dashed, tuple(plain(item) for item in value), spelling)


def _off(flag: Flag | None, name: str, spelling: Spelling) -> Iterator[Option]:
    """What a flag that is false becomes: the flag that says so, the word, or nothing at all."""
    if flag is None:
        if spelling.negation:
            yield (spelling.negation.format(name),)
    elif flag.kind != "bool":
        yield (_dashed(flag.name), "false")
    elif flag.negative:
        yield (_dashed(flag.negative),)


def _dashed(name: str) -> str:
    return f"--{name}" if len(name) > 1 else f"-{name}"


def _valued(name: str, values: tuple[str, ...], spelling: Spelling) -> Option:
    """argparse takes a word that starts with a dash for a flag, unless it is joined to its own by ``=``."""
    if spelling.equals and len(values) == 1 and values[0].startswith("-") and len(name) > 2:
        return (f"{name}={values[0]}",)
    return (name, *values)


def plain(value: Any) -> str:
    """A value as one word: a number as it was written, a mapping as compact JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Written):
        return value.text
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)
