"""A real engine's socket in, another one out that hands everything on, but for the answers it was told to spoil."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

HANG, SLOW = 4.0, 1.0
"""Seconds after which a question that hangs is cut off, and after which a slow answer comes."""
KINDS = ("error", "hang", "drop", "slow", "garbage")


class Fault(NamedTuple):
    """What becomes of the first `times` answers to questions of this shape (method and path)."""

    question: str
    kind: str
    times: int


class Faulty:
    """Stands between mgpu and an engine. `hits` are the questions whose answers it spoilt."""

    def __init__(self, path: Path, engine: Path, fault: Fault) -> None:
        self.path, self.engine, self.fault = path, engine, fault
        self.hits: list[str] = []
        self._lock = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more questions."""
        self._server.close()
        self.path.unlink()

    def _serve(self) -> None:
        while True:
            try:
                ours, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(ours,), daemon=True).start()

    def _one(self, ours: socket.socket) -> None:
        """One question of a connection, and its answer, after which the connection ends."""
        with ours, suppress(OSError), ours.makefile("rb") as asked:
            first = asked.readline().decode()
            headers = list(iter(asked.readline, b"\r\n"))
            sizes = [int(line.split(b":")[1]) for line in headers if line.lower().startswith(b"content-length:")]
            body = asked.read(sizes[0]) if sizes else b""
            kept = [line for line in headers if not line.lower().startswith((b"connection:", b"upgrade:"))]
            question = b"".join([first.encode(), *kept, b"Connection: close\r\n\r\n", body])
            method, path, _ = first.split(" ", 2)
            self._answer(ours, question, self._kind(f"{method} {re.sub(r'^/v[0-9.]+', '', path)}"))

    def _kind(self, question: str) -> str | None:
        with self._lock:
            if len(self.hits) >= self.fault.times or not re.match(self.fault.question, question):
                return None
            self.hits.append(question)
            return self.fault.kind

    def _answer(self, ours: socket.socket, question: bytes, kind: str | None) -> None:
        if kind == "error":
            said = b'{"message":"something broke in here"}'
            head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
            ours.sendall(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(said) + said)
        elif kind == "hang":
            time.sleep(HANG)
        elif kind == "garbage":
            ours.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\x00\xff{]no")
        else:
            time.sleep(SLOW if kind == "slow" else 0)
            self._relay(ours, question, cut=kind == "drop")

    def _relay(self, ours: socket.socket, question: bytes, cut: bool) -> None:
        """The engine's own answer; `cut`: half of the first piece of it."""
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.connect(str(self.engine))
            theirs.sendall(question)
            while piece := theirs.recv(65536):
                ours.sendall(piece[: len(piece) // 2] if cut else piece)
                if cut:
                    return


@contextmanager
def faulty(folder: Path, engine: Path, fault: Fault) -> Iterator[Faulty]:
    """Such a socket in `folder`."""
    made = Faulty(folder / "faulty.sock", engine, fault)
    try:
        yield made
    finally:
        made.close()
