"""A folder in, a real Podman behind Docker's API out; it answers questions, and no container is to run in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.fakes.docker.api import answers, ask, wait
from tests.fakes.docker.namespace import PRIVATE, Namespace
from tests.fakes.docker.releases import SYSTEM, program


class Podman:
    """`podman system service` on a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "podman"
        self.socket = self.folder / "podman.sock"
        self.log = self.folder / "log"
        self._namespace: Namespace | None = None

    def start(self) -> Podman:
        """Have it answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "containers.conf"
        settings.write_text('[engine]\nlock_type = "file"\n')
        self._namespace = Namespace()
        env = {"PATH": os.pathsep.join(SYSTEM), "HOME": str(self.folder), "CONTAINERS_CONF": str(settings)}
        pid = self._namespace.start(self._argv(), env, self.log)
        wait(lambda: answers(self.socket), pid, self.log)
        return self

    def stop(self) -> None:
        """End it."""
        if self._namespace:
            self._namespace.close()
            self._namespace = None

    def ask(self, path: str) -> Any:
        """What its API says to a GET of `path`."""
        return ask(self.socket, path)

    @property
    def env(self) -> dict[str, str]:
        """The variables of a user whose DOCKER_HOST is Podman."""
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.folder)}

    def _argv(self) -> list[object]:
        places = ["--root", self.folder / "data", "--runroot", PRIVATE / "run", "--tmpdir", PRIVATE / "tmp"]
        ways = ["--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--runtime", program("runc")]
        return [program("podman"), *places, *ways, "system", "service", "--time", "0", f"unix://{self.socket}"]
