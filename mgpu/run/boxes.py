"""The containers of a run in; made sure that Docker can have them, before a GPU is taken, or the error in words out."""

from __future__ import annotations

import os
from collections.abc import Callable

from mgpu.errors import HostError
from mgpu.machine import daemon
from mgpu.run import refusals, runs
from mgpu.values.command import Command, Container
from mgpu.values.machine import Docker


def check(command: Command, box: Container, docker: Docker | None) -> None:
    """Make what the container needs of this host: Docker, with GPUs if it has any, its name, the folders it mounts.

    Raises HostError for what is missing.
    """
    _engine(command, docker)
    _name(box)
    _folders(command, box)


def _engine(command: Command, docker: Docker | None) -> None:
    where = f"{command.task} runs in a container, and "
    if docker is None or docker.fault:
        raise HostError(where + (docker.fault or "" if docker else "nothing is known of Docker here"))
    if command.gpus and docker.podman:
        raise HostError(
            f"{where}Podman answers for Docker here: it takes a request for GPUs and drops it without a word",
            "start Docker's own engine, and name its socket with DOCKER_HOST; or say runtime: process",
        )
    if command.gpus and docker.gpus is False:
        raise HostError(f"{where}Docker cannot give containers GPUs here", refusals.TOOLKIT)


def _name(box: Container) -> None:
    """Make way for the container: what an earlier run of this user left behind goes, all else is told."""
    sweep()
    there = daemon.named(box.name)
    if there is None:
        return
    run, owner = there.labels.get(daemon.RUN), there.labels.get(daemon.OWNER)
    if run and owner == str(os.getuid()):
        raise HostError(f"the container {box.name} of run {run} is still there", f"end it: mgpu stop {run}")
    whose = "another user's" if run else "no container of mgpu's"
    raise HostError(
        f"there is a container {box.name} already, and it is {whose}",
        f"docker rm -f {box.name}, or give this run another name: --name",
    )


def sweep(only: str | None = None) -> None:
    """Remove what of this user's containers and networks, or of one run's, nobody comes back for."""
    boxes = [box for box in _mine(only) if not box.lives and daemon.RUN in box.labels]
    networks = _networks(only)
    if not boxes and not networks:
        return
    attended = runs.attended()
    for box in boxes:
        if not attended(box.labels[daemon.RUN]):
            daemon.remove(box.id)
    for network, run in networks:
        if not attended(run):
            daemon.remove_network(network)


def _mine(run: str | None = None) -> list[daemon.Box]:
    """This user's containers, or those of one run; none where there is no engine to ask."""
    try:
        return daemon.boxes(f"{daemon.RUN}={run}" if run else f"{daemon.OWNER}={os.getuid()}")
    except daemon.Unreachable:
        return []


def _networks(run: str | None) -> list[tuple[str, str]]:
    """The networks of this user's runs, or of one, each with its run; none where there is no engine to ask."""
    try:
        return daemon.networks(f"{daemon.RUN}={run}" if run else f"{daemon.OWNER}={os.getuid()}")
    except daemon.Unreachable:
        return []


def signal(run: str, word_for: Callable[[str], str | None]) -> None:
    """Send to each living container of the run the signal for its task, if there is one."""
    from mgpu.run.sdk import away, kill

    for box in _mine(run):
        word = word_for(box.labels.get(daemon.TASK, ""))
        try:
            if box.lives and word:
                kill(box.id, word)
        except away():
            continue


def _folders(command: Command, box: Container) -> None:
    """Make the folders below the home that are not there, the model cache for one: Docker would make them root's."""
    for volume in box.volumes:
        if ":" in volume.source:
            raise HostError(
                f"{command.task}: Docker cannot mount {volume.source}: a colon in a path ends it", "rename the folder"
            )
        if volume.source.startswith(os.path.expanduser("~") + os.sep) and not os.path.exists(volume.source):
            try:
                os.makedirs(volume.source, exist_ok=True)
            except OSError as error:
                raise HostError(
                    f"{command.task}: the folder {volume.source} cannot be made: {error.strerror}", "mend volumes:"
                ) from error
