"""A probe in, whether it is met out: HTTP with the right content, TCP, or a line of the log. Standard library only."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PATIENCE = 2.0
"""Seconds that one question may take."""
MOST = 4 * 2**20
"""Bytes of an answer that are looked at."""


def met(probe: Mapping[str, Any], log: str, secrets: Mapping[str, str]) -> bool:
    """Whether the job behind `probe` is ready now. `log` is its log file."""
    kind, target = probe["kind"], probe["target"]
    if kind == "http":
        return _http(target, probe.get("contains"), secrets.get(probe.get("bearer") or ""))
    return _tcp(target) if kind == "tcp" else _log(target, log)


def _http(url: str, contains: str | None, bearer: str | None) -> bool:
    import http.client
    from urllib.parse import urlsplit

    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=PATIENCE)
    try:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        connection.request("GET", where.path or "/", headers=headers)
        answer = connection.getresponse()
        return answer.status == 200 and (contains is None or contains.encode() in answer.read(MOST))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _tcp(target: str) -> bool:
    import socket

    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def _log(pattern: str, log: str) -> bool:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return any(re.search(pattern, line) for line in file)
    except OSError:
        return False
