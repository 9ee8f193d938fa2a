"""A GPU's handle in, the processes that compute on it out, by the names that people know them by."""

from __future__ import annotations

import os
import re
from typing import Any

from mgpu.machine import processes
from mgpu.machine.ask import ask
from mgpu.values.machine import Process


def of(handle: Any) -> tuple[Process, ...]:
    """The compute processes, by pid. Graphics processes, as a desktop's, are left out: they only take memory."""
    found = ask("nvmlDeviceGetComputeRunningProcesses_v3", handle)
    if found is None:
        found = ask("nvmlDeviceGetComputeRunningProcesses_v2", handle) or ()
    return tuple(
        Process(each.pid, named(each.pid), each.usedGpuMemory, processes.run_of(each.pid))
        for each in sorted(found, key=lambda each: int(each.pid))
    )


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
