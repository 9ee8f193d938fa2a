"""The driver's library (NVML) in, how well each GPU does out: its slot, its clocks, its memory, its NVLinks.

Apart from the facts that plans are made of (mgpu.machine.nvml): these change by the minute, and only `doctor` asks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mgpu.machine.ask import ask
from mgpu.machine.links import MAX_LINKS

UNCORRECTED, VOLATILE = 1, 0
"""NVML_MEMORY_ERROR_TYPE_UNCORRECTED; NVML_VOLATILE_ECC: since the driver was loaded."""


class Health(NamedTuple):
    """One GPU, by its NVML index. Generations and widths of PCIe: `now`, the `most` that card and slot can do together,
    and what the `card` alone could; `throttled` is a mask of nvmlClocksEventReasons; `uncorrected` memory errors since
    the driver was loaded; `remapped` rows: for correctable errors, uncorrectable ones, pending, failed; `nvlinks` that
    are up; `drawn` is the memory (bytes) of graphics processes."""

    uuid: str | None
    generation_now: int | None = None
    generation_most: int | None = None
    generation_card: int | None = None
    width_now: int | None = None
    width_most: int | None = None
    state: int | None = None
    throttled: int | None = None
    persistent: bool | None = None
    uncorrected: int | None = None
    remapped: tuple[int, int, int, int] | None = None
    retiring: bool | None = None
    nvlinks: int = 0
    drawn: int = 0


def read() -> tuple[Health, ...]:
    """Every GPU that answers; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [ask("nvmlDeviceGetHandleByIndex", index) for index in range(ask("nvmlDeviceGetCount") or 0)]
        return tuple(_health(handle) for handle in handles if handle)
    finally:
        ask("nvmlShutdown")


def _health(handle: Any) -> Health:
    reasons = ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
    persistent = ask("nvmlDeviceGetPersistenceMode", handle)
    rows = ask("nvmlDeviceGetRemappedRows", handle)
    retiring = ask("nvmlDeviceGetRetiredPagesPendingStatus", handle)
    return Health(
        ask("nvmlDeviceGetUUID", handle),
        ask("nvmlDeviceGetCurrPcieLinkGeneration", handle),
        ask("nvmlDeviceGetMaxPcieLinkGeneration", handle),
        ask("nvmlDeviceGetGpuMaxPcieLinkGeneration", handle),
        ask("nvmlDeviceGetCurrPcieLinkWidth", handle),
        ask("nvmlDeviceGetMaxPcieLinkWidth", handle),
        ask("nvmlDeviceGetPerformanceState", handle),
        ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle) if reasons is None else reasons,
        None if persistent is None else bool(persistent),
        ask("nvmlDeviceGetTotalEccErrors", handle, UNCORRECTED, VOLATILE),
        tuple(rows) if rows else None,
        None if retiring is None else bool(retiring),
        sum(bool(ask("nvmlDeviceGetNvLinkState", handle, lane)) for lane in range(MAX_LINKS)),
        sum(each.usedGpuMemory or 0 for each in ask("nvmlDeviceGetGraphicsRunningProcesses_v3", handle) or ()),
    )
