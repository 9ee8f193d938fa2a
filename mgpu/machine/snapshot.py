"""This host in, one Machine out: what `run` compiles for."""

from __future__ import annotations

import os
from dataclasses import replace

from mgpu.engines import ENGINES
from mgpu.machine import leases, nvml, ports, software
from mgpu.values.machine import Gpu, Machine


def read(folder: str) -> Machine:
    """The host as it is now; `folder` is the spec's. Never fails for want of a GPU or a driver: `notes` say so."""
    found = nvml.read()
    mask, note = masked(os.environ.get("CUDA_VISIBLE_DEVICES"), found.gpus)
    held = leases.holders([gpu.id for gpu in found.gpus])
    packages = [engine.package for engine in ENGINES if engine.package]
    return Machine(
        os.uname().nodename,
        tuple(replace(gpu, holder=held.get(gpu.id)) for gpu in found.gpus),
        found.links,
        found.driver,
        found.cuda,
        len(os.sched_getaffinity(0)),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        os.path.expanduser("~"),
        folder,
        ports.listening(),
        software.installed(packages),
        mask=mask,
        notes=found.notes + ((note,) if note else ()),
    )


def masked(mask: str | None, gpus: tuple[Gpu, ...]) -> tuple[tuple[str, ...] | None, str | None]:
    """The ids of the GPUs that an inherited CUDA_VISIBLE_DEVICES leaves, and a note about it; None where there is none.

    As CUDA reads it: indices or beginnings of UUIDs, up to the first entry that names no GPU. Indices are taken in the
    order of bus ids.
    """
    if mask is None:
        return None, None
    ids: list[str] = []
    for part in filter(None, (part.strip() for part in mask.split(","))):
        gpu = next((gpu for gpu in gpus if _named(part, gpu)), None)
        if gpu is None:
            break
        ids.append(gpu.id)
    return tuple(ids), f"CUDA_VISIBLE_DEVICES={mask} leaves {len(ids)} of {len(gpus)} GPUs" if gpus else None


def _named(part: str, gpu: Gpu) -> bool:
    uuid = (gpu.uuid or "").lower()
    return part == str(gpu.index) or (part.lower().startswith(("gpu-", "mig-")) and uuid.startswith(part.lower()))
