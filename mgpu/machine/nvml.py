"""The driver's library (NVML) in, Gpus and Links out. What the driver does not say is None; no GPU is no error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from mgpu.catalog.gpus import by_nvml_name, usable
from mgpu.machine import links, occupants
from mgpu.machine.ask import Device, ask
from mgpu.values.machine import Gpu, Link

REMEDIES = {
    "LibraryNotFound": "no NVIDIA driver library (libnvidia-ml.so.1) is installed here: no GPU can be used. "
    "On a machine with a GPU install the driver; a container wants --gpus all",
    "DriverNotLoaded": "the NVIDIA driver is installed but not loaded: run modprobe nvidia as root, or reboot",
    "LibRmVersionMismatch": "the NVIDIA driver was updated while it was loaded: reboot, or reload its kernel modules",
    "NoPermission": "this user may not ask the NVIDIA driver: look at the mode of /dev/nvidiactl",
    "Unknown": "the NVIDIA driver answers Unknown Error: a container loses its GPUs when systemd reloads on the host; "
    "restart it (NVIDIA/nvidia-container-toolkit#48)",
}
"""What to do when NVML does not start, by pynvml's name of the error."""
LOST = "is lost: it fell off the bus"
UNCORRECTED, VOLATILE = 1, 0
"""NVML_MEMORY_ERROR_TYPE_UNCORRECTED; NVML_VOLATILE_ECC: since the driver was loaded."""


class Found(NamedTuple):
    """What NVML said. `notes` say why there is nothing, or what a person should know."""

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
        kind = type(error).__name__.removeprefix("NVMLError_")
        return Found(notes=(REMEDIES.get(kind, f"the NVIDIA driver does not answer: {error}; nvidia-smi may say why"),))
    try:
        return _found()
    finally:
        ask("nvmlShutdown")


def _found() -> Found:
    devices = _by_bus([_device(index) for index in range(ask("nvmlDeviceGetCount") or 0)])
    gpus = tuple(device.gpu for device in devices)
    cuda = ask("nvmlSystemGetCudaDriverVersion_v2")
    return Found(
        gpus,
        links.between(devices),
        ask("nvmlSystemGetDriverVersion"),
        f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        tuple(_notes(devices)),
    )


def _by_bus(devices: list[Device]) -> list[Device]:
    """Indices in the order of bus ids. A GPU whose bus id is not known keeps the index that NVML gives it."""
    places = [device.gpu.index for device in devices if device.gpu.bus_id]
    known = sorted((device for device in devices if device.gpu.bus_id), key=lambda device: device.gpu.bus_id or "")
    moved = [device._replace(gpu=replace(device.gpu, index=index)) for index, device in zip(places, known, strict=True)]
    nameless = [device for device in devices if not device.gpu.bus_id]
    return sorted((*moved, *nameless), key=lambda device: device.gpu.index)


def _device(index: int) -> Device:
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        return Device(None, Gpu(index, "unknown GPU", 0, 0, fault=_words(error)))
    try:
        memory, free = _memory(handle)
        return Device(handle, _gpu(index, handle, memory, free))
    except pynvml.NVMLError as error:
        return Device(None, replace(_gpu(index, handle, 0, 0), fault=_words(error)))


def _words(error: Exception) -> str:
    return LOST if type(error).__name__ == "NVMLError_GpuIsLost" else f"does not answer: {error}"


def _memory(handle: Any) -> tuple[int, int]:
    """(what CUDA can give out, what of it is free) in bytes. Raises NVMLError where neither call answers.

    The older call counts the driver's own part as used, and does not say how much that is.
    """
    import pynvml

    try:
        new = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        return int(new.total - new.reserved), int(new.free)
    except pynvml.NVMLError:
        old = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return max(usable(int(old.total)), int(old.free)), int(old.free)


def _gpu(index: int, handle: Any, memory: int, free: int) -> Gpu:
    name = ask("nvmlDeviceGetName", handle) or "unknown GPU"
    product = by_nvml_name(name, memory or None)
    pci = ask("nvmlDeviceGetPciInfo", handle)
    used = ask("nvmlDeviceGetUtilizationRates", handle)
    mig = ask("nvmlDeviceGetMigMode", handle)
    power = ask("nvmlDeviceGetPowerUsage", handle)
    processes = occupants.of(handle)
    return Gpu(
        index,
        name,
        memory,
        free,
        uuid=ask("nvmlDeviceGetUUID", handle),
        bus_id=pci.busId if pci else None,
        product=product.id if product else None,
        compute_capability=ask("nvmlDeviceGetCudaComputeCapability", handle),
        numa=_numa(handle),
        mig=bool(mig[0]) if mig else None,
        fault=_worn(handle),
        processes=processes,
        unexplained=occupants.unexplained(memory - free, processes),
        utilization=used.gpu if used else None,
        temperature=ask("nvmlDeviceGetTemperatureV", handle, 0) or ask("nvmlDeviceGetTemperature", handle, 0),
        power=power / 1000 if power is not None else None,
        pcie_generation=ask("nvmlDeviceGetMaxPcieLinkGeneration", handle),
        pcie_width=ask("nvmlDeviceGetCurrPcieLinkWidth", handle),
    )


def _numa(handle: Any) -> int | None:
    """The node whose memory is nearest. (nvmlDeviceGetNumaNodeId is something else: the GPU's own node, on Grace.)"""
    nodes = ask("nvmlDeviceGetMemoryAffinity", handle, 1, 0)
    mask = nodes[0] if nodes else 0
    return (mask & -mask).bit_length() - 1 if mask else None


def _worn(handle: Any) -> str | None:
    """Why no new work should go here: memory that failed, or that waits for a reset to be replaced."""
    rows = ask("nvmlDeviceGetRemappedRows", handle)
    if rows and rows[3]:
        return "has memory rows that could not be replaced: the card needs service"
    if (rows and rows[2]) or ask("nvmlDeviceGetRetiredPagesPendingStatus", handle):
        return "has broken memory that a reset would replace: nvidia-smi --gpu-reset, or reboot"
    return None


def _notes(devices: list[Device]) -> Iterator[str]:
    if not devices:
        yield "the NVIDIA driver is loaded and finds no GPU: lspci shows whether there is one"
    for handle, gpu in devices:
        if gpu.fault == LOST:
            yield f"GPU {gpu.index} is lost: the kernel log says why (dmesg, Xid), and only a reboot brings it back"
        errors = ask("nvmlDeviceGetTotalEccErrors", handle, UNCORRECTED, VOLATILE) if handle else None
        if errors:
            yield f"GPU {gpu.index} has had {errors} uncorrected memory errors since the driver was loaded"
