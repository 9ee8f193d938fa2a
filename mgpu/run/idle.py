"""A server's port, process and log in, whether anybody has used it out: by a connection, or by what it wrote.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os

from mgpu.run import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ESTABLISHED = "01"
"""The state of a connection in /proc/PID/net/tcp: TCP_ESTABLISHED of the kernel's tcp_states.h."""
LOOKS, OFTEN, SELDOM = 10, 0.2, 10.0
"""So many looks in the time that it may be idle; the shortest and the longest time between two, in seconds: the kernel
goes through all that it could have of connections, which takes it 10 ms."""

SAME = 1.0
"""Seconds for which a look is one for all."""


class Usage:
    """When a server was last seen to be used: at first, when it was ready. Times are monotonic, in seconds."""

    def __init__(self, most: float, port: int | None, log: str, now: float) -> None:
        self.most = most
        self.last = now
        self._pause = min(max(most / LOOKS, OFTEN), SELDOM)
        self.due = now + self._pause
        self._port = port
        self._log = log
        self._size = state.size(log)

    def over(self, pid: int | None, now: float, networks: Networks) -> bool:
        """Whether nobody has used it for too long. `pid` is any process of its network; None where none is known, or
        where another task needs it: then it counts as used."""
        if now < self.due:
            return False
        self.due = now + self._pause
        size = state.size(self._log)
        if size != self._size or pid is None or (self._port and self._port in networks.connected(pid, now)):
            self.last = now
        self._size = size
        return now >= self.last + self.most


class Networks:
    """The connections of every network, looked at once for all the servers in it."""

    def __init__(self) -> None:
        self._seen: dict[object, tuple[float, set[int]]] = {}

    def connected(self, pid: int, now: float) -> set[int]:
        """As `connected`, SAME seconds ago at most."""
        try:
            key: object = os.stat(f"/proc/{pid}/ns/net").st_ino
        except OSError:  # a process of another user's
            key = f"of {pid}"
        at, ports = self._seen.get(key, (-SAME, set()))
        if now >= at + SAME:
            at, ports = now, connected(pid)
            self._seen[key] = (at, ports)
        return ports


def connected(pid: int) -> set[int]:
    """The local ports of the established connections in the network that this process is in."""
    return {port for family in ("tcp", "tcp6") for port in _ports(f"/proc/{pid}/net/{family}")}


def _ports(path: str) -> Iterator[int]:
    """From the columns sl, local_address (hex address:port), rem_address, st: proc(5)."""
    try:
        with open(path, encoding="ascii") as file:
            next(file, None)
            for line in file:
                words = line.split(None, 4)
                if words[3] == ESTABLISHED:
                    yield int(words[1].rpartition(":")[2], 16)
    except OSError:
        return
