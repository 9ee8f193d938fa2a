"""A question to the Docker engine of this host in, its answer out: what it can do, which containers of mgpu it has.

Questions go over its socket with the standard library alone: every look at the machine asks some, and importing the SDK
takes longer than all else that a look does. What changes something is asked through the SDK, in run; only a container
that does not run can be removed from here.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, NamedTuple

from mgpu.values.machine import CDI, CLAIM, Docker

SOCKET = "/var/run/docker.sock"
PATIENCE = 10.0
"""Seconds that one question may take: an engine that starts many containers at once answers late."""
_silent: dict[str, float] = {}
"""The sockets whose engine let a question time out, and until when it is not asked another: one look asks several."""
RUN, TASK, NAME, OWNER, GPUS = "mgpu.run", "mgpu.task", "mgpu.name", "mgpu.user", CLAIM
"""The labels of a container: its run, its task, the name of the run, the number of the user, the ids of its GPUs."""
HASH, VERSION = "mgpu.spec-hash", "mgpu.version"
"""Labels for people: what tells one content of a spec from another, and the mgpu that made the container."""
LIVE = frozenset(("running", "paused", "restarting"))
"""The states in which a container's processes are there."""
HOOK = "nvidia-container-runtime-hook"
"""What Docker runs for ``--gpus``, found by its PATH."""


class Box(NamedTuple):
    """A container. `state` is created, running, paused, restarting, removing, exited or dead."""

    id: str
    name: str
    state: str
    labels: dict[str, str]

    @property
    def lives(self) -> bool:
        """Whether its processes are there."""
        return self.state in LIVE

    @property
    def gpus(self) -> tuple[str, ...]:
        """The ids of the GPUs that it was made with."""
        return tuple(filter(None, self.labels.get(GPUS, "").split(",")))


class Unreachable(OSError):
    """The engine did not answer. The text says why, and what to do."""


class Refused(Unreachable):
    """The engine answered that it will not."""


class Missing(Refused):
    """The engine answered that there is no such thing."""


def address() -> str:
    """Where the engine is: DOCKER_HOST, else the host of docker's current context, else the usual socket."""
    given = os.environ.get("DOCKER_HOST")
    return given or _of_context() or f"unix://{SOCKET}"


def _of_context() -> str | None:
    """As the docker command reads it: rootless Docker and Docker Desktop are contexts of their own."""
    import hashlib

    home = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    try:
        name = os.environ.get("DOCKER_CONTEXT") or _json(os.path.join(home, "config.json")).get("currentContext")
        if not name or name == "default":
            return None
        place = os.path.join(home, "contexts", "meta", hashlib.sha256(name.encode()).hexdigest(), "meta.json")
        return str(_json(place)["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _json(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def ask(question: str) -> Any:
    """The engine's answer to GET `question`. Raises Unreachable where there is none."""
    return _answer("GET", question)


def _answer(method: str, question: str) -> Any:
    where = address()
    if not where.startswith("unix://"):
        raise Unreachable(f"Docker is at {where}, and mgpu runs on the GPUs of this host: name its own socket")
    path = where.removeprefix("unix://")
    if time.monotonic() < _silent.get(path, 0.0):
        raise Unreachable(_words(path, TimeoutError()))
    try:
        status, body = _exchanged(path, f"{method} {question} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        said = json.loads(body or b"{}")
    except OSError as error:
        if isinstance(error, TimeoutError):
            _silent[path] = time.monotonic() + PATIENCE
        raise Unreachable(_words(path, error)) from error
    except (ValueError, IndexError) as error:
        raise Unreachable(f"what answers {method} {question} on {path} breaks off or is no Docker engine") from error
    if status >= 300:
        kind = Missing if status == 404 else Refused
        raise kind(f"Docker refuses {method} {question}: {said.get('message', status)}")
    return said


def _exchanged(path: str, request: bytes) -> tuple[int, bytes]:
    """The status and the body of an answer. In HTTP/1.0 the body ends with the connection, and comes in one piece."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        connection.sendall(request)
        with connection.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def _words(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no Docker engine here (no {path}): install one and start it, or say runtime: process"
    if isinstance(error, PermissionError):
        return (
            f"this user may not ask Docker (permission denied on {path}): "
            "as root, usermod -aG docker USER, then log in again"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"Docker is installed and does not run (nobody listens on {path}): systemctl start docker"
    if isinstance(error, TimeoutError):
        return f"Docker does not answer within {PATIENCE:g} s on {path}: systemctl restart docker, and see its log"
    return f"Docker does not answer on {path}: {error or type(error).__name__}"


def there() -> bool:
    """Whether there is an engine to ask at all."""
    where = address()
    return not where.startswith("unix://") or os.path.exists(where.removeprefix("unix://"))


def read() -> Docker:
    """What the engine can do; `fault` says why there is none to use."""
    import shutil

    try:
        version, info = ask("/version"), ask("/info")
    except Unreachable as error:
        return Docker(gpus=False, fault=str(error))
    podman = any("podman" in part.get("Name", "").lower() for part in version.get("Components") or ())
    cdi = _listed(info)
    hooked = "nvidia" in (info.get("Runtimes") or {}) or shutil.which(HOOK) is not None
    return Docker(version.get("Version"), cdi, not podman and bool(cdi or hooked), podman)


def _listed(info: dict[str, Any]) -> tuple[str, ...]:
    """The GPUs that the engine itself has found as CDI devices (28.5 tells, 20.10 does not), without `all`."""
    devices = [device.get("ID", "") for device in info.get("DiscoveredDevices") or () if device.get("Source") == "cdi"]
    names = {device.removeprefix(CDI) for device in devices if device.startswith(CDI)}
    return tuple(sorted(names - {"all"}))


def boxes(*labels: str) -> list[Box]:
    """The containers that bear every one of `labels` (``key`` or ``key=value``), in whatever state."""
    return _found({"label": list(labels)})


def named(name: str) -> Box | None:
    """The container of just this name, whoever made it."""
    return next((box for box in _found({"name": [f"^/{name}$"]}) if box.name == name), None)


def quote(text: str) -> str:
    """`text` for a place in a URL."""
    return "".join(
        char if char.isalnum() and char.isascii() else "".join(f"%{b:02X}" for b in char.encode()) for char in text
    )


def _found(filters: dict[str, list[str]]) -> list[Box]:
    rows = ask(f"/containers/json?all=1&filters={quote(json.dumps(filters))}")
    return [Box(row["Id"], row["Names"][0].lstrip("/"), row["State"], row.get("Labels") or {}) for row in rows]


def remove(identity: str) -> bool:
    """Remove a container that does not run, with the volumes that only it had; False where it cannot be: it runs."""
    return _removed(f"/containers/{identity}?v=1")


def networks(label: str) -> list[tuple[str, str]]:
    """The networks of mgpu's that bear `label`: the id of each, and the run that it was made for."""
    rows = ask(f"/networks?filters={quote(json.dumps({'label': [label]}))}")
    return [(row["Id"], (row.get("Labels") or {}).get(RUN, "")) for row in rows]


def remove_network(identity: str) -> bool:
    """Remove a network; False where a container is in it."""
    return _removed(f"/networks/{identity}")


def _removed(what: str) -> bool:
    try:
        _answer("DELETE", what)
    except Missing:
        return True
    except Unreachable:
        return False
    return True


def has_image(name: str) -> bool:
    """Whether the image is there, so that nothing needs to be pulled. Raises Unreachable."""
    try:
        ask(f"/images/{name}/json")
    except Missing:
        return False
    return True
