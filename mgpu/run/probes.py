"""A probe in, readiness out: asked in a thread of its own, so that a server that hangs holds up nothing."""

from __future__ import annotations

import os
import time

from mgpu.run import logcut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Asker = Callable[[], str | None]

PATIENCE = 5.0
"""Seconds that one question may take."""
OFTEN, SELDOM, SOON = 0.05, 0.5, 10.0
"""Seconds between two questions: in the first SOON seconds, and later."""
BODY = 4 * 2**20
"""How much of an answer is read, in bytes."""
NO_ANSWER = 599
"""Stands for the status of an answer that did not come."""
LINE = 2**16
"""How much of an unfinished line of a log is kept for the next look, in bytes."""


class Watch:
    """Asks until the probe is answered; then `ready` is true and a byte is written to `wake`. What the log has before
    `place` is of an earlier life."""

    def __init__(self, probe: dict[str, Any], log: str, wake: int, place: int = 0) -> None:
        from threading import Thread

        self.ready = False
        self.refusal = "it was never asked"
        self._ask = asker(probe, log, place)
        self._wake = wake
        self._over = False
        self._progress = Progress(log, place)
        self._moved = time.monotonic()
        Thread(target=self._run, daemon=True).start()

    def moved(self) -> float:
        """When a percentage in the log was last seen to move: looked at now, for a question may hang."""
        if self._progress():
            self._moved = time.monotonic()
        return self._moved

    def close(self) -> None:
        """Ask no more."""
        self._over = True

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over:
            refusal = self._answer()
            if refusal is None:
                self.ready = True
                os.write(self._wake, b"\0")
                return
            self.refusal = refusal
            time.sleep(OFTEN if time.monotonic() - began < SOON else SELDOM)

    def _answer(self) -> str | None:
        try:
            return self._ask()
        except (OSError, ValueError) as error:  # whose words may hold the token
            return type(error).__name__


def asker(probe: dict[str, Any], log: str, place: int = 0) -> Asker:
    """The question that a probe stands for: None is yes, text is why not yet. A log is looked at from `place` on."""
    if probe["kind"] == "http":
        return _Questions(probe)
    if probe["kind"] == "tcp":
        return lambda: _tcp(probe["target"])
    return _LogSearch(probe["target"], log, place)


class _Questions:
    """Asks for an answer, then tries the server out. What the trial showed stays told while the server, which may have
    died of it, gives no answer."""

    def __init__(self, probe: dict[str, Any]) -> None:
        self._probe = probe
        self._fault = ""

    def __call__(self) -> str | None:
        probe, trial = self._probe, self._probe.get("trial")
        silence = _http(probe["target"], probe["contains"], probe["token"])
        if silence:
            return self._fault or silence
        self._fault = (trial and _tried(trial, probe["token"])) or ""
        return self._fault or None


def _http(url: str, contains: str | None, token: str | None) -> str | None:
    try:
        status, body = _answered("GET", url, token, None, PATIENCE)
    except OSError as error:
        return f"GET {url}: {error}"
    if status != 200:
        return f"GET {url}: status {status}"
    if contains and contains.encode() not in body:
        return f"GET {url}: the answer lacks {contains!r}"
    return None


def _tried(trial: dict[str, Any], token: str | None) -> str | None:
    """A refusal (4xx) is an answer: that of a model which is for something else. A fault (5xx), or none, is not. Nor is
    that there is no such model (404) where the server can be told to fetch it."""
    status, refusal = _posted(trial, token)
    absent = trial.get("absent")
    if status == 404 and absent:
        status, refusal = _posted(absent, token)
        return refusal if status >= 400 else _tried({**trial, "absent": None}, token)
    return refusal if status >= 500 else None


def _posted(trial: dict[str, Any], token: str | None) -> tuple[int, str]:
    """The status of the answer, and in words what was asked and answered; a status of 599 is none."""
    import json

    url = trial["url"]
    try:
        status, body = _answered("POST", url, token, json.dumps(trial["body"]), trial["patience"])
    except OSError as error:
        return NO_ANSWER, f"POST {url}: {error}"
    words = " ".join(body[:300].decode("utf-8", "replace").split())
    return status, f"POST {url}: status {status}" + (f": {words}" if words else "")


def _answered(method: str, url: str, token: str | None, body: str | None, patience: float) -> tuple[int, bytes]:
    """The status and the body of a server's answer. Raises OSError, also for what is no HTTP."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=patience)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Content-Type": "application/json"} if body else {}
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(BODY)
    except (OSError, HTTPException) as error:
        raise OSError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def _tcp(target: str) -> str | None:
    import socket

    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError as error:
        return f"connecting to {target}: {error}"
    return None


class Progress:
    """Tells whether a percentage in the log has changed since the last look: a download or a load that goes on.

    A log that merely grows says nothing: a server writes a line for each question that it is asked. Nor does an
    escape in the path that it was asked for, as ``%20``.
    """

    def __init__(self, log: str, place: int = 0) -> None:
        self._log = log
        self._size = place
        self._line = b""
        self._last = b""

    def __call__(self) -> bool:
        import re

        found = re.findall(rb"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?%(?![0-9A-Fa-f]{2})", self._new())
        if not found or found[-1] == self._last:
            return False
        self._last = found[-1]
        return True

    def _new(self) -> bytes:
        """What the log has since the last look, with the line that was unfinished then."""
        try:
            with open(self._log, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size == self._size:
                    return b""
                file.seek(max(self._size, size - LINE, 0))
                text = self._line + file.read(size - file.tell())
        except OSError:
            return b""
        self._size = size
        self._line = text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :][-LINE:]
        return text


class _LogSearch:
    """Looks for a regular expression in what is new in a log."""

    def __init__(self, pattern: str, log: str, place: int) -> None:
        import re

        self._pattern = re.compile(pattern.encode(), re.MULTILINE)
        self._log = log
        self._offset = place
        self._line = b""

    def __call__(self) -> str | None:
        with open(self._log, "rb") as file:
            while True:
                begin, chunk = logcut.piece(file.fileno(), self._offset, 2**20)
                if not chunk:
                    break
                self._offset = begin + len(chunk)
                text = self._line + chunk
                if self._pattern.search(text):
                    return None
                self._line = text[text.rfind(b"\n") + 1 :][-LINE:]
        return f"no line of the log matches {self._pattern.pattern.decode()!r}"
