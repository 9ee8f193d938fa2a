"""The host in, the kernel's log of this boot out: from /dev/kmsg, else from a file that a log daemon has written."""

from __future__ import annotations

import os

from mgpu.machine.checks.host import LONGEST, Host

FILES = ("/var/log/kern.log", "/var/log/syslog", "/var/log/messages", "/var/log/dmesg")
BOOT = "Linux version "
"""What a kernel says first of all."""


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
