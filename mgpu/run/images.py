"""The name of an image in; pulled by Docker, with word of how far it is, or in words why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from mgpu.errors import HostError
from mgpu.machine import daemon
from mgpu.run import refusals
from mgpu.values.command import Command
from mgpu.values.progress import Progress

SILENCE = 900.0
"""Seconds that a pull may say nothing: the engine is silent while it checks the sum of a large layer."""
CONTAINERD = "/run/containerd/containerd.sock", "/var/lib/containerd"
"""The containerd that packages install, and where it keeps its images."""


def missing(commands: Iterable[Command]) -> list[str]:
    """The images of these commands that are not on this host yet."""
    return absent(list({command.container.image: None for command in commands if command.container}))


def absent(names: Iterable[str]) -> list[str]:
    """Those of these images that are not on this host. Raises HostError where Docker does not answer."""
    try:
        return [name for name in names if not daemon.has_image(name)]
    except daemon.Unreachable as error:
        raise HostError(str(error)) from error


def pull(image: str, told: Callable[[Progress], None] = lambda progress: None) -> int:
    """Pull an image; `told` hears how far it is. The bytes that came.

    Raises HostError where the registry refuses, or as soon as it is certain that the disk is too small.
    """
    from mgpu.run.sdk import away, client

    layers = Layers()
    try:
        api = client(SILENCE)
        room = _room(_root(api.info()))
        with closing(api.pull(image, stream=True, decode=True)) as events:
            for event in events:
                if "error" in event:
                    raise _refused(image, str(event["error"]))
                if layers.count(event):
                    _fits(image, layers, room)
                    told(layers.progress())
    except away() as error:
        raise _refused(image, str(getattr(error, "explanation", None) or error)) from error
    return layers.progress().done


@dataclass
class Layer:
    """One layer: its bytes as the registry has them, how many have come and are unpacked. `sized`: `size` is known."""

    size: int = 0
    come: int = 0
    unpacked: int = 0
    sized: bool = False
    over: bool = False

    def count(self, status: str, detail: dict[str, Any]) -> None:
        """Take a word of the engine into account. It tells the size of a layer with its first bytes, and of a small
        one only as it is unpacked; engines that unpack in containerd tell seconds there."""
        current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
        counts = status in ("Downloading", "Extracting") and not detail.get("units")
        if counts and total > 0:
            self.size, self.sized = total, True
        if status == "Downloading":
            self.come = current
            self.size = max(self.size, current)
        elif status in ("Download complete", "Verifying Checksum"):
            self.come = self.size
        elif status == "Extracting":
            self.come = self.size
            self.unpacked = max(self.unpacked, min(current, self.size) if counts else 0)
        elif status == "Pull complete":
            self.come = self.unpacked = self.size
            self.sized = self.over = True
        elif status == "Already exists":
            self.sized = self.over = True


class Layers:
    """The layers of an image while it is pulled, in their order."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}

    def count(self, event: dict[str, Any]) -> bool:
        """Take an event of the engine into account; False where it is of no layer."""
        name, detail = event.get("id"), event.get("progressDetail")
        if not name or detail is None:
            return False
        self._layers.setdefault(name, Layer()).count(event.get("status", ""), detail)
        return True

    def progress(self) -> Progress:
        """How far it is."""
        rows = self._layers.values()
        return Progress(
            sum(layer.come for layer in rows),
            sum(layer.size for layer in rows),
            sum(layer.over for layer in rows),
            len(rows),
            all(layer.sized for layer in rows),
            sum(layer.unpacked for layer in rows),
        )

    def needed(self) -> int:
        """The bytes that the disk must have had free, at the least. An unpacked layer is no smaller than the packed
        one, and that is kept until it is unpacked: for each there must be room for all up to it, and for it again."""
        most = before = 0
        for layer in self._layers.values():
            before += layer.size
            most = max(most, before + layer.size)
        return most


def _root(info: dict[str, Any]) -> str:
    """Where the engine keeps its images."""
    driver = dict(row for row in info.get("DriverStatus") or () if len(row) == 2).get("driver-type", "")
    address = (info.get("Containerd") or {}).get("Address")
    if driver.startswith("io.containerd") and address == CONTAINERD[0]:
        return CONTAINERD[1]
    return str(info.get("DockerRootDir", ""))


def _room(root: str) -> int | None:
    """The bytes that are free, for root, where the engine keeps its images; None where this user cannot see that."""
    try:
        found = os.statvfs(root)
    except OSError:
        return None
    return found.f_bfree * found.f_frsize


def _fits(image: str, layers: Layers, room: int | None) -> None:
    """Raise HostError once it is certain that the disk is too small."""
    needed = layers.needed()
    if room is not None and needed > room:
        progress = layers.progress()
        size = f"{progress.total / 1e9:.2f} GB packed" + ("" if progress.sized else ", as far as is known yet")
        raise HostError(
            f"{image} does not fit on the disk of Docker: it needs {needed / 1e9:.2f} GB at the least, and "
            f"{room / 1e9:.2f} GB are free ({size})",
            "docker system prune frees what nothing uses; or move Docker to a larger disk: data-root in daemon.json",
        )


def _refused(image: str, said: str) -> HostError:
    refusal = refusals.of_pull(image, said)
    return HostError(refusal.why, refusal.hint)
