"""What engines are known to take of a GPU's memory: an engine, a name and a version in, the constant out.

The constants, each with its source, are in engine_memory.json.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from mgpu.catalog.flags import numbers
from mgpu.values.memory import GIB


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_name("engine_memory.json").read_text("utf-8"))
    return data


@lru_cache(maxsize=1024)
def constant(engine: str, name: str, version: str | None = None) -> Any:
    """The value that holds for this version of the engine; for one that is not known, the newest."""
    values = _data()[engine][name]["values"]
    asked = numbers(version)
    known = [value for since, value in values if not asked or numbers(since) <= asked]
    return known[-1] if known else values[0][1]


def slots(engine: str, version: str | None = None) -> int | None:
    """Requests that an engine takes at once if nothing is said; None for those that take as many as there is room."""
    return int(constant(engine, "slots", version)) if "slots" in _data().get(engine, {}) else None


def gib(engine: str, name: str, version: str | None = None) -> float:
    """A constant in GiB, as bytes."""
    return float(constant(engine, name, version)) * GIB
