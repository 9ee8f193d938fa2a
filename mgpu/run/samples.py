"""Readings of a run's GPUs in, a file of samples that stays small out, for plots; and the samples out of the file.

Each line is a sample: the time, and of each GPU the memory in use (bytes), utilization (%), power (W) and temperature
(degrees Celsius), None where the driver does not say. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mgpu.machine.meter import Reading

EVERY = 10.0
"""Seconds between two samples."""
MOST = 2**20
"""Bytes of the file beyond which every other of its samples goes."""
FIGURES = ("used", "utilization", "power", "temperature")


def path(folder: str) -> str:
    """The file of a run's samples."""
    return os.path.join(folder, "samples.jsonl")


def append(folder: str, readings: Mapping[str, Reading]) -> None:
    """Append a sample, if there is one. A full disk loses it."""
    if not readings:
        return
    gpus = {gpu: {name: getattr(reading, name) for name in FIGURES} for gpu, reading in readings.items()}
    line = json.dumps({"time": round(time.time(), 3), "gpus": gpus}, separators=(",", ":")) + "\n"
    try:
        with open(path(folder), "a", encoding="utf-8") as file:
            file.write(line)
            size = file.tell()
        if size > MOST:
            _thin(path(folder))
    except OSError:
        return


def _thin(file: str) -> None:
    """Keep every other sample, the newest among them, whoever reads meanwhile."""
    with open(file, "rb") as old:
        lines = old.readlines()
    with open(f"{file}.new", "wb") as new:
        new.writelines(lines[(len(lines) - 1) % 2 :: 2])
    os.rename(f"{file}.new", file)


def read(folder: str) -> list[dict[str, Any]]:
    """The samples of a run, the oldest first."""
    try:
        with open(path(folder), encoding="utf-8", errors="replace") as file:
            return [sample for line in file if (sample := _sample(line))]
    except OSError:
        return []


def last(folder: str) -> dict[str, Any] | None:
    """The newest sample of a run; only the end of the file is read."""
    try:
        with open(path(folder), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 16 * 1024))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return next((sample for line in reversed(lines) if (sample := _sample(line))), None)


def _sample(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # cut off by a full disk
        return None
    return found if isinstance(found, dict) and "gpus" in found else None
