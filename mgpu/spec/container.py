"""What a job's container may do beyond every other, as specs say it: the shape of `container`."""

from __future__ import annotations

from typing import Any

from mgpu.spec.scalars import Choice, Flag, Integer, Size, Text
from mgpu.spec.shapes import Array, Key, Made, Table, made
from mgpu.values.spec import Bounds

NAMESPACES = ("ipc", "network", "pid")
LIMITS = "core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack"
"""What Docker calls the limits of a process (docker/go-units, ulimit.go)."""
HOST = Choice(("host",), "host is all that it may be; left out, the container has its own")


def _device(text: str) -> str:
    if text.startswith("/dev/nvidia"):
        raise ValueError(f"cannot be {text!r}: GPUs are given by gpus, and leased", "remove it")
    return text


def _capability(name: str) -> str:
    """The kernel's own name, which newer docker commands make of it as well."""
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _bounds(**given: Any) -> Bounds:
    if "ipc" in given and "shm_size" in given:
        raise ValueError("has a shm_size, and with ipc: host the host's own /dev/shm counts", "keep one of them")
    namespaces = tuple(name for name in NAMESPACES if given.pop(name, None))
    given["cap_add"] = tuple(sorted({_capability(name) for name in given.get("cap_add", ())}))
    limits = tuple(sorted(given.pop("ulimits", {}).items()))
    return Bounds(namespaces=namespaces, shm=given.pop("shm_size", None), ulimits=limits, **given)


CONTAINER = made(
    _bounds,
    privileged=Key(Flag(), "all of the host's devices and powers; run wants --allow privileged"),
    cap_add=Key(
        Array(Text(r"(CAP_)?[A-Z][A-Z0-9_]*", "a capability as SYS_PTRACE"), 1),
        "capabilities of the kernel; run wants --allow cap_add",
    ),
    devices=Key(
        Array(Made(Text(r"/dev/[^:\s]+(:/[^:\s]+)?(:[rwm]{1,3})?", "a device, as /dev/infiniband"), _device), 1),
        "devices of the host; run wants --allow devices",
    ),
    ipc=Key(HOST, "host: the host's shared memory; run wants --allow ipc"),
    network=Key(HOST, "host: the host's network; run wants --allow network"),
    pid=Key(HOST, "host: the host's processes; run wants --allow pid"),
    shm_size=Key(Size(), "the size of /dev/shm, in place of what the engine needs"),
    ulimits=Key(Table(Integer(-1), LIMITS, "a limit of Docker's, as memlock"), "limits of its processes; -1 for none"),
)
