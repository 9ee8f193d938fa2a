"""A mapping of an engine's own flags in, options out: each a tuple of words, spelled as that engine's parser wants."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mgpu.values.document import Written
from mgpu.values.engine import Spelling

Option = tuple[str, ...]


class Options(tuple[Option, ...]):
    """Options in their order: a template prints each on a line of its own."""


def options(flags: Mapping[str, Any] | tuple[Any, ...], spelling: Spelling) -> Options:
    """The options that `flags` mean. A tuple is words already, each an option by itself."""
    if not isinstance(flags, Mapping):
        return Options((plain(word),) for word in flags)
    return Options(option for flag, value in flags.items() for option in _spelled(flag, value, spelling))


def _spelled(flag: str, value: Any, spelling: Spelling) -> Iterator[Option]:
    name = f"--{flag}" if len(flag) > 1 else f"-{flag}"
    if value is True:
        yield (name,)
    elif value is False:
        if spelling.negation:
            yield (spelling.negation.format(flag),)
    elif isinstance(value, (list, tuple)) and spelling.repeat:
        yield from (_valued(name, (plain(item),), spelling) for item in value)
    elif isinstance(value, (list, tuple)):
        yield _valued(name, tuple(plain(item) for item in value), spelling)
    else:
        yield _valued(name, (plain(value),), spelling)


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
