"""A host for each test: stub GPUs, state and lock folders of its own, and the real `mgpu` as a process on it.

With an engine it is a host with Docker, whose GPUs are the engine's and whose ports are those of its namespace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.docker import Engine
from tests.fakes.nvml import FakeGpu, Stub

MGPU = [sys.executable, "-m", "mgpu"]


class Host:
    """Where a test runs jobs; `env` is what mgpu and so its jobs see."""

    def __init__(self, folder: Path, gpus: int = 4, engine: Engine | None = None) -> None:
        self.folder = folder
        self.stub = engine.stub if engine else Stub(folder).write([FakeGpu() for _ in range(gpus)])
        self.state = folder / "state"
        self.argv = [*(engine.inside if engine else ()), *MGPU]
        docker = engine.env if engine else {"DOCKER_HOST": f"unix://{folder}/no-docker.sock"}
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MGPU_", "CUDA_", "DOCKER_"))},
            **docker,
            **self.stub.env,
            "HOME": str(folder),
            "MGPU_STATE_DIR": str(self.state),
            "MGPU_LOCK_DIR": str(folder / "locks"),
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(Path(__file__).parents[2])])),
        }

    def spec(self, text: str, name: str = "job") -> Path:
        """A spec file of this text."""
        path = self.folder / f"{name}.mgpu.yaml"
        path.write_text(text)
        return path

    def task(self, script: str, name: str = "job", **keys: object) -> Path:
        """The spec of a task that runs `script` with sh."""
        lines = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
        return self.spec("\n".join(["kind: task", f"command: [sh, -c, {json.dumps(script)}]", *lines]) + "\n", name)

    def mgpu(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        """The verb carried out to its end."""
        env = {**self.env, **more}
        return subprocess.run([*self.argv, *map(str, words)], env=env, capture_output=True, text=True, timeout=60)  # noqa: PLW1510

    def start(self, *words: object, **more: str) -> subprocess.Popen[str]:
        """The verb as a process that goes on."""
        env = {**self.env, **more}
        pipe = subprocess.PIPE
        return subprocess.Popen([*self.argv, *map(str, words)], env=env, stdout=pipe, stderr=pipe, text=True)

    def runs(self) -> list[dict[str, Any]]:
        """What `ps --all` says."""
        listed = json.loads(self.mgpu("ps", "--all", "--json").stdout)["runs"]
        assert isinstance(listed, list)
        return listed

    def free(self) -> int:
        """How many GPUs nobody holds."""
        machine = json.loads(self.mgpu("machine", "--json").stdout)
        return sum("holder" not in gpu for gpu in machine["gpus"])


def eventually(check: Callable[[], Any], why: str, within: float = 20.0) -> Any:
    """What `check` gives once that is true; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {within} s: {why}"
        time.sleep(0.02)
    return found


def lives(pid: int) -> bool:
    """Whether the process runs: there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(pid: int) -> None:
    """End a process as nobody can refuse."""
    os.kill(pid, signal.SIGKILL)
