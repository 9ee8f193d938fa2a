"""The version of an engine in, a folder with the executables that it is made of out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PARTS = ["dockerd", "docker", "docker-proxy", "docker-init", "containerd", "containerd-shim-runc-v2", "runc"]
TOOLS = ["iptables", "ip6tables", "modprobe", "ps"]
"""What else dockerd calls. Its PATH has nothing more, so that a real NVIDIA hook of this machine is not in it."""
SYSTEM = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]


def missing() -> list[str]:
    """What a test with an engine needs and this machine lacks."""
    needed = [*PARTS, *TOOLS[:2], "docker-registry", "busybox", "nsenter", "unshare", "ip"]
    return [program for program in needed if not _found(program, SYSTEM)]


def link_release(version: str, folder: Path) -> None:
    """Fill `folder` with links to the engine's executables: 20 is the system's own."""
    folder.mkdir(parents=True, exist_ok=True)
    for program in [*PARTS, *TOOLS]:
        if target := _found(program, SYSTEM):
            link = folder / program
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def _found(program: str, places: list[str]) -> str | None:
    return shutil.which(program, path=os.pathsep.join(places))
