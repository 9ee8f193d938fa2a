"""A flag and the value that a spec gives it in, what is wrong with the value out."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mgpu.spec.nearest import did_you_mean, nearest
from mgpu.spec.notes import show
from mgpu.values.document import Written
from mgpu.values.engine import Complaint
from mgpu.values.flag import Flag
from mgpu.values.mark import Path

SUFFIXED = re.compile(r"-?\d+(\.\d+)?[kKmMgGtT]?i?")
WHOLE = re.compile(r"[-+]?\d+")
TRUE, FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
TRUTHS = frozenset(TRUE + FALSE)
"""What the parsers of Hugging Face read as true or false. A config file is not parsed: its text stays text."""


def value_complaints(flag: Flag, value: Any, path: Path, *, config: bool = False) -> Iterator[Complaint]:
    """What the flag's parser has against `value`; in a `config` file it may be null, and 5e8 is a whole
    number."""
    if config and isinstance(value, float) and value.is_integer():
        value = int(value)
    if config and (value is None or (flag.kind == "json" and isinstance(value, str))):  # the path of another file
        return
    if isinstance(value, str) and "${" in value:  # filled in later
        return
    if not isinstance(value, (list, tuple)) or (flag.kind in ("json", "any") and not flag.many):
        parts = [value]
        if isinstance(value, str) and isinstance(flag.many, str) and flag.many not in ("words", "repeat"):
            parts = value.split(flag.many)
        for part in parts:
            yield from _one(flag, part, path, config)
    elif not flag.many:
        yield Complaint(f"{path[-1]} takes one value, not a list", path, "give one")
    elif isinstance(flag.many, int) and len(value) != flag.many:
        yield Complaint(f"{path[-1]} takes {flag.many} values, not {len(value)}", path)
    else:
        for at, item in enumerate(value):
            yield from _one(flag, item, (*path, at), config)


def _one(flag: Flag, value: Any, path: Path, config: bool) -> Iterator[Complaint]:
    name = next(part for part in reversed(path) if isinstance(part, str))
    if (value is True and flag.bare) or (not isinstance(value, bool) and str(value) in flag.also):
        return
    if not config and True in flag.choices and False in flag.choices and str(value).lower() in TRUTHS:
        return
    yield from _keys(flag, value, path)
    problem = WANTS[flag.kind](flag, value)
    if problem:
        what, hint = problem
        words = f"{what} {show(value)}" if flag.kind == "choice" else f"{what}, not {show(value)}"
        yield Complaint(f"{name} {words}", path, hint)
    elif flag.kind in ("int", "float") and (span := _outside(flag, value)):
        yield Complaint(f"{name} wants {span}, not {show(value)}", path)
    elif flag.kind == "str" and flag.usual and (close := _mistyped(flag, value)):
        yield Complaint(f"{name} knows no {show(value)}", path, f"did you mean {close!r}?", warning=True)


def _keys(flag: Flag, value: Any, path: Path) -> Iterator[Complaint]:
    """The keys of a mapping, or of its text, that it does not have."""
    inside = isinstance(value, Mapping)
    for key in _read(value) if flag.keys else ():
        if str(key).partition(".")[0] not in flag.keys:
            hint = did_you_mean(str(key), flag.keys)
            yield Complaint(f"{flag.name} has no key {key}", (*path, key) if inside else path, hint, key=inside)


def _read(value: Any) -> Mapping[str, Any]:
    """The mapping that a value is, or that its text is."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    return value if isinstance(value, Mapping) else {}


def _mistyped(flag: Flag, value: Any) -> str | None:
    """The known word that this one is nearly: there may be others than those that are known."""
    if not isinstance(value, str) or value.lower() in (word.lower() for word in flag.usual):
        return None
    return nearest(value, flag.usual, 0.85)


Problem = tuple[str, "str | None"]


def _truth(_: Flag, value: Any) -> Problem | None:
    if isinstance(value, bool):
        return None
    return "wants true or false", _plainly(value) or "it is a flag without a value: true, or leave it out"


def _plainly(value: Any) -> str | None:
    """The truth that a word stands for."""
    word = str(value).lower()
    return "write true" if word in (*TRUE, "on") else "write false" if word in (*FALSE, "off") else None


def _whole(flag: Flag, value: Any) -> Problem | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    if isinstance(value, (str, Written)) and (SUFFIXED if flag.suffix else WHOLE).fullmatch(str(value)):
        return None
    whole = isinstance(value, Written) and value.is_integer() and abs(value) < 1e15
    words = f", or {' or '.join(flag.also)}" if flag.also else ""
    return f"wants a whole number{words}", f"write {int(value)}" if whole else None


def _number(flag: Flag, value: Any) -> Problem | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return None
    words = f", or {' or '.join(flag.also)}" if flag.also else ""
    try:
        float(value if isinstance(value, str) else "")
    except ValueError:
        return f"wants a number{words}", None
    return None


def _text(_: Flag, value: Any) -> Problem | None:
    if isinstance(value, bool):
        return "wants a value", f"if the word is meant: '{str(value).lower()}'"
    return ("wants text", None) if isinstance(value, Mapping) else None


def _choice(flag: Flag, value: Any) -> Problem | None:
    words = [_word(choice) for choice in (*flag.choices, *flag.also)]
    if not isinstance(value, (Mapping, list, tuple)) and _word(value) in words:
        return None
    if {"true", "false"} <= set(words) and (truth := _plainly(value)):
        return "cannot be", truth
    first = [_word(choice) for choice in flag.choices]
    return "cannot be", _likely(value, first) or _likely(value, words) or f"one of: {', '.join(words)}"


def _likely(value: Any, words: list[str]) -> str | None:
    """The words that were meant: those that begin so, where they are few, else the nearest."""
    switch = {True: ("on", "enable", "enabled"), False: ("off", "disable", "disabled", "none")}
    if isinstance(value, bool):
        close = next((word for word in switch[value] if word in words), None)
        return f"did you mean {close!r}?" if close else None
    if not isinstance(value, str):
        return None
    longer = [word for word in words if len(value) > 2 and re.match(re.escape(value) + "[_-]", word, re.IGNORECASE)]
    if 0 < len(longer) <= 3:
        return f"did you mean {' or '.join(map(repr, longer))}?"
    close = longer[0] if longer else nearest(value, words, 0.6)
    return f"did you mean {close!r}?" if close else None


def _json(_: Flag, value: Any) -> Problem | None:
    if isinstance(value, (Mapping, list, tuple)):
        return None
    if isinstance(value, str):
        try:
            if isinstance(json.loads(value), (dict, list)):
                return None
        except ValueError:
            pass
    return "wants a mapping", "write it without quotes: {key: value}" if isinstance(value, str) else None


def _anything(_: Flag, __: Any) -> Problem | None:
    return None


WANTS = {
    "bool": _truth,
    "int": _whole,
    "float": _number,
    "str": _text,
    "choice": _choice,
    "json": _json,
    "any": _anything,
}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _outside(flag: Flag, value: Any) -> str | None:
    """The range of the flag in words, where the number is outside of it."""
    text = str(value)
    if text[-1:].lower() in tuple("kmgti"):
        return None
    number = float(text)
    low = flag.low is not None and number < flag.low
    above = flag.above is not None and number <= flag.above
    high = flag.high is not None and number > flag.high
    if not (low or above or high):
        return None
    bounds = {"at least": flag.low, "above": flag.above, "at most": flag.high}
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    return f"a number {'' if words.startswith('above') else 'of '}{words}"
