"""The number of a driver's error (Xid) in, what NVIDIA says that it means out (xids.json; sources stand there)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Xid(NamedTuple):
    """An error that the driver writes to the kernel's log. `action` is none, job (its own fault), reset, reboot,
    mechanics or update; an empty one is not known."""

    number: int
    means: str
    action: str


@cache
def _known() -> dict[int, Xid]:
    rows = json.loads(Path(__file__).with_name("xids.json").read_text("utf-8"))["xids"]
    return {row["xid"]: Xid(row["xid"], row["means"], row["action"]) for row in rows}


def named(number: int) -> Xid:
    """What is known of this one."""
    return _known().get(number) or Xid(number, "not in the list that mgpu has", "")
