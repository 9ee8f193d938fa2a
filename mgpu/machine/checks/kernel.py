"""The host in, the kernel's log of this boot out, and the driver's errors in it; from /dev/kmsg, else from a file that
a log daemon has written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mgpu.machine.checks.host import LONGEST, Host

FILES = ("/var/log/kern.log", "/var/log/syslog", "/var/log/messages", "/var/log/dmesg")
BOOT = "Linux version "
"""What a kernel says first of all."""


XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)")
RECORD = re.compile(r"\d+,\d+,(\d+),[^;]*;")
"""What /dev/kmsg puts before a line: priority, number, microseconds since the boot, flags (Documentation/ABI/testing/
dev-kmsg)."""


class Report(NamedTuple):
    """An error that the driver reported: of the card at `bus`, `at` so many seconds after the boot, where that is told,
    in this `line`."""

    bus: str
    number: int
    at: float | None
    line: str


def reports(lines: Iterable[str]) -> Iterator[Report]:
    """The driver's errors (Xid) in these lines of the kernel's log."""
    for line in lines:
        match = XID.search(line)
        if match:
            head = RECORD.match(line)
            at = int(head[1]) / 1e6 if head else None
            yield Report(short(match[1]), int(match[2]), at, line[head.end() if head else 0 :].strip())


def short(bus: str | None) -> str:
    """A bus id as NVML, the kernel and the driver's log all write it: bus and device."""
    return ":".join((bus or "").lower().split(".")[0].split(":")[-2:])


def log(host: Host) -> list[str] | None:
    """Its lines; None where this user may read none."""
    ring = _ring(host.path("/dev/kmsg"))
    if ring is not None:
        return ring.splitlines()
    for file in FILES:
        text = host.text(file)
        if text is not None:
            return text[max(0, text.rfind(BOOT)) :].splitlines()
    return None


def _ring(path: str) -> str | None:
    """What the kernel still has: a read gives a record, and would wait where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    said = bytearray()
    try:
        while len(said) < 4 * LONGEST:
            try:
                piece = os.read(handle, 8192)
            except BrokenPipeError:  # a record was overwritten meanwhile: the next one follows
                continue
            if not piece:
                break
            said += piece
    except OSError:  # EAGAIN: that was all; EPERM: kernel.dmesg_restrict
        return said.decode(errors="replace") if said else None
    finally:
        os.close(handle)
    return said.decode(errors="replace")
