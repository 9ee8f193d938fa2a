"""A root folder, an environment and what driver and Docker say in; the host as checks ask it out.

Everything that a check reads of the host goes through here, so that a folder of files can stand for a sick one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from mgpu.machine.health import Health
from mgpu.machine.nvml import Found
from mgpu.values.machine import Docker, Gpu, Link

LONGEST = 2**22
"""Bytes of a file that are read at most."""
INITIAL = "pid:[4026531836]"
"""The host's own process namespace: PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h."""
RENTED = (
    ("RUNPOD_POD_ID", "a RunPod pod"),
    ("VAST_CONTAINERLABEL", "a Vast.ai instance"),
    ("KUBERNETES_SERVICE_HOST", "a Kubernetes pod"),
)
"""Environment variables by which a container shows who rents it out, and what to call it."""
MARKS = ("docker", "kubepods", "libpod", "lxc", "containerd")
"""What /proc/1/cgroup holds inside a container (cgroup v1; v2 shows nothing there)."""


class Space(NamedTuple):
    """Bytes of a file system: all of them, and those that this user may still write."""

    total: int
    free: int


class Mount(NamedTuple):
    """A line of /proc/mounts."""

    source: str
    place: str
    kind: str
    options: str


class Silent(NamedTuple):
    """Driver or Docker did not answer: why, in words."""

    why: str


class Engine(NamedTuple):
    """What Docker says of itself: what mgpu makes of it, and its own /info."""

    docker: Docker
    info: Mapping[str, Any] = {}


def space(path: str) -> Space:
    """The room on the disk that `path` lies on. Raises OSError."""
    found = os.statvfs(path)
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


@dataclass(frozen=True)
class Host:
    """A host to look at; `root` is where its files are, `room` tells the space of a disk by the path of a folder."""

    driver: Found | Silent
    engine: Engine | Silent
    health: tuple[Health, ...] = ()
    root: str = "/"
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    room: Callable[[str], Space] = space
    now: float = field(default_factory=time.time)

    def path(self, place: str) -> str:
        """Where `place`, a path on the host, is."""
        return os.path.join(self.root, place.lstrip("/"))

    def text(self, place: str) -> str | None:
        """What the file holds, or None where it cannot be read; of a long one the end."""
        try:
            with open(self.path(place), "rb") as file:
                if os.fstat(file.fileno()).st_size > LONGEST:
                    file.seek(-LONGEST, os.SEEK_END)
                return file.read(LONGEST).decode(errors="replace")
        except OSError:
            return None

    def word(self, place: str) -> str | None:
        """The file's text without spaces around it; None also where it is empty."""
        return (self.text(place) or "").strip() or None

    def number(self, place: str) -> int | None:
        """The whole number in the file."""
        word = self.word(place)
        return int(word) if word and word.isdigit() else None

    def names(self, place: str) -> list[str]:
        """What is in the folder."""
        try:
            return sorted(os.listdir(self.path(place)))
        except OSError:
            return []

    def there(self, place: str) -> bool:
        """Whether there is such a file."""
        return os.path.lexists(self.path(place))

    def link(self, place: str) -> str | None:
        """Where the link leads."""
        try:
            return os.readlink(self.path(place))
        except OSError:
            return None

    def may(self, place: str, how: int) -> bool:
        """Whether this user may use the file so (os.R_OK, ...)."""
        return os.access(self.path(place), how, effective_ids=True)

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that the driver tells of."""
        return self.driver.gpus if isinstance(self.driver, Found) else ()

    @property
    def links(self) -> tuple[Link, ...]:
        """How each two of them are joined."""
        return self.driver.links if isinstance(self.driver, Found) else ()

    def cards(self) -> Iterator[tuple[Gpu, Health]]:
        """Every GPU that answers, with how it does."""
        known = {each.uuid: each for each in self.health if each.uuid}
        for gpu in self.gpus:
            if gpu.uuid in known:
                yield gpu, known[gpu.uuid]

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """The file systems; a later one of the same place hides an earlier one."""
        rows = [line.split() for line in (self.text("/proc/mounts") or "").splitlines()]
        return tuple(Mount(*(_plain(word) for word in row[:4])) for row in rows if len(row) >= 4)

    def mount(self, place: str) -> Mount | None:
        """The file system that a path lies on."""
        inside = [m for m in self.mounts if m.place == "/" or f"{place}/".startswith(f"{m.place.rstrip('/')}/")]
        longest = max((len(m.place) for m in inside), default=0)
        return next((m for m in reversed(inside) if len(m.place) == longest), None)

    @cached_property
    def container(self) -> str | None:
        """What kind of container this is, in words; None on a host of its own."""
        rented = next((words for name, words in RENTED if self.env.get(name)), None)
        root = self.mount("/")
        namespace = self.link("/proc/self/ns/pid")
        cgroup = self.text("/proc/1/cgroup") or ""
        signs = (
            self.there("/.dockerenv"),
            self.there("/run/.containerenv"),
            any(mark in cgroup for mark in MARKS),
            root is not None and root.kind == "overlay" and not self.there("/run/systemd/system"),
            namespace is not None and namespace != INITIAL and not self.there("/run/systemd/system"),
        )
        return rented or ("a container" if any(signs) else None)

    @cached_property
    def virtual(self) -> bool:
        """Whether this is a virtual machine: its hypervisor has decided on slots and IOMMU."""
        flags = next((line for line in (self.text("/proc/cpuinfo") or "").splitlines() if line.startswith("flags")), "")
        return "hypervisor" in flags.split()

    @cached_property
    def release(self) -> dict[str, str]:
        """What /etc/os-release says: ID, VERSION_ID, PRETTY_NAME and so on."""
        rows = [line.partition("=") for line in (self.text("/etc/os-release") or "").splitlines()]
        return {name: value.strip("\"'") for name, found, value in rows if found}

    @property
    def installer(self) -> str | None:
        """``apt`` or ``dnf``, by the distribution; None for others."""
        kin = {self.release.get("ID", ""), *self.release.get("ID_LIKE", "").split()}
        if kin & {"debian", "ubuntu"}:
            return "apt"
        return "dnf" if kin & {"fedora", "rhel", "centos", "rocky", "almalinux", "amzn"} else None


def _plain(word: str) -> str:
    """A word of /proc/mounts, whose spaces are written as octal numbers."""
    return word.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
