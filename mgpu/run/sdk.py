"""Docker's SDK: a client of this host's engine, and what is asked through it in more than one place."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from mgpu.machine import daemon

if TYPE_CHECKING:
    from docker import APIClient

PATIENCE = 60.0
"""Seconds that one answer of the engine may take."""
TIDYING = 10.0
"""Seconds after which a container stays for the next run to remove."""
PAUSE = 0.2
KILLED = range(129, 160)
"""The exit statuses of what a signal has ended."""
LOOK = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
"""What shows which GPUs a container has: NVIDIA's toolkit puts it into each."""


def client(patience: float = PATIENCE) -> APIClient:
    """A client of the engine; `patience` in seconds of silence."""
    from docker import APIClient

    return APIClient(base_url=daemon.address(), version="auto", timeout=patience)


def away() -> tuple[type[Exception], ...]:
    """What is raised where the engine does not answer, or breaks off."""
    from docker.errors import DockerException
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    return DockerException, RequestException, HTTPError, OSError


def removed(api: APIClient, identity: str) -> bool:
    """Remove a container that does not run, with the volumes that only it had; False where it stays: it runs, maybe.

    An engine that restarts gets some time.
    """
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + TIDYING
    while time.monotonic() < deadline:
        try:
            api.remove_container(identity, v=True)
        except NotFound:
            return True
        except APIError:
            return False
        except away():
            time.sleep(PAUSE)
        else:
            return True
    return False


def kill(identity: str, word: str) -> None:
    """Send a signal to a container, which goes on if it is paused: a paused one gets none, and killing it hangs some
    engines. Raises what `away` tells of."""
    from docker.errors import APIError

    api = client()
    with suppress(APIError):
        api.unpause(identity)
    api.kill(identity, word)


def join(api: APIClient, network: str, run: str, user: int) -> None:
    """Have a network of this name, in which the containers of a run know each other by the names of their tasks."""
    if not api.networks(names=[f"^{network}$"]):
        labels = {daemon.RUN: run, daemon.OWNER: str(user)}
        api.create_network(network, driver="bridge", labels=labels, check_duplicate=True)


def leave(api: APIClient, network: str, run: str) -> None:
    """Remove the network unless a container of the run is there still."""
    try:
        if not api.containers(all=True, filters={"label": f"{daemon.RUN}={run}"}):
            api.remove_network(network)
    except away():
        return


def seen_gpus(api: APIClient, identity: str) -> list[str] | None:
    """The UUIDs of the GPUs that the container sees; None where it cannot be asked: no nvidia-smi, or it has ended,
    which kills what is just being asked."""
    try:
        asked = api.exec_create(identity, LOOK)["Id"]
        said = api.exec_start(asked).decode(errors="replace")
        status = api.exec_inspect(asked)["ExitCode"]
        lives = api.inspect_container(identity)["State"]["Running"]
    except away():
        return None
    if not lives or status is None or status in KILLED or status in (126, 127):
        return None
    return [word for word in said.split() if word.startswith("GPU-")]
