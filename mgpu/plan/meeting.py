"""Placed tasks in, the same with the ports at which the ranks of each meet out. Nobody chose them, so the name does."""

from __future__ import annotations

import zlib
from dataclasses import replace

from mgpu.engines import engine_named
from mgpu.values.machine import Machine
from mgpu.values.plan import Task

FIRST, COUNT = 20_000, 10_000
"""Where such ports are taken from: below those that Linux gives to outgoing connections (32768 to 60999)."""
BOXED = 29_500
"""In a container, which has its ports to itself, the launchers' usual one."""


def meeting(name: str, tasks: dict[str, Task], machine: Machine) -> dict[str, Task]:
    """The tasks of the spec called `name`; those whose engine wants one have a port that nothing else uses here."""
    taken = {*machine.ports, *machine.leased, *(task.port for task in tasks.values() if task.port)}
    placed = {}
    for task in tasks.values():
        port = None
        if engine_named(task.job.engine).rendezvous:
            port = BOXED if task.secluded else _free(f"{name}/{task.name}", taken)
            taken |= set() if task.secluded else {port}
        placed[task.name] = replace(task, rendezvous=port)
    return placed


def _free(seed: str, taken: set[int]) -> int:
    """The first free port from the one that the text stands for on, the same on every host; that one where all are
    taken, for the start to tell."""
    start = zlib.crc32(seed.encode())
    ports = (FIRST + (start + step) % COUNT for step in range(COUNT))
    return next((port for port in ports if port not in taken), FIRST + start % COUNT)
