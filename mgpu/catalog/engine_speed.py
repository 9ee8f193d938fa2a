"""How close engines come to what the hardware could do (engine_speed.json): a name in, its constants out."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

US = 1e-6


class Pace(NamedTuple):
    """An engine's constants, as the data file explains them; times in seconds, `host_rate` in GB/s."""

    eta: float
    arithmetic: float
    batch_arithmetic: float
    step: float
    layer: float
    hop: float
    chunk: int
    pipelined: bool = True
    rest: float = 0.0
    by_host: bool = False
    sync: float = 0.0
    experts_over_data: bool = False
    one_block: float = 0.0
    host_rate: float | None = None
    half: bool = False


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_name("engine_speed.json").read_text("utf-8"))
    return data


@lru_cache(maxsize=32)
def pace(engine: str) -> Pace:
    """The constants of an engine by its name; of one that was never measured those of vLLM."""
    rows = _data()["engines"]
    name = _data()["like"].get(engine, engine)
    row = rows.get(name, rows["vllm"])
    return Pace(
        row["eta"],
        row["arithmetic"],
        row["batch_arithmetic"],
        row["step_us"] * US,
        row["layer_us"] * US,
        row["hop_us"] * US,
        row["chunk"],
        row["pipelined"],
        row.get("rest", 0.0),
        row.get("collective") == "host",
        row.get("sync_us", 0.0) * US,
        row.get("experts_over_data", False),
        row.get("one_block_us", 0.0) * US,
        row.get("host_GBps"),
        row.get("half", False),
    )
