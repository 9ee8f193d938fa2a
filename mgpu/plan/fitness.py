"""Which GPUs a job may have at all, and in words why not the others."""

from __future__ import annotations

from dataclasses import replace

from mgpu.plan.shares import GIB, holders, left
from mgpu.values.machine import Gpu, Machine
from mgpu.values.spec import Gpus

HIDDEN = 512 * 2**20
"""Unexplained bytes up to which a GPU is free: what the driver itself and a display may take."""


def unusable(gpu: Gpu, machine: Machine, ignore_foreign: bool = False, share: int | None = None) -> str | None:
    """Why no job may have this GPU now, whole or `share` bytes of it, or None. It says the same whatever else the job
    wants."""
    if gpu.fault:
        return gpu.fault
    if gpu.mig:
        return "is split by MIG, which this version does not place on"
    if machine.mask is not None and gpu.id not in machine.mask:
        return "is outside the CUDA_VISIBLE_DEVICES that mgpu was started with"
    if gpu.holder:
        return f"is held by {gpu.holder}"
    if gpu.shared and share is None:
        return f"is shared by {holders(gpu)}"
    sharing = {held.run for held in gpu.shared}
    ours = next((process for process in gpu.processes if process.run not in {None, *sharing}), None)
    if ours:
        return f"is in use by run {ours.run}" + (f" (pid {ours.pid})" if ours.pid else "")
    strange = (None if ignore_foreign else foreign(gpu)) or (crowded(gpu, share) if share else None)
    return strange or (f"is free, and {gpu.awaited}" if gpu.awaited else None)


def crowded(gpu: Gpu, share: int) -> str | None:
    """What of a GPU is left for shares where that is less than `share` bytes, and beside whom; else None."""
    room = left(gpu)
    if room >= share:
        return None
    beside = f" beside {holders(gpu)}" if gpu.shared else ""
    return f"has {room / GIB:.1f} of {gpu.memory / GIB:.1f} GiB left{beside}"


def foreign(gpu: Gpu) -> str | None:
    """What of no run uses this GPU, or None: a process; inside a container, where those may be hidden, also memory."""
    others = [process for process in gpu.processes if process.run is None]
    seen = next((process for process in others if process.pid or gpu.unexplained is None), None)
    if seen:
        return f"is in use by {seen.name or 'a process'}" + (f" (pid {seen.pid})" if seen.pid else "")
    if gpu.unexplained and gpu.unexplained > HIDDEN + sum(held.bytes for held in gpu.shared):
        return f"has {gpu.unexplained / GIB:.1f} GiB in use by something outside this container"
    return "is in use by a process outside this container" if others else None


def unfit(gpu: Gpu, wanted: Gpus) -> str | None:
    """Why this GPU is not what the job wants, or None."""
    if wanted.ids and not names(wanted.ids, gpu):
        return "is not one of ids"
    if wanted.name and not is_called(gpu, wanted.name):
        return f"is a {gpu.name}"
    if wanted.memory and gpu.free < wanted.memory:
        return f"has {gpu.free / GIB:.1f} GiB free"
    return None


def names(ids: tuple[str, ...], gpu: Gpu) -> bool:
    """Whether one of `ids` is this GPU: its index, its UUID, or the beginning of its UUID."""
    uuid = (gpu.uuid or "").lower()
    return any(each == str(gpu.index) or (len(each) > 7 and uuid.startswith(each.lower())) for each in ids)


def is_called(gpu: Gpu, name: str) -> bool:
    """Whether `name` is in the GPU's name or in its catalogue id, spaces, hyphens and case aside."""
    plain = _plain(name)
    return plain in _plain(gpu.name) or plain in _plain(gpu.product or "")


def _plain(text: str) -> str:
    return text.lower().replace("-", "").replace(" ", "").replace("_", "")


def permanent(gpu: Gpu, machine: Machine, wanted: Gpus) -> str | None:
    """Why this GPU will not do however long one waits, or None."""
    busy = unusable(gpu, machine, share=wanted.share)
    lasting = gpu.fault or gpu.mig or (machine.mask is not None and gpu.id not in machine.mask)
    least = wanted.memory or wanted.share
    too_small = f"has {gpu.memory / GIB:.1f} GiB" if least and gpu.memory < least else None
    return (busy if lasting else None) or unfit(gpu, replace(wanted, memory=None)) or too_small
