"""This host in, one Machine out: what `run` compiles for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from mgpu.engines import ENGINES
from mgpu.machine import daemon, leases, mask, nvml, ports, software
from mgpu.values.machine import Machine

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container finds the memory it may use: cgroup v2, v1."""


def read(folder: str, pythons: Iterable[str] = ()) -> Machine:
    """The host as it is now; `folder` is the spec's, `pythons` are the interpreters that it names. Never fails for want
    of a GPU or a driver: `notes` say so."""
    found = nvml.read()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    held = leases.holders([gpu.id for gpu in found.gpus])
    packages = [engine.package for engine in ENGINES if engine.package]
    masked = visible is not None and bool(found.gpus)
    return Machine(
        os.uname().nodename,
        tuple(replace(gpu, holder=held.get(gpu.id)) for gpu in found.gpus),
        found.links,
        found.driver,
        found.cuda,
        len(os.sched_getaffinity(0)),
        _memory(),
        os.path.expanduser("~"),
        os.path.abspath(folder),
        f"{os.getuid()}:{os.getgid()}",
        ports.listening(),
        leases.ports(),
        software.installed(packages),
        tuple((python, software.installed(packages, software.beside(python, folder))) for python in pythons),
        daemon.read(),
        mask=None if visible is None else tuple(gpu.id for gpu in mask.left(visible, found.gpus)),
        notes=found.notes + ((mask.note(visible or "", found.gpus),) if masked else ()),
    )


def _memory() -> int:
    """The bytes of memory that jobs may use: the host's, or what this container was given of it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *(limit for limit in map(_limit, LIMITS) if limit)])


def _limit(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
