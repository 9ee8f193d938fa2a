"""Ollama served for real, but for the model: a stand-in of its API with a store, which has a model once it is pulled.

No registry that the tests may ask carries Ollama itself; its answers are those of server/routes.go.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.end_to_end.host import Host

OLLAMA = """#!PYTHON
import http.server, json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
store, log = home / "store", home / "asked"
assert sys.argv[1:] == ["serve"]
(home / "seen").write_text(json.dumps(dict(os.environ)))

class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(200, {"models": [{"name": store.read_text()}] if store.exists() else []})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with log.open("a") as file:
            print(self.path, file=file)
        have = store.exists() and store.read_text() == body["model"]
        if self.path == "/api/pull":
            if body["model"] == "nonesuch":
                return self.say(500, {"error": "pull model manifest: file does not exist"})
            store.write_text(body["model"])
            return self.say(200, {"status": "success"})
        self.say(*(200, {"response": "Hi"}) if have else (404, {"error": "model not found"}))

    def say(self, status, what):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())

    def log_message(self, *_):
        pass

address, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
http.server.ThreadingHTTPServer((address, int(port)), Api).serve_forever()
"""
SPEC = """
kind: pipeline
jobs:
  llm:
    kind: inference
    engine: ollama
    model: MODEL
    gpus: 2
    parallel: {pipeline: 2}
    args: {OLLAMA_NUM_PARALLEL: 2}
    port: 18473
    runtime: process
    ready: READY
  ask: {kind: task, command: ["true"], needs: {llm: ready}}
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    program = tmp_path / "bin" / "ollama"
    program.parent.mkdir()
    program.write_text(OLLAMA.replace("PYTHON", sys.executable))
    program.chmod(0o755)
    host = Host(tmp_path, gpus=2)
    host.env["PATH"] = f"{program.parent}:{host.env['PATH']}"
    return host


def run(host: Host, model: str = "llama3.1:8b", ready: str = "{within: 20s}") -> tuple[int, str]:
    done = host.mgpu("run", host.spec(SPEC.replace("MODEL", model).replace("READY", ready)))
    return done.returncode, done.stderr


def asked(host: Host) -> list[str]:
    return (host.folder / "asked").read_text().split()


def test_a_model_is_fetched_once_and_then_answers(host: Host) -> None:
    code, said = run(host)
    assert code == 0, said
    assert asked(host) == ["/api/generate", "/api/pull", "/api/generate"]
    code, said = run(host)
    assert code == 0, said
    assert asked(host)[3:] == ["/api/generate"]


def test_its_settings_are_its_environment(host: Host) -> None:
    code, said = run(host)
    assert code == 0, said
    seen = json.loads((host.folder / "seen").read_text())
    assert seen["OLLAMA_HOST"] == "127.0.0.1:18473"
    assert seen["OLLAMA_SCHED_SPREAD"] == "1"
    assert seen["OLLAMA_NUM_PARALLEL"] == "2"
    assert len(seen["CUDA_VISIBLE_DEVICES"].split(",")) == 2


def test_a_model_that_nobody_has_is_told(host: Host) -> None:
    code, said = run(host, "nonesuch", "{within: 1s}")
    assert code != 0
    assert "/api/pull: status 500" in said
    assert "file does not exist" in said
