"""One flag of an argparse parser in, its name and what the parser says of it out."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

LOOSE = {"loads", "json_list_type", "parse_dataclass", "union_dict_and_str", "dict", "ParallelismConfig"}
LOOSE |= {"DatasetConfig", "parse_cuda_graph_config_arg"}
"""What reads a value that can be anything."""
TRUTHS = {"string_to_bool", "str_to_bool", "strtobool"}
MOST = 60
"""Defaults that are longer are left out."""


def entry_of(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, dict[str, Any]]:
    """The name of a flag without its dashes, and what the parser says of it; it has words that it does not show."""
    hidden = [word for word, other in parser._option_string_actions.items() if other is action]
    words = [word.lstrip("-") for word in dict.fromkeys([*action.option_strings, *hidden])]
    long = [word.lstrip("-") for word in action.option_strings if word.startswith("--")]
    name = (long or words)[0]
    entry = _value(action)
    negatives = [word for word in words if entry["kind"] == "bool" and _turns_off(word, name)]
    if negatives:
        entry["negative"] = next((word for word in negatives if word.startswith("no")), negatives[0])
    seen = {_plain(name), *map(_plain, negatives)}
    entry["aliases"] = [word for word in words if not (_plain(word) in seen or seen.add(_plain(word)))]
    return name, {key: value for key, value in entry.items() if value not in (None, [])}


def _turns_off(word: str, name: str) -> bool:
    """Whether the word is that of the other side: no-x, or disable-x beside enable-x."""
    sides = [re.sub("^(disable|enable)[-_]", "", each) for each in (word, name)]
    other = word not in (name, sides[0]) and name != sides[1] and sides[0] == sides[1]
    return other or _plain(word) == f"no-{_plain(name)}"


def _plain(name: str) -> str:
    return name.replace("_", "-")


def _value(action: argparse.Action) -> dict[str, Any]:
    """The kind of the value, how many there are, and the default."""
    entry = _kind(action)
    if type(action).__name__.startswith("Deprecated"):
        entry["deprecated"] = "deprecated"
    if action.nargs == 0:
        off = action.const is False
        return {**entry, "default": False if off else action.default if isinstance(action.default, bool) else None}
    repeated = isinstance(action, argparse._AppendAction)
    entry["many"] = "repeat" if repeated else "words" if action.nargs in ("+", "*") else entry.get("many")
    if isinstance(action.nargs, int):
        entry["many"] = action.nargs
    entry["bare"] = True if action.nargs in ("?", "*") else None
    entry["default"] = _default(action.default, entry)
    return entry


def _kind(action: argparse.Action) -> dict[str, Any]:
    names = {*_names(action.type)}
    if action.nargs == 0:
        return {"kind": "bool"}
    if names & TRUTHS:
        return {"kind": "choice", "choices": [True, False]}
    if "bool" in names:  # every word but the empty one is true
        return {"kind": "choice", "choices": [True]}
    if action.choices:
        choices = [_number(choice) for choice in action.choices if choice is not None]
        choices = sorted(choices) if isinstance(action.choices, set | frozenset) else choices
        return {"kind": "choice", "choices": choices}
    if names & LOOSE:
        return {"kind": "json"}
    if names & {"human_readable_int", "human_readable_int_or_auto"}:
        return {"kind": "int", "suffix": True, "also": ["auto"] if "human_readable_int_or_auto" in names else []}
    if "comma_separated_list" in names:
        return {"kind": "str", "many": ","}
    return {"kind": next((kind for kind in ("int", "float") if kind in names), "str")}


def _names(made: Any) -> Iterator[str]:
    """The names of the function that reads a value, and of those that it calls."""
    if callable(made):
        yield getattr(made, "__name__", "")
        yield getattr(made, "__qualname__", "").rpartition(".")[2]
        for cell in getattr(made, "__closure__", None) or ():
            yield from _names(cell.cell_contents)


def _number(value: Any) -> Any:
    value = getattr(value, "value", value)
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    return value if isinstance(value, bool | int | float) else str(value)


def _default(value: Any, entry: Mapping[str, Any]) -> Any:
    """The default where JSON has it and it is short; a word for a number is read."""
    value = getattr(value, "value", value)
    if entry["kind"] == "json" or value in (None, "", [], argparse.SUPPRESS):
        return None
    if isinstance(value, list | tuple | set):
        plain = [_number(item) if entry["kind"] != "str" else item for item in value]
        short = all(isinstance(item, str | int | float) for item in plain) and len(plain) < 8
        return plain if entry.get("many") and short else None
    if entry["kind"] == "choice":
        value = {"true": True, "false": False}.get(value, value) if True in entry["choices"] else _number(value)
        return value if value in entry["choices"] else None
    if entry["kind"] in ("int", "float"):
        with contextlib.suppress(TypeError, ValueError):
            return value if isinstance(value, int | float) else {"int": int, "float": float}[entry["kind"]](value)
        return None
    return value if isinstance(value, str) and len(value) <= MOST else None


def either(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """One flag of two scripts: what both say, and of choices all."""
    both = {key: value for key, value in one.items() if other.get(key) == value or key in ("aliases", "scripts")}
    if one["kind"] == other["kind"] == "choice":
        both["choices"] = [*dict.fromkeys([*one["choices"], *other["choices"]])]
    if one["kind"] != other["kind"]:
        both["kind"] = "str"
    for key in ("many", "bare"):
        if value := one.get(key) or other.get(key):
            both[key] = value
    return both
