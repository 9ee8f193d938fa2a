"""What a keeper costs while its run goes on: resident memory, and time of a core."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.end_to_end.host import eventually
from tests.run.scene import SOAK, Scene, told

RESIDENT = 25.0
"""MiB that a keeper may have."""
SHARE = 0.01
"""Of a core, that it may take while nothing happens."""
SECONDS = 60.0 if SOAK else 5.0
FIRST_PORT = 18491
SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def memory(pid: int) -> float:
    """VmRSS in MiB: proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def spent(pid: int) -> float:
    """Seconds of a core that it has had."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def servers(host: Scene) -> Path:
    """Four, each with a probe, and each stopped if nobody used it for long."""
    (host.folder / "server.py").write_text(SERVER)
    job = "{{kind: inference, engine: custom, command: [python3, server.py, '{port}'], gpus: 1, port: {port}, {more}}}"
    more = "ready: {http: /}, max_idle: 10m, timeout: 1h, restart: on-failure"
    jobs = "\n".join(f"  s{at}: " + job.format(port=FIRST_PORT + at, more=more) for at in range(4))
    return host.spec(f"kind: pipeline\njobs:\n{jobs}\n")


@pytest.mark.parametrize("many", [False, True])
def test_a_keeper_is_small_and_idles(host: Scene, request: pytest.FixtureRequest, many: bool) -> None:
    spec = servers(host) if many else host.job()
    assert host.mgpu("run", "--detach", spec).returncode == 0
    eventually(lambda: len(host.events("ready")) == (4 if many else 1), "all are ready")
    (keeper,) = host.keepers()
    began, before = time.monotonic(), spent(keeper)
    time.sleep(SECONDS)
    share = (spent(keeper) - before) / (time.monotonic() - began)
    resident = memory(keeper)
    what = "4 servers with probes, max_idle and restart" if many else "1 task"
    told(request, f"keeper of {what}", f"  {resident:.1f} MiB resident, {share:.2%} of a core over {SECONDS:g} s")
    assert resident < RESIDENT
    assert share < SHARE
    assert host.mgpu("stop", "job").returncode == 0
