"""The driver's library (NVML) in, Gpus and Links out. What the driver does not say is None; no GPU is no error."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

from mgpu.catalog.gpus import by_nvml_name
from mgpu.machine import processes
from mgpu.values.machine import Gpu, Link, Process

ANCESTORS = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
"""nvmlGpuTopologyLevel_t; 0 is INTERNAL, two GPUs on one board."""
MAX_LINKS = 18
"""NVML_NVLINK_MAX_LINKS up to Hopper and Blackwell."""
READ = 0
"""NVML_P2P_CAPS_INDEX_READ; the binding's own constant is a tuple by mistake."""
NVLINK_GBPS = {1: 20.0, 2: 25.0, 3: 25.0, 4: 25.0, 5: 25.0, 6: 25.0, 7: 26.5625, 8: 50.0}
"""GB/s per direction of one lane, by nvmlNvlinkVersion_t (NVLink 1 to 4, 5): V100 25, A100 25, H100 26.6, B200 50."""


class Found(NamedTuple):
    """What NVML said. `notes` say why there is nothing, or what was left out."""

    gpus: tuple[Gpu, ...] = ()
    links: tuple[Link, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    notes: tuple[str, ...] = ()


def read() -> Found:
    """Every GPU that the driver knows, in the order of their bus ids, which is that of CUDA_DEVICE_ORDER=PCI_BUS_ID."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Found(notes=(_absent(error, pynvml),))
    try:
        return _read(pynvml)
    finally:
        pynvml.nvmlShutdown()


def _absent(error: Exception, nvml: Any) -> str:
    if isinstance(error, nvml.NVMLError_LibraryNotFound):
        return "no NVIDIA driver is installed here (libnvidia-ml.so.1 is not found): no GPU can be used"
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return "the NVIDIA driver is installed but not loaded: nvidia-smi says why, a reboot after an update mends it"
    if isinstance(error, nvml.NVMLError_LibRmVersionMismatch):
        return "the NVIDIA driver was updated while loaded: reboot, or reload its kernel modules"
    return f"the NVIDIA driver does not answer ({error}): nvidia-smi says why"


def _read(nvml: Any) -> Found:
    notes: list[str] = []
    handles: dict[int, Any] = {}
    gpus = []
    for index in range(_ask(nvml, nvml.nvmlDeviceGetCount) or 0):
        try:
            handles[index] = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            gpus.append(_lost(index, error, nvml))
            continue
        gpus.append(_gpu(nvml, index, handles[index]))
    alive = {gpu.index: handles[gpu.index] for gpu in gpus if not gpu.fault}
    cuda = _ask(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2)
    if not gpus:
        notes.append("the NVIDIA driver is loaded and finds no GPU")
    return Found(
        tuple(sorted(gpus, key=lambda gpu: gpu.index)),
        tuple(_links(nvml, alive)),
        _ask(nvml, nvml.nvmlSystemGetDriverVersion),
        f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        tuple(notes),
    )


def _ask(nvml: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers, or None where this driver or card does not."""
    try:
        return call(*arguments)
    except (nvml.NVMLError, UnicodeDecodeError):
        return None


def _lost(index: int, error: Exception, nvml: Any) -> Gpu:
    gone = isinstance(error, nvml.NVMLError_GpuIsLost)
    fault = "is lost: it fell off the bus (the kernel log names the Xid; a reboot brings it back)" if gone else None
    return Gpu(index, "unknown", 0, 0, fault=fault or f"does not answer: {error}")


def _gpu(nvml: Any, index: int, handle: Any) -> Gpu:
    try:
        name = nvml.nvmlDeviceGetName(handle)
        memory, free = _memory(nvml, handle)
    except nvml.NVMLError as error:
        return _lost(index, error, nvml)
    pci = _ask(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    capability = _ask(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    mig = _ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    used = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    power = _ask(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    numa = _ask(nvml, nvml.nvmlDeviceGetNumaNodeId, handle)
    product = by_nvml_name(name)
    return Gpu(
        index,
        name,
        memory,
        free,
        uuid=_ask(nvml, nvml.nvmlDeviceGetUUID, handle),
        bus_id=pci.busId if pci else None,
        product=product.id if product else None,
        compute_capability=tuple(capability) if capability else None,
        numa=numa if numa is not None and 0 <= numa < 4096 else None,
        mig=bool(mig[0]) if mig else False,
        fault=_fault(nvml, handle),
        processes=_processes(nvml, handle),
        utilization=used.gpu if used else None,
        temperature=_ask(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        power=power / 1000 if power is not None else None,
        pcie_generation=_ask(nvml, nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        pcie_width=_ask(nvml, nvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
    )


def _memory(nvml: Any, handle: Any) -> tuple[int, int]:
    """(what CUDA can give out, what of it is free) in bytes. The older call counts the driver's own part as used."""
    try:
        answer = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
        return int(answer.total - answer.reserved), int(answer.free)
    except nvml.NVMLError_GpuIsLost:
        raise
    except (nvml.NVMLError, AttributeError):
        answer = nvml.nvmlDeviceGetMemoryInfo(handle)
        return int(answer.total), int(answer.free)


def _fault(nvml: Any, handle: Any) -> str | None:
    """Why no new work should go here: memory rows that failed, or wait for a reset to be replaced."""
    rows = _ask(nvml, nvml.nvmlDeviceGetRemappedRows, handle)
    if rows and rows[3]:
        return "has memory rows that could not be replaced: the card needs service"
    if rows and rows[2]:
        return "has memory rows that wait to be replaced: reset the GPU"
    return None


def _processes(nvml: Any, handle: Any) -> tuple[Process, ...]:
    """The compute processes; graphics processes, as a desktop's, only take memory."""
    found = _ask(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
    return tuple(Process(p.pid, _name(p.pid), p.usedGpuMemory, processes.run_of(p.pid)) for p in found)


def _name(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _links(nvml: Any, handles: dict[int, Any]) -> list[Link]:
    lanes = {index: _lanes(nvml, handle) for index, handle in handles.items()}
    bus = {_ask_bus(nvml, handle): index for index, handle in handles.items()}
    return [
        link
        for a, b in combinations(handles, 2)
        if (link := _link(nvml, a, b, handles, _between(lanes, bus, a, b))) is not None
    ]


def _ask_bus(nvml: Any, handle: Any) -> str | None:
    pci = _ask(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    return pci.busId if pci else None


def _lanes(nvml: Any, handle: Any) -> list[tuple[str | None, float]]:
    """The active NVLink lanes: the bus id at the other end (None: a switch), and GB/s per direction."""
    found: list[tuple[str | None, float]] = []
    for lane in range(MAX_LINKS):
        state = _ask(nvml, nvml.nvmlDeviceGetNvLinkState, handle, lane)
        if state is None:
            break
        if state:
            kind = _ask(nvml, nvml.nvmlDeviceGetNvLinkRemoteDeviceType, handle, lane)
            remote = _ask(nvml, nvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, lane)
            speed = NVLINK_GBPS.get(_ask(nvml, nvml.nvmlDeviceGetNvLinkVersion, handle, lane) or 0, 25.0)
            found.append((None if kind == 2 or remote is None else remote.busId, speed))
    return found


def _between(
    lanes: dict[int, list[tuple[str | None, float]]], bus: dict[str | None, int], a: int, b: int
) -> tuple[int, float]:
    """(lanes, GB/s) from a to b: those that end there, or all that end in a switch which b is on too."""
    direct = [speed for remote, speed in lanes[a] if remote is not None and bus.get(remote) == b]
    switched = [speed for remote, speed in lanes[a] if remote is None]
    if switched and any(remote is None for remote, _ in lanes[b]):
        return len(switched), sum(switched)
    return len(direct), sum(direct)


def _link(nvml: Any, a: int, b: int, handles: dict[int, Any], nvlink: tuple[int, float]) -> Link | None:
    status = _ask(nvml, nvml.nvmlDeviceGetP2PStatus, handles[a], handles[b], READ)
    p2p = status == 0 if status is not None else None
    count, speed = nvlink
    if count:
        return Link(a, b, "NVLINK", count, speed, p2p)
    level = _ask(nvml, nvml.nvmlDeviceGetTopologyCommonAncestor, handles[a], handles[b])
    return Link(a, b, ANCESTORS[level], 0, None, p2p) if level in ANCESTORS else None
