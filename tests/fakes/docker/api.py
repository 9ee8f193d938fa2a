"""A unix socket and a path in, what the Docker API there says out; or the wait until somebody answers."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

STARTS_WITHIN = 30.0


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path, request: str) -> Any:
    """What the API behind the socket `path` says to a GET of `request`."""
    connection = _Unix(path)
    try:
        connection.request("GET", request)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def answers(path: Path) -> bool:
    """Whether an API answers behind the socket `path`."""
    with suppress(OSError, http.client.HTTPException):
        ask(path, "/version")
        return True
    return False


def wait(done: Callable[[], object], pid: int, log: Path) -> None:
    """Wait for what the process `pid` is going to do; its log is told where it does not."""
    deadline = time.monotonic() + STARTS_WITHIN
    while not done():
        told = f"{log}: {log.read_text()[-2000:]}" if log.exists() else str(log)
        assert lives(pid), f"ended: {told}"
        assert time.monotonic() < deadline, f"not within {STARTS_WITHIN} s: {told}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether the process is there, and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
