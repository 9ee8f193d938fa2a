"""The UUIDs of GPUs in, what the driver says of each just now out: memory, processes, utilization, power, temperature.

For a process that goes on for long and must not be held up: the driver's library (NVML) is loaded once, by ctypes, and
asked in a thread. What it does not say is None; nothing here raises. Standard library only: the keeper imports this.
Structures, versions and names are those of nvml.h 12, the codes those of its nvmlReturn_t.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Processes = tuple[tuple[int, int | None], ...]

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
LAYOUTS = {
    "memory": "version:uint32 total:uint64 reserved:uint64 free:uint64 used:uint64",
    "memory_v1": "total:uint64 free:uint64 used:uint64",
    "process": "pid:uint32 memory:uint64 gpu_instance:uint32 compute_instance:uint32",
    "utilization": "gpu:uint32 memory:uint32",
}


class Reading:
    """What the driver says of one GPU: `free` and `used` in bytes, `utilization` in %, `power` in W, `temperature` in
    degrees Celsius; `processes` are those that compute, as (pid, bytes), `graphics` those that draw, as a desktop's."""

    __slots__ = ("free", "graphics", "power", "processes", "temperature", "used", "utilization")

    def __init__(
        self,
        free: int | None = None,
        used: int | None = None,
        utilization: int | None = None,
        power: float | None = None,
        temperature: int | None = None,
        processes: Processes | None = None,
        graphics: Processes | None = None,
    ) -> None:
        self.free, self.used, self.utilization = free, used, utilization
        self.power, self.temperature = power, temperature
        self.processes, self.graphics = processes or (), graphics or ()


class Meter:
    """Asks after these GPUs when it is told to, in a thread; `latest` is the last whole answer, by UUID, and `at` when
    it was asked for (monotonic seconds; 0.0 before the first). A driver that hangs is not asked again meanwhile."""

    def __init__(self, gpus: Iterable[str], path: str = "") -> None:
        """`path` is the LD_LIBRARY_PATH of whoever wants to know, which a process cannot change of its own accord."""
        self.gpus = tuple(gpus)
        self.latest: dict[str, Reading] = {}
        self.at = 0.0
        self.absent = False
        self._path = path
        self._driver: Driver | None = None
        self._since: float | None = None

    def ask(self) -> None:
        """Ask now, unless a question is under way, or there is no driver to ask."""
        if self._since is not None or self.absent or not self.gpus:
            return
        from threading import Thread

        self._since = time.monotonic()
        try:
            Thread(target=self._asked, daemon=True).start()
        except RuntimeError:  # no thread can be had just now
            self._since = None

    def answered(self, since: float) -> bool:
        """Whether what it says was asked for at `since` (monotonic seconds) or later."""
        return self.at >= since

    def _asked(self) -> None:
        began = self._since or 0.0
        try:
            self._driver = self._driver or Driver(self._path)
            self.latest, self.at = {gpu: self._driver.reading(gpu) for gpu in self.gpus}, began
        except (OSError, AttributeError):
            self.absent = True
        finally:
            self._since = None


class Driver:
    """The driver's library, loaded and initialised. Raises OSError where there is none, or where it does not start."""

    def __init__(self, path: str = "") -> None:
        import ctypes

        self._c = ctypes
        self._library: Any = ctypes.CDLL(_found(path))
        self._structures = {name: self._structure(layout) for name, layout in LAYOUTS.items()}
        code = self._library.nvmlInit_v2()
        if code:
            raise OSError(f"NVML does not start: {code}")

    def reading(self, gpu: str) -> Reading:
        """What it says of the GPU now."""
        handle = self._c.c_void_p()
        if self._call("nvmlDeviceGetHandleByUUID", self._c.c_char_p(gpu.encode()), self._c.byref(handle)):
            return Reading()
        memory = self._memory(handle)
        busy = self._filled("nvmlDeviceGetUtilizationRates", handle, self._structures["utilization"]())
        power = self._number("nvmlDeviceGetPowerUsage", handle)
        return Reading(
            memory and int(memory.free),
            memory and int(memory.used),
            busy and int(busy.gpu),
            None if power is None else power / 1000,
            self._number("nvmlDeviceGetTemperature", handle, CORE),
            self._processes(handle, "Compute"),
            self._processes(handle, "Graphics"),
        )

    def _structure(self, layout: str) -> Any:
        fields = [tuple(field.split(":")) for field in layout.split()]
        types = {"uint32": self._c.c_uint32, "uint64": self._c.c_uint64}
        return type("Structure", (self._c.Structure,), {"_fields_": [(name, types[kind]) for name, kind in fields]})

    def _call(self, name: str, *arguments: Any) -> int:
        """The code of a call; that of a function not found where this library has none of the name."""
        try:
            return int(getattr(self._library, name)(*arguments))
        except AttributeError:
            return NO_FUNCTION

    def _filled(self, name: str, handle: Any, structure: Any) -> Any:
        return None if self._call(name, handle, self._c.byref(structure)) else structure

    def _memory(self, handle: Any) -> Any:
        """The newer call leaves the driver's own part out of what is used; the older counts it in."""
        new, old = self._structures["memory"](version=MEMORY_V2), self._structures["memory_v1"]()
        found = self._filled("nvmlDeviceGetMemoryInfo_v2", handle, new)
        return found or self._filled("nvmlDeviceGetMemoryInfo", handle, old)

    def _number(self, name: str, handle: Any, *more: int) -> int | None:
        found = self._c.c_uint32()
        return None if self._call(name, handle, *more, self._c.byref(found)) else found.value

    def _processes(self, handle: Any, kind: str) -> Processes | None:
        for version in ("v3", "v2"):
            count, code = 32, TOO_SMALL
            while code == TOO_SMALL and count < MANY:
                count *= 2
                size, rows = self._c.c_uint32(count), (self._structures["process"] * count)()
                code = self._call(f"nvmlDeviceGet{kind}RunningProcesses_{version}", handle, self._c.byref(size), rows)
            if not code:
                return tuple((row.pid, None if row.memory == UNKNOWN else row.memory) for row in rows[: size.value])
        return None


def _found(path: str) -> str:
    """The library's file where `path` has one, else its name, for the loader to look for."""
    for folder in filter(None, path.split(os.pathsep)):
        if os.path.exists(os.path.join(folder, LIBRARY)):
            return os.path.join(folder, LIBRARY)
    return LIBRARY
