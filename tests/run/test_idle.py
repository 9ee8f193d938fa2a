"""A server that nobody uses is stopped, and its run has ended well; one that is used, by whatever sign, goes on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgpu.run.idle import Networks, Usage, connected
from tests.end_to_end.host import eventually
from tests.fakes.docker import BUSYBOX
from tests.run.scene import Scene

PORT = 18487
SERVER = f"""
import socketserver, time
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while self.request.recv(100):
            pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", {PORT}), Echo).serve_forever()
"""


def server(host: Scene, idle: str = "1s", more: str = "") -> Path:
    (host.folder / "server.py").write_text(SERVER)
    return host.spec(
        f"kind: inference\nengine: custom\ncommand: [python3, server.py]\ngpus: 1\nport: {PORT}\n"
        f"ready: {{tcp: true}}\nmax_idle: {idle}\n{more}"
    )


def test_nobody_uses_it(host: Scene) -> None:
    done = host.mgpu("run", server(host, more="restart: always\n"))
    assert done.returncode == 0, done.stderr
    assert "job was used by nobody for 1 s: stopping it" in done.stderr
    assert [run["state"] for run in host.runs()] == ["ended"]
    assert host.held() == 0


def test_a_connection_is_use_for_as_long_as_it_stands(host: Scene) -> None:
    runner = host.start("run", server(host))
    eventually(lambda: host.events("ready"), "it serves")
    with socket.create_connection(("127.0.0.1", PORT)):
        began = time.monotonic()
        eventually(lambda: time.monotonic() > began + 2.5, "twice and a half the time goes by")
        assert runner.poll() is None
        assert host.events("idle") == []
    runner.communicate(timeout=30)
    assert runner.returncode == 0
    assert len(host.events("idle")) == 1


def test_what_a_live_job_needs_is_not_idle(host: Scene) -> None:
    spec = host.spec("""
kind: pipeline
jobs:
  server: {kind: inference, engine: custom, command: [sleep, "100"], gpus: 0, max_idle: 1s}
  user: {kind: task, command: [sleep, "2"], needs: {server: ready}}
""")
    done = host.mgpu("run", spec)
    assert done.returncode == 0, done.stderr
    assert host.events("idle") == []


def test_inside_a_container(docked: Scene) -> None:
    spec = docked.spec(
        f"kind: inference\nengine: custom\nimage: {BUSYBOX}\ngpus: 1\nport: {PORT}\nmax_idle: 1s\n"
        "command: [sh, -c, 'echo up; sleep 1000']\nready: {log: up}\n"
    )
    done = docked.mgpu("run", spec)
    assert done.returncode == 0, done.stderr
    assert docked.boxes() == []


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as made:
        yield made


def test_signs_of_use(tmp_path: Path, listener: socket.socket) -> None:
    port, log = listener.getsockname()[1], tmp_path / "log"
    networks, usage = Networks(), Usage(10.0, port, str(log), 0.0)
    assert not usage.over(os.getpid(), 9.0, networks)
    assert usage.over(os.getpid(), 11.0, networks)
    log.write_text("GET /")
    assert not usage.over(os.getpid(), 12.0, networks)
    with socket.create_connection(("::1", port)):
        assert port in connected(os.getpid())
        assert not usage.over(os.getpid(), 23.0, networks)
    listener.accept()[0].close()
    assert not usage.over(None, 40.0, networks), "where its network is not known it counts as used"
    assert not usage.over(os.getpid(), 49.0, networks)
    assert usage.over(os.getpid(), 51.0, networks)


def test_who_serves_nothing_is_never_idle(host: Scene) -> None:
    spec = host.spec("kind: inference\nengine: xdit\nmodel: a/b\nscript: a.py\nmax_idle: 1s\n")
    done = host.mgpu("validate", spec)
    assert "xdit serves nothing, so it is never idle" in done.stdout
