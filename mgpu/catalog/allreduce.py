"""How long one all-reduce takes on the systems where it was measured (allreduce.json; each has its source there)."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

US = 1e-6


class Curve(NamedTuple):
    """Seconds of an all-reduce among `gpus` by its bytes, both growing; `link` is what one GPU had to the others, in
    GB/s per direction, and `words` say of what kind that was."""

    gpus: int
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]
    link: float
    words: str


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_name("allreduce.json").read_text("utf-8"))
    return data


def nvlink_system(compute_capability: tuple[int, int] | None) -> str:
    """The measured system whose NVLink GPUs of this compute capability have, or the oldest one measured."""
    major, minor = compute_capability or (8, 0)
    table: dict[str, str] = _data()["nvlink"]
    return table.get(f"{major}.{minor}", table["8.0"])


def pcie_system(p2p: bool | None) -> str:
    """The measured system that stands for PCIe where the driver grants P2P, refuses it, or was not asked (None)."""
    found: str = _data()["pcie"][{True: "granted", False: "refused", None: "unknown"}[p2p]]
    return found


@lru_cache(maxsize=64)
def curve(system: str, gpus: int) -> Curve:
    """The curve for `gpus` of a measured system. Groups of 2, 4 and 8 were measured: any other is taken for the next
    larger one, and beyond 8 each doubling takes as much longer as the one from 4 to 8 did."""
    row = _data()["systems"][system]
    known = sorted(map(int, row["gpus"]))
    near = next((size for size in known if size >= gpus), known[-1])
    points = row["gpus"][str(near)]
    sizes = tuple(float(size) for size, _ in points)
    times = _growing([us * US for _, us in points])
    if gpus > near:
        smaller = _growing([us * US for _, us in row["gpus"][str(known[-2])]])
        times = tuple(t * max(1.0, t / s) ** (gpus / near - 1) for t, s in zip(times, smaller, strict=True))
    return Curve(gpus, sizes, times, float(row["link_GBps"]), row["link"])


def _growing(times: list[float]) -> tuple[float, ...]:
    """Measured times without their bumps: what moves more also does for what moves less."""
    for at in range(len(times) - 2, -1, -1):
        times[at] = min(times[at], times[at + 1])
    return tuple(times)
