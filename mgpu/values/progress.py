"""How far a download is: what a pull tells while it goes on."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """Bytes that have come, of those that are known of, and parts (layers, files) that are there, of all. `sized` says
    whether the size of every part is known; `unpacked` is how many of the bytes are unpacked, None where nothing is."""

    done: int
    total: int
    parts_done: int
    parts: int
    sized: bool = True
    unpacked: int | None = None
