"""What a server must answer to be ready: with a token of its model, which it is told to fetch where it has none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from mgpu.run.probes import asker

PULL, GENERATE = "/api/pull", "/api/generate"


@contextmanager
def served(answers: dict[str, list[int]]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A server that answers each path with these statuses, the last one for ever; and what it was asked."""
    asked: list[tuple[str, Any]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body["model"]))
            statuses = answers[self.path]
            self.answer(statuses.pop(0) if len(statuses) > 1 else statuses[0])

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"models": []}')

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def ask(url: str, *, fetches: bool = True) -> str | None:
    """Why the server is not ready."""
    absent = {"url": url + PULL, "body": {"model": "m"}, "patience": 5.0, "absent": None}
    trial = {"url": url + GENERATE, "body": {"model": "m"}, "patience": 5.0, "absent": absent if fetches else None}
    probe = {"kind": "http", "target": url + "/api/tags", "contains": "models", "token": None, "trial": trial}
    return asker(probe, "")()


@pytest.mark.parametrize(("answers", "paths", "why"), [
    ({GENERATE: [200]}, [GENERATE], None),
    ({GENERATE: [404, 200], PULL: [200]}, [GENERATE, PULL, GENERATE], None),
    ({GENERATE: [404, 400], PULL: [200]}, [GENERATE, PULL, GENERATE], None),
    ({GENERATE: [404], PULL: [500]}, [GENERATE, PULL], "/api/pull: status 500"),
    ({GENERATE: [404], PULL: [400]}, [GENERATE, PULL], "/api/pull: status 400"),
    ({GENERATE: [500]}, [GENERATE], "/api/generate: status 500"),
])  # fmt: skip
def test_a_model_that_is_not_there_is_fetched(answers: dict[str, list[int]], paths: list[str], why: str | None) -> None:
    with served(answers) as (url, asked):
        refusal = ask(url)
    assert asked == [(path, "m") for path in paths]
    assert refusal is None if why is None else why in str(refusal)


def test_a_refusal_is_an_answer_where_nothing_can_be_fetched() -> None:
    with served({GENERATE: [404]}) as (url, _):
        assert ask(url, fetches=False) is None
