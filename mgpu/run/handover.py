"""Data and open descriptors in at one end of a socket, both out at the other: how a process that waits gets its work.

The keeper, and what stands for a container, are started while the machine is still being looked at, since starting
takes them longer than the looking. Leases reach them as descriptors, secrets in no file and on no command line.
Standard library only: the keeper imports this too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""What asks whoever keeps a run or a container to end it: at once by SIGQUIT, else with grace. It is blocked in a
process that is begun, and so waits until that listens."""
HEADER = struct.Struct("!II")
"""How many bytes of JSON follow, and how many descriptors."""
BATCH = 200
"""Descriptors in one message: the kernel takes 253 (SCM_MAX_FD)."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new socket."""
    return socket.socketpair()


def send(end: socket.socket, data: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send data and descriptors. Raises OSError where nobody is at the other end any more."""
    text = json.dumps(data).encode()
    end.sendall(HEADER.pack(len(text), len(fds)) + text)
    for start in range(0, len(fds), BATCH):
        socket.send_fds(end, [b"\0"], list(fds[start : start + BATCH]))


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """What was sent next; None where the other end was closed, or left.

    Descriptors come as the kernel gives them, open in every child: whoever wants that must say so.
    """
    header = _bytes(end, HEADER.size)
    if header is None:
        return None
    size, count = HEADER.unpack(header)
    text = _bytes(end, size)
    fds: list[int] = []
    while text is not None and len(fds) < count:
        mark, more, _, _ = socket.recv_fds(end, 1, BATCH)
        if not mark:
            return None
        for descriptor in more:
            os.set_inheritable(descriptor, False)
        fds += more
    return None if text is None else (json.loads(text), fds)


def _bytes(end: socket.socket, size: int) -> bytes | None:
    """Just so many bytes; None where the other end is closed before."""
    found = b""
    while len(found) < size:
        try:
            piece = end.recv(size - len(found))
        except ConnectionError:
            return None
        if not piece:
            return None
        found += piece
    return found
