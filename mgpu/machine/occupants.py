"""A GPU's handle in, the processes that compute on it out, by the names that people know them by; and what is hidden.

In a container with process ids of its own the driver lists no processes of others, or the ids that they have on the
host, where the same number may be somebody else's here (NVIDIA/nvidia-docker#1483).
"""

from __future__ import annotations

import os
import re
from typing import Any

from mgpu.machine import processes
from mgpu.machine.ask import ask
from mgpu.values.machine import Process

NAMESPACE = "/proc/self/ns/pid"
INITIAL = "pid:[4026531836]"
"""Where that leads to on the host itself: PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h."""


def of(handle: Any) -> tuple[Process, ...]:
    """The compute processes, by pid. Graphics processes, as a desktop's, are left out: they only take memory."""
    found = ask("nvmlDeviceGetComputeRunningProcesses_v3", handle)
    if found is None:
        found = ask("nvmlDeviceGetComputeRunningProcesses_v2", handle) or ()
    return tuple(_process(each.pid, each.usedGpuMemory) for each in sorted(found, key=lambda each: int(each.pid)))


def unexplained(used: int, found: tuple[Process, ...]) -> int | None:
    """The bytes of `used` that none of the processes seen here has; None on the host, where every process is seen, and
    where the driver does not say what one of them has."""
    sizes = [process.memory for process in found if process.pid is not None]
    known = [size for size in sizes if size is not None]
    return None if on_host() or len(known) < len(sizes) else max(0, used - sum(known))


def on_host() -> bool:
    """Whether process ids are the host's own, as the driver tells them: not in a container, but for --pid=host."""
    try:
        return os.readlink(NAMESPACE) == INITIAL
    except OSError:
        return False


def _process(pid: int, memory: int | None) -> Process:
    """The process `pid`; nobody known where that may be a number of the host's, and not of this container."""
    if not seen(pid):
        return Process(None, None, memory)
    return Process(pid, named(pid), memory, processes.run_of(pid))


def seen(pid: int) -> bool:
    """Whether a pid that the driver tells is that process here."""
    return on_host() or _has_driver(pid)


def _has_driver(pid: int) -> bool:
    """Whether the process `pid` of this container has the driver open, as everything that computes does."""
    folder = f"/proc/{pid}/fd"
    try:
        files = os.listdir(folder)
    except OSError:
        return False
    return any(_target(f"{folder}/{file}").startswith("/dev/nvidia") for file in files)


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def named(pid: int) -> str | None:
    """The process's own name; of a Python also the script or module that it runs. None where it is not seen."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().split("\0")[1:]
    except OSError:
        return None
    return f"{name} {_program(words)}".strip() if re.fullmatch(r"python[0-9.]*", name) else name


def _program(words: list[str]) -> str:
    """What a Python was asked to run: the first word that is no option, or the module after -m; no code after -c."""
    for at, word in enumerate(words):
        if word == "-m":
            return words[at + 1] if at + 1 < len(words) else ""
        if word == "-c":
            return ""
        if not word.startswith("-"):
            return os.path.basename(word)
    return ""
