"""The deadline for readiness counts from the last sign of progress: a percentage that moves, and nothing else."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mgpu.run.probes import Progress, asker
from mgpu.values.command import Trial
from tests.end_to_end.host import Host

PORT = 18461
LOADS = """
import http.server, sys, threading, time
what, slow, hangs = sys.argv[1], float(sys.argv[2]), "hangs" in sys.argv
began = time.monotonic()

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if time.monotonic() < began + slow:
            time.sleep(slow if hangs else 0)
            self.send_error(503)
            return
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        if what == "access":
            print(f'127.0.0.1 "GET /a%20b{time.monotonic()}" 503', flush=True)

serving = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Answer)
threading.Thread(target=serving.serve_forever, daemon=True).start()
for step in range(int(slow / 0.1)):
    if what == "grows":
        print(f"\\rloading {step}%", end="", flush=True)
    if what == "creeps":
        print(f"loading 7.{step:02} %", flush=True)
    if what == "stands":
        print("loading 42%", flush=True)
    time.sleep(0.1)
time.sleep(100)
""".replace("PORT", str(PORT))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, gpus=0)


def served(host: Host, *words: str, within: str = "1s") -> tuple[int, str]:
    """How a run of this server and of a task that needs it went: the exit code and what was said."""
    (host.folder / "loads.py").write_text(LOADS)
    spec = host.spec(f"""
kind: pipeline
jobs:
  model:
    kind: inference
    engine: custom
    command: [python3, loads.py, {", ".join(words)}]
    gpus: 0
    port: {PORT}
    ready: {{http: /v1/models, within: {within}}}
  ask: {{kind: task, command: ["true"], needs: {{model: ready}}}}
""")
    done = host.mgpu("run", spec)
    return done.returncode, done.stderr


@pytest.mark.parametrize("what", ["grows", "creeps"])
def test_a_percentage_that_moves_puts_the_deadline_off(host: Host, what: str) -> None:
    code, said = served(host, what, "3")
    assert code == 0, said
    assert "model is ready" in said


def test_it_moves_while_a_question_hangs(host: Host) -> None:
    code, said = served(host, "grows", "3", "hangs")
    assert code == 0, said


@pytest.mark.parametrize("what", ["stands", "access", "silent"])
def test_what_does_not_move_is_late(host: Host, what: str) -> None:
    code, said = served(host, what, "6")
    assert code == 125, said
    assert "model was not ready within 1 s (GET " in said


@pytest.mark.parametrize(("before", "after", "moved"), [
    ("loading 12%", "loading 13%", True),
    ("loading 12%", "loading 12%", False),
    ("loading 12.1%", "\rloading 12.2%", True),
    ("loading 142", ".5%", True),
    ("42%", '|"GET /a%20b" 404', False),
    ("42%", '"GET /17%20b" 404', False),
    ("\x1b[32m41%", "\x1b[32m42%", True),
    ("41%", "no number", False),
])  # fmt: skip
def test_what_counts_as_a_move(tmp_path: Path, before: str, after: str, moved: bool) -> None:
    log = tmp_path / "log"
    log.write_text(before)
    progress = Progress(str(log))
    progress()
    with log.open("a") as file:
        file.write(after)
    assert progress() is moved
    assert not progress()


class Dying(BaseHTTPRequestHandler):
    """A server that lists its model, fails the first request for a token, and answers nothing from then on."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = b'{"error": "the engine is dead"}'
        self.send_response(500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.socket.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_what_a_server_died_of_stays_told() -> None:
    server = HTTPServer(("127.0.0.1", 0), Dying)
    thread = Thread(target=lambda: [server.handle_request(), server.handle_request()], daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    trial = Trial(f"{url}/v1/completions", {"max_tokens": 1})._asdict()
    ask = asker({"kind": "http", "target": f"{url}/v1/models", "contains": None, "token": None, "trial": trial}, "")
    told = f'POST {url}/v1/completions: status 500: {{"error": "the engine is dead"}}'
    assert ask() == told
    thread.join()
    assert ask() == told, "the refused connection of a server that is gone tells nothing"


def test_what_was_not_answered_yet_is_told_of_one_that_ended(host: Host) -> None:
    spec = f"kind: inference\nengine: custom\ncommand: [sleep, '0.5']\ngpus: 0\nport: {PORT}\nready: {{http: /}}\n"
    done = host.mgpu("run", host.spec(spec))
    assert done.returncode == 1
    assert f"it ended before it was ready (GET http://127.0.0.1:{PORT}/: " in done.stderr


def test_a_server_that_ends_by_itself_has_failed(host: Host) -> None:
    spec = "kind: inference\nengine: custom\ncommand: [sh, -c, 'echo up; sleep 0.5']\ngpus: 0\nready: {log: up}\n"
    done = host.mgpu("run", host.spec(spec))
    assert done.returncode == 1
    assert "failed with 1: nobody stopped this server, and it has ended by itself" in done.stderr


def test_a_kill_is_told_in_words(host: Host) -> None:
    done = host.mgpu("run", host.task("kill -9 $$"))
    assert done.returncode == 137
    assert "failed with 137: SIGKILL ended it: the kernel for want of memory" in done.stderr
