"""The table of a guide, "model size -> GPUs", in; each row reckoned, and the wrong ones named, out (guide.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import mgpu.catalog
from mgpu.catalog.machines import shorthand
from mgpu.plan import sums
from mgpu.plan.fit import WAYS, Fitting, Wanted, Way, best, everywhere, tried
from mgpu.values.memory import Unknown

GGUF = "Q"
"""How the formats of GGUF files begin, which llama.cpp reads."""


class Row(NamedTuple):
    """What the guide `says`, what was `found`, whether that makes it `wrong`, and what to take `instead`."""

    says: str
    model: str
    format: str
    machine: str
    verdict: str
    found: str
    wrong: bool
    instead: str | None


def checked(context: int) -> list[Row]:
    """Every row of the guide's table, for requests of `context` tokens."""
    path = Path(mgpu.catalog.__file__).with_name("guide.json")
    return [_checked(row, context) for row in json.loads(path.read_text("utf-8"))["rows"]]


def _checked(row: dict[str, Any], context: int) -> Row:
    wanted, machine = Wanted(row["model"], context), shorthand(row["machine"])
    way = Way("llamacpp" if row["format"].startswith(GGUF) else "vllm", row["format"])
    found = tried(wanted, machine, way)
    if found is None:
        return Row(row["says"], *_names(row), "not known", "it cannot be reckoned", False, None)
    wrong = found.verdict == "does not fit"
    return Row(row["says"], *_names(row), found.verdict, _words(found), wrong, _instead(wanted, found, wrong))


def _names(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["format"], row["machine"]


def _words(found: Fitting) -> str:
    memory = found.task.memory
    assert memory is not None
    assert not isinstance(memory, Unknown)
    words = f"{found.task.job.model} in {found.format} on {found.machine.name} {found.verdict}"
    room = f"; {found.cache.tokens:,} tokens of cache" if found.cache and found.verdict != "does not fit" else ""
    return f"{words}: {sums.told(memory, found.task.layout)}{room}"


def _instead(wanted: Wanted, found: Fitting, wrong: bool) -> str | None:
    """What does fit: on the same GPUs in fewer bits, and in these bits on the fewest other GPUs."""
    if not wrong:
        return None
    smaller = [way for way in WAYS if way.format and way.format != found.way.format]
    here = best(wanted, found.machine, smaller)
    said = f"{here.format} fits there" if here and here.verdict != "does not fit" else "nothing smaller fits there"
    elsewhere = [other for other in everywhere(wanted, (found.way,)) if other.verdict != "does not fit"]
    names = [other.machine.name for other in sorted(elsewhere, key=lambda other: len(other.task.gpus))[:3]]
    return f"instead: {said}; in {found.format} it fits on {', '.join(names) or 'no machine of up to 8 GPUs'}"
