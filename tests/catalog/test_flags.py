"""The lists of flags: every one reads, holds together, and knows the flags that the engines own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mgpu.catalog.flags import FOLDER, flags, versions
from mgpu.engines import every as every_engine
from mgpu.spec.versions import list_names
from mgpu.values.engine import Engine
from mgpu.values.flag import Flag, FlagList

NAMES = sorted(path.name for path in FOLDER.iterdir())
KINDS: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}


def every() -> Iterator[FlagList]:
    """Every list of every version."""
    for name in NAMES:
        for version in versions(name):
            found = flags(name, version)
            assert found
            yield found


LISTS = pytest.mark.parametrize("known", [*every()], ids=lambda known: f"{known.name}-{known.version}")


def test_the_lists_that_there_are() -> None:
    own = ["text-to-image"]
    serving = ["vllm", "sglang", "tgi", "llamacpp", "ollama", "lmdeploy", "tensorrt-llm"]
    images = ["comfyui", "a1111", "forge", "xdit"]
    training = ["torchrun", "deepspeed", "deepspeed-config", "accelerate", "accelerate-config"]
    tuning = ["kohya", "axolotl", "axolotl-train", "llamafactory", "trl"]
    assert sorted([*own, *serving, *images, *training, *tuning]) == NAMES


@LISTS
def test_a_list_has_a_source_and_flags_in_order(known: FlagList) -> None:
    assert known.source
    assert len(known.flags) > 5
    assert [*known.flags] == sorted(known.flags)
    assert [*known.removed] == sorted(known.removed)


@LISTS
def test_names_have_no_dashes_in_front_and_no_double(known: FlagList) -> None:
    names = [name for flag in known.flags.values() for name in (flag.name, *flag.aliases)]
    names += [flag.negative for flag in known.flags.values() if flag.negative]
    assert not [name for name in (*names, *known.removed) if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name)]
    assert len(names) == len({*names})


@LISTS
def test_what_is_removed_is_not_there(known: FlagList) -> None:
    assert not [name for name in known.removed if name in known.flags]


@LISTS
def test_every_flag_holds_together(known: FlagList) -> None:
    wrong = {flag.name: trouble for flag in known.flags.values() if (trouble := [*troubles(flag)])}
    assert not wrong


def troubles(flag: Flag) -> Iterator[str]:
    """What contradicts itself in a flag."""
    if (flag.kind == "choice") != bool(flag.choices):
        yield "choices without a choice, or the other way"
    if flag.negative and flag.kind != "bool":
        yield "only a bool is turned off"
    if {flag.low, flag.high, flag.above} != {None} and flag.kind not in ("int", "float"):
        yield "a range of no number"
    if flag.meaning and (flag.meaning.endswith(".") or len(flag.meaning) > 140):
        yield f"a long meaning: {flag.meaning}"
    if flag.many not in (None, "words", "repeat", ",") and not isinstance(flag.many, int):
        yield f"many: {flag.many}"
    defaults = flag.default if isinstance(flag.default, list) else [flag.default]
    yield from (f"the default {value!r}" for value in defaults if value is not None and not fits(flag, value))


def fits(flag: Flag, value: Any) -> bool:
    """Whether the value is one that the flag itself would take."""
    if value in flag.also or flag.kind in ("json", "any"):
        return True
    if flag.kind == "choice":
        return value in flag.choices
    if not isinstance(value, KINDS[flag.kind]) or (flag.kind != "bool" and isinstance(value, bool)):
        return False
    low, high, above = (bound if bound is not None else value for bound in (flag.low, flag.high, flag.above))
    return low <= value <= high and (flag.above is None or value > above)


@LISTS
def test_flags_that_are_named_beside_a_flag_are_known(known: FlagList) -> None:
    groups = [name for group in known.excludes for name in group if name not in known.flags]
    uses = [(flag.name, flag.use) for flag in known.flags.values() if flag.use and looks_like_a_flag(flag.use)]
    uses += [(name, gone.use) for name, gone in known.removed.items() if gone.use and looks_like_a_flag(gone.use)]
    assert not groups
    assert not [pair for pair in uses if not known.find(pair[1])]


def looks_like_a_flag(use: str) -> bool:
    """Whether what is to be used instead is one word with a joint in it."""
    return bool(re.fullmatch(r"\w+([-_.]\w+)+", use))


BY_PLACE = {"model", "model_path"}
"""What some programs take as their first word, and people write as a flag."""


@pytest.mark.parametrize(
    "engine", [engine for engine in every_engine() if engine.lists], ids=lambda engine: engine.name
)
def test_what_an_engine_owns_is_in_its_lists(engine: Engine) -> None:
    first, *others = list_names(engine)
    beside = [known for known in every() if known.name in others]
    for known in every():
        if known.name == first:
            unknown = {flag for flag in engine.owned if not any(lists.find(flag) for lists in (known, *beside))}
            assert unknown <= BY_PLACE


@pytest.mark.parametrize("name", [engine.name for engine in every_engine() if engine.name in NAMES])
def test_the_engines_own_version_has_a_list(name: str) -> None:
    (engine,) = (engine for engine in every_engine() if engine.name == name)
    assert flags(name, engine.version)


def test_the_files_are_as_they_are_written() -> None:
    for name in NAMES:
        for version in versions(name):
            lines = (FOLDER / name / f"{version}.json").read_text("utf-8").splitlines()
            found = flags(name, version)
            assert found
            for flag in found.flags:
                assert sum(line.startswith(f"{json.dumps(flag)}: ") for line in lines) >= 1
