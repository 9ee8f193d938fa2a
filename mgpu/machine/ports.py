"""The kernel's tables in, the TCP ports that something listens on out."""

from __future__ import annotations

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
LISTEN = "0A"


def listening() -> tuple[int, ...]:
    """Every TCP port of this host (or network namespace) in state LISTEN, on whatever address."""
    return tuple(sorted({port for table in TABLES for port in _ports(table)}))


def _ports(table: str) -> set[int]:
    try:
        with open(table, encoding="ascii") as file:
            rows = [line.split(maxsplit=4) for line in file.readlines()[1:]]
    except OSError:
        return set()
    return {int(address.rpartition(":")[2], 16) for _, address, _, state, *_ in rows if state == LISTEN}
