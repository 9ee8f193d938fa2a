"""A made folder in, what `mgpu doctor` prints of it out: the real command, the driver's stub, a socket for Docker."""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mgpu.machine.checks.host import Space

ROOT = Path(__file__).parents[3]
NOW = 1795536000.0
"""2026-11-24 16:00 UTC."""
GIB = 2**30
INFO: dict[str, Any] = {
    "CgroupDriver": "systemd",
    "Runtimes": {"runc": {}, "nvidia": {}},
    "DockerRootDir": "/var/lib/docker",
    "LiveRestoreEnabled": True,
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    "DiscoveredDevices": [{"Source": "cdi", "ID": f"nvidia.com/gpu={index}"} for index in range(8)],
}
"""What Docker 28.5.1 says of itself, as far as it is read."""
VERSION = {"Version": "28.5.1", "Components": [{"Name": "Engine"}, {"Name": "containerd"}]}


def room(shm: int, path: str) -> Space:
    """A disk with 500 GiB free, and shared memory of `shm` bytes."""
    return Space(shm, shm) if path.endswith("/dev/shm") else Space(2000 * GIB, 500 * GIB)


def looked(
    root: Path, nvml: Mapping[str, str], *words: str, shm: int = 1000 * GIB, env: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """The command with these words; `env` is what the host's shell has, `nvml` what shows the stub."""
    shell = {"HOME": "/home/me", "PATH": "/nowhere", **env}
    place = {
        "MGPU_STATE_DIR": str(root / "state"),
        "DOCKER_HOST": f"unix://{root}/docker.sock",
        "PYTHONPATH": str(ROOT),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MGPU_", "CUDA_", "FAKE_"))}
    argv = [sys.executable, "-m", "tests.machine.doctor.look", str(root), str(shm), json.dumps(shell), *words]
    all_env = {**inherited, **place, **nvml}
    return subprocess.run(argv, env=all_env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def plain(text: str, root: Path) -> str:
    """The output without what differs from machine to machine."""
    return re.sub(r"Python \S+ in \S+", "Python 3.X in VENV", text.replace(str(root), "ROOT"))


@contextmanager
def docker(root: Path, info: Mapping[str, Any] = INFO) -> Iterator[None]:
    """What answers as an engine does to /version, /info and the list of containers."""
    said = {"/version": VERSION, "/info": info}

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            question = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            body = json.dumps(said.get(question, [])).encode()
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)

    with socketserver.ThreadingUnixStreamServer(str(root / "docker.sock"), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def main(root: str, shm: str, shell: str, *words: str) -> int:
    """What a process of its own does: the command, on a host of files."""
    from mgpu import cli
    from mgpu.machine.checks import survey

    made = survey.host

    def host() -> Any:
        return replace(made(root, json.loads(shell)), room=partial(room, int(shm)), now=NOW)

    survey.host = host
    return cli.main(["doctor", *words])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
