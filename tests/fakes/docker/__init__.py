"""A folder in, a real Docker engine out whose GPUs are those of a stub NVML; it needs root, and ends with the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.docker import images
from tests.fakes.docker.api import answers, ask, lives, wait
from tests.fakes.docker.cdi import write_spec
from tests.fakes.docker.images import Image
from tests.fakes.docker.namespace import PRIVATE, Namespace, possible
from tests.fakes.docker.releases import CDI_SINCE, link_release, major, missing
from tests.fakes.nvml import FakeGpu, Stub

HOOK = "nvidia-container-runtime-hook"
Said = subprocess.CompletedProcess[str]
BUSYBOX, VLLM = "busybox:test", "fakevllm:test"


class Engine:
    """One dockerd and its containerd; `toolkit=False` is a host without NVIDIA's hook, `cdi=False` one that has no CDI
    specification. Version 20 is the system's own, in Debian 12 a 20.10 that knows nothing of CDI; 28 is a newer one."""

    def __init__(
        self,
        folder: Path,
        version: str = "20",
        *,
        toolkit: bool = True,
        cdi: bool = True,
        stub: Stub | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder / "docker"
        self.version = version
        self.stub = stub or Stub(folder).write([FakeGpu() for _ in range(8)])
        self.socket = self.folder / "docker.sock"
        self.log = self.folder / "log"
        self._toolkit = toolkit
        self._cdi = cdi
        self._options = list(options)
        self._bin = self.folder / "bin"
        self._hook = self.folder / "hook"
        self._namespace: Namespace | None = None
        self._pid = 0

    def start(self) -> Engine:
        """Start the daemon and wait until it answers; after `kill` it finds its data again."""
        if self._namespace is None:
            self._prepare()
            self._namespace = Namespace()
        self._pid = self._namespace.start(self._dockerd(), self._daemon_env(), self.log)
        wait(lambda: answers(self.socket), self._pid, self.log)
        if not self._images():
            self.load(images.busybox(), BUSYBOX)
            self.load(images.fake_vllm(), VLLM)
        return self

    def stop(self) -> None:
        """End the daemon, its containers, and all that they left on this machine but the folder."""
        if self._namespace:
            self._namespace.close()
            self._namespace = None

    def restart(self) -> None:
        """What `systemctl restart docker` does: containers are stopped with their grace period."""
        self._end(signal.SIGTERM)
        self.start()

    def kill(self) -> None:
        """End the daemon as a crash does; what runs in containers goes on until the next `start`."""
        self._end(signal.SIGKILL)

    def docker(self, *words: object, check: bool = False, env: Mapping[str, str] = {}) -> Said:
        """The engine's own `docker` with these words, and `env` beside what a user has."""
        argv = [str(self._bin / "docker"), *map(str, words)]
        return subprocess.run(argv, env={**self.env, **env}, capture_output=True, text=True, check=check, timeout=120)

    def ask(self, path: str) -> Any:
        """What the engine's API says to a GET of `path`."""
        return ask(self.socket, path)

    def load(self, image: Image, *names: str) -> None:
        """Have the image under these names."""
        argv = [str(self._bin / "docker"), "load", "--quiet"]
        subprocess.run(argv, env=self.env, input=image.archive(*names), capture_output=True, check=True)

    def image(
        self,
        name: str,
        *,
        entrypoint: Sequence[str] = (),
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Have an image of that name: busybox, and `files` that may be executed."""
        added = images.tar({path.lstrip("/"): text.encode() for path, text in (files or {}).items()})
        layers = [*images.busybox().layers, added]
        self.load(Image(layers, entrypoint, command or ([] if entrypoint else ["sh"]), env or {}, labels or {}), name)
        return name

    def tag(self, name: str, source: str = VLLM) -> str:
        """Give an image a further name."""
        self.docker("tag", source, name, check=True)
        return name

    def clear(self) -> None:
        """Remove every container."""
        if names := self.docker("ps", "--all", "--quiet").stdout.split():
            self.docker("rm", "--force", "--volumes", *names)

    @contextmanager
    def lying(self, drop: int = 1) -> Iterator[None]:
        """Let the hook give each container so many GPUs fewer than it asked for."""
        (self._hook / "drop").write_text(str(drop))
        try:
            yield
        finally:
            (self._hook / "drop").unlink()

    def hook_calls(self) -> list[dict[str, Any]]:
        """What the hook was asked since the engine's first start."""
        calls = self._hook / "calls"
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    @property
    def env(self) -> dict[str, str]:
        """The variables of a user of this engine."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")},
            **self.stub.env,
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.folder / "config"),
            "PATH": os.pathsep.join([*self._path(), os.environ.get("PATH", os.defpath)]),
        }

    @property
    def namespace(self) -> Namespace:
        """Where the engine runs."""
        assert self._namespace, "the engine was not started"
        return self._namespace

    @property
    def inside(self) -> list[str]:
        """What goes before a command that shall reach published ports."""
        return self.namespace.inside

    def _prepare(self) -> None:
        link_release(self.version, self._bin)
        for folder in (self._hook, self.folder / "toolkit", self.folder / "config"):
            folder.mkdir(parents=True, exist_ok=True)
        if self._toolkit:
            hook = self.folder / "toolkit" / HOOK
            source = Path(__file__).with_name("hook.py")
            hook.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{source}" "$@"\n')
            hook.chmod(0o755)
        if self._cdi:
            write_spec(self.stub.file, self.folder / "cdi")
        (self.folder / "daemon.json").write_text(json.dumps(self._settings()))

    def _settings(self) -> dict[str, object]:
        if major(self.version) < CDI_SINCE:
            return {}
        return {"features": {"cdi": True}, "cdi-spec-dirs": [str(self.folder / "cdi")]}

    def _dockerd(self) -> list[object]:
        places = ["--data-root", self.folder / "data", "--exec-root", PRIVATE / "docker"]
        places += ["--config-file", self.folder / "daemon.json", "--pidfile", self.folder / "pid"]
        cgroups = ["--cgroup-parent", f"/{self.namespace.name}", "--exec-opt", "native.cgroupdriver=cgroupfs"]
        return [self._bin / "dockerd", "--host", f"unix://{self.socket}", *places, *cgroups, *self._options]

    def _daemon_env(self) -> dict[str, str]:
        hook = {"FAKE_NVIDIA_HOOK": str(self._hook), "FAKE_NVML_CONF": str(self.stub.file)}
        return {**hook, "PATH": os.pathsep.join(self._path()), "HOME": str(self.folder)}

    def _path(self) -> list[str]:
        return [str(self._bin), *([str(self.folder / "toolkit")] if self._toolkit else [])]

    def _images(self) -> list[Any]:
        found = self.ask("/images/json")
        assert isinstance(found, list)
        return found

    def _end(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)
        while lives(self._pid):
            time.sleep(0.02)
        (self.folder / "pid").unlink(missing_ok=True)


def lacking(version: str = "20") -> str:
    """Why this machine cannot have an engine; nothing if it can."""
    if os.geteuid():
        return "an engine of its own needs root"
    if programs := missing(version):
        return f"not installed: {', '.join(programs)} (tests/fakes/docker/install)"
    return "" if possible() else "namespaces cannot be made here"
