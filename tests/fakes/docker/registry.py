"""An engine in, a real registry beside it out, that has images of any size and wants a login where a test says so."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fakes.docker import Engine
from tests.fakes.docker.api import lives, wait
from tests.fakes.docker.images import random_image
from tests.fakes.docker.releases import program

USER, PASSWORD = "mgpu", "secret"
HASHED = "$2b$05$Oi80E1E7v2C67YliSqKkTO7mjTQBMb888KPJrrzaRYZK4QMn3WWsS"


class Registry:
    """A registry on a port of the engine's namespace; Docker needs no TLS for that of its own host."""

    def __init__(self, engine: Engine, port: int = 5000, *, login: bool = False) -> None:
        self.address = f"127.0.0.1:{port}"
        self.folder = engine.folder / f"registry-{port}"
        self.log = self.folder / "log"
        self._engine = engine
        self._login = login
        self._port = port
        self._pid = 0
        self._relays: list[int] = []

    def start(self) -> Registry:
        """Have it answer."""
        (self.folder / "config").mkdir(parents=True, exist_ok=True)
        (self.folder / "config" / "config.json").write_text(
            json.dumps({"auths": {self.address: {"auth": _credentials()}}})
        )
        (self.folder / "users").write_text(f"{USER}:{HASHED}\n")
        (self.folder / "registry.yml").write_text(json.dumps(self._settings()))
        argv = [program("docker-registry"), "serve", self.folder / "registry.yml"]
        self._pid = self._engine.namespace.start(argv, {"HOME": str(self.folder)}, self.log)
        wait(self._answers, self._pid, self.log)
        return self

    def far(self, port: int, rate: int) -> str:
        """An address where it answers with so many bytes a second on each connection."""
        argv = [sys.executable, Path(__file__).with_name("relay.py"), port, self._port, rate]
        self._relays.append(self._engine.namespace.start(argv, {}, self.log))
        wait(lambda: self._answers(f"127.0.0.1:{port}"), self._relays[-1], self.log)
        return f"127.0.0.1:{port}"

    def stop(self) -> None:
        """End it; its images stay for the next `start`."""
        for relay in self._relays:
            os.kill(relay, signal.SIGKILL)
        self._relays.clear()
        os.kill(self._pid, signal.SIGTERM)
        while lives(self._pid):
            time.sleep(0.02)

    def push(self, name: str, size: int = 12 * 2**20, layers: int = 4) -> str:
        """Have an image of random bytes here, and not in the engine; the name that `docker pull` takes."""
        full = f"{self.address}/{name}"
        self._engine.load(random_image(size, layers), full)
        self._engine.docker("push", full, check=True, env=self.logged_in)
        self._engine.docker("rmi", full, check=True)
        return full

    @property
    def logged_in(self) -> dict[str, str]:
        """The variables under which `docker` knows the password."""
        return {"DOCKER_CONFIG": str(self.folder / "config")}

    def _settings(self) -> dict[str, object]:
        storage = {"filesystem": {"rootdirectory": str(self.folder / "data")}}
        users = {"auth": {"htpasswd": {"realm": "tests", "path": str(self.folder / "users")}}} if self._login else {}
        return {"version": 0.1, "storage": storage, "http": {"addr": self.address}, **users}

    def _answers(self, address: str = "") -> bool:
        get = [*self._engine.inside, "busybox", "wget", "-q", "-O", os.devnull, f"http://{address or self.address}/"]
        return subprocess.run(get, capture_output=True, check=False).returncode == 0


def _credentials() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
