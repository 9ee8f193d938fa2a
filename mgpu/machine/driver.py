"""The UUIDs of GPUs in, what the driver says of each out: a line of JSON for each line of standard input.

A program of its own, ``python -I -S driver.py UUID...``, for whoever must not be held up by a driver that hangs, nor
have what its library takes: since it loads CUDA (driver 580) that is 19 MiB and not given back. Standard library only.
What the driver does not say is null, and so is the whole answer where there is none. Structures, versions and names
are those of nvml.h 12, the codes those of its nvmlReturn_t.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIBRARY = "libnvidia-ml.so.1"
TOO_SMALL, NO_FUNCTION = 7, 13
"""NVML_ERROR_INSUFFICIENT_SIZE, NVML_ERROR_FUNCTION_NOT_FOUND."""
MANY = 2**16
"""More processes than one GPU has."""
MEMORY_V2 = 0x02000028
"""nvmlMemory_v2: the size of the structure, 40 bytes, and the version 2 in the highest byte."""
UNKNOWN = 2**64 - 1
"""NVML_VALUE_NOT_AVAILABLE: the driver does not know how much a process has."""
CORE = 0
"""NVML_TEMPERATURE_GPU."""


class Memory(ctypes.Structure):
    """nvmlMemory_v2_t: what is used is less the driver's own part."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64),
        ("free", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
    )


class OldMemory(ctypes.Structure):
    """nvmlMemory_t: the driver's own part counts as used."""

    _fields_ = (("total", ctypes.c_uint64), ("free", ctypes.c_uint64), ("used", ctypes.c_uint64))


class Process(ctypes.Structure):
    """nvmlProcessInfo_v2_t, of the calls' versions 2 and 3."""

    _fields_ = (
        ("pid", ctypes.c_uint32),
        ("memory", ctypes.c_uint64),
        ("gpu_instance", ctypes.c_uint32),
        ("compute_instance", ctypes.c_uint32),
    )


class Utilization(ctypes.Structure):
    """nvmlUtilization_t, in %."""

    _fields_ = (("gpu", ctypes.c_uint32), ("memory", ctypes.c_uint32))


class Driver:
    """The driver's library, initialised once. Raises OSError where there is none, or where it does not start."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        code = self._call("nvmlInit_v2")
        if code:
            raise OSError(f"NVML does not start: {code}")

    def reading(self, gpu: str) -> dict[str, Any]:
        """What it says of the GPU now, by the names of meter.Reading."""
        handle = ctypes.c_void_p()
        if self._call("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(gpu.encode()), ctypes.byref(handle)):
            return {}
        memory = self._memory(handle)
        busy = self._filled("nvmlDeviceGetUtilizationRates", handle, Utilization())
        power = self._number("nvmlDeviceGetPowerUsage", handle)
        return {
            "free": memory.free if memory else None,
            "used": memory.used if memory else None,
            "utilization": busy.gpu if busy else None,
            "power": None if power is None else power / 1000,
            "temperature": self._number("nvmlDeviceGetTemperature", handle, CORE),
            "processes": self._processes(handle, "Compute"),
            "graphics": self._processes(handle, "Graphics"),
        }

    def _call(self, name: str, *arguments: Any) -> int:
        """The code of a call; that of a function not found where this library has none of the name."""
        try:
            return int(getattr(self._library, name)(*arguments))
        except AttributeError:
            return NO_FUNCTION

    def _filled(self, name: str, handle: Any, structure: Any) -> Any:
        return None if self._call(name, handle, ctypes.byref(structure)) else structure

    def _memory(self, handle: Any) -> Any:
        found = self._filled("nvmlDeviceGetMemoryInfo_v2", handle, Memory(version=MEMORY_V2))
        return found or self._filled("nvmlDeviceGetMemoryInfo", handle, OldMemory())

    def _number(self, name: str, handle: Any, *more: int) -> int | None:
        found = ctypes.c_uint32()
        return None if self._call(name, handle, *more, ctypes.byref(found)) else found.value

    def _processes(self, handle: Any, kind: str) -> list[tuple[int, int | None]] | None:
        """The pid and the bytes of each."""
        for version in ("v3", "v2"):
            count, code = 32, TOO_SMALL
            while code == TOO_SMALL and count < MANY:
                count *= 2
                size, rows = ctypes.c_uint32(count), (Process * count)()
                code = self._call(f"nvmlDeviceGet{kind}RunningProcesses_{version}", handle, ctypes.byref(size), rows)
            if not code:
                return [(row.pid, None if row.memory == UNKNOWN else row.memory) for row in rows[: size.value]]
        return None


def main(gpus: list[str]) -> int:
    """Answer each line until there are no more."""
    try:
        driver = Driver()
    except OSError:
        os.write(1, b"null\n")
        return 1
    while os.read(0, 1):
        os.write(1, json.dumps({gpu: driver.reading(gpu) for gpu in gpus}).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
