"""The version of an engine in, a folder with the executables that it is made of out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

PARTS = ["dockerd", "docker", "docker-proxy", "containerd", "containerd-shim-runc-v2", "runc", "iptables", "ip6tables"]
OPTIONAL = ["docker-init", "modprobe", "ps"]
"""What else dockerd calls. Its PATH has nothing more, so that a real NVIDIA hook of this machine is not in it."""
SYSTEM = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
NEWER = Path(__file__).parents[3] / ".build" / "docker-28"
"""Debian's next engine, as `install` unpacked it: without a runc, for which the system's serves."""
CDI_SINCE = 25
"""From here on the settings of CDI are known; that an engine lists its CDI devices came with 28."""
PLACES = {"20": SYSTEM, "28": [str(NEWER / "usr/sbin"), str(NEWER / "usr/bin"), *SYSTEM]}


def missing(version: str) -> list[str]:
    """What an engine of this version needs and this machine lacks."""
    needed = [*PARTS, "docker-registry", "busybox", "nsenter", "unshare", "ip"]
    absent = [name for name in needed if not _found(name, SYSTEM)]
    if not absent and major(version) < int(version):
        absent.append(f"Docker {version}")
    if not absent and subprocess.run(["ldd", program("busybox")], capture_output=True, check=False).returncode == 0:
        absent.append("busybox-static")
    return absent


@cache
def major(version: str) -> int:
    """The number that an engine of this version really has here."""
    dockerd = _found("dockerd", PLACES[version])
    assert dockerd
    said = subprocess.run([dockerd, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", said)
    assert found, said
    return int(found[1])


def link_release(version: str, folder: Path) -> None:
    """Fill `folder` with links to the engine's executables: 20 is the system's own, 28 the one that `install` has."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in [*PARTS, *OPTIONAL]:
        if target := _found(name, PLACES[version]):
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def program(name: str) -> str:
    """Where the system has it."""
    found = _found(name, SYSTEM)
    assert found, f"{name} is not installed"
    return found


def _found(name: str, places: list[str]) -> str | None:
    return shutil.which(name, path=os.pathsep.join(places))
