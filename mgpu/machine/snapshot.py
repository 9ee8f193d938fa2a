"""This host in, one Machine out: what `run` compiles for."""

from __future__ import annotations

import os
from dataclasses import replace

from mgpu.engines import engine_named, every
from mgpu.machine import daemon, leases, mask, measured, nvml, ports, processes, software
from mgpu.values.machine import Gpu, Held, Machine, Process
from mgpu.values.memory import MIB
from mgpu.values.spec import Spec

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container finds the memory it may use: cgroup v2, v1."""


def read(folder: str, spec: Spec | None = None) -> Machine:
    """The host as it is now; `folder` is the spec's, and of software only what `spec` may run is looked for. Never
    fails for want of a GPU or a driver: `notes` say so."""
    found, known = nvml.read(), measured.read()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    held, parts = leases.read([gpu.id for gpu in found.gpus])
    engines = every() if spec is None else [engine_named(job.engine) for job in spec.jobs]
    packages = [engine.package for engine in engines if engine.package]
    pythons = sorted({job.python for job in spec.jobs if job.python}) if spec else ()
    masked = visible is not None and bool(found.gpus)
    here = Machine(
        os.uname().nodename,
        tuple(_leased(gpu, held.get(gpu.id), parts.get(gpu.id, [])) for gpu in found.gpus),
        measured.on_links(found.links, found.gpus, known.links),
        found.driver,
        found.cuda,
        len(os.sched_getaffinity(0)),
        _memory(),
        os.path.expanduser("~"),
        os.path.abspath(folder),
        f"{os.getuid()}:{os.getgid()}",
        ports.listening(),
        leases.ports(),
        software.installed(packages),
        tuple((python, software.installed(packages, software.beside(python, folder))) for python in pythons),
        daemon.read(),
        mask=None if visible is None else tuple(gpu.id for gpu in mask.left(visible, found.gpus)),
        notes=found.notes + ((mask.note(visible or "", found.gpus),) if masked else ()) + known.notes,
        corrections=known.corrections,
    )
    return _with_models(here, spec) if spec else here


def _leased(gpu: Gpu, holder: str | None, parts: list[leases.Part]) -> Gpu:
    """The GPU with who has leased it, or parts of it."""
    if not parts:
        return replace(gpu, holder=holder)
    shared = tuple(Held(p.mib * MIB, str(p), p.start * MIB, p.by.run if p.by else None) for p in parts)
    return replace(gpu, shared=shared, processes=tuple(_attributed(process, parts) for process in gpu.processes))


def _attributed(process: Process, parts: list[leases.Part]) -> Process:
    """A process whose marks this user may not read, as that of who holds a part: another user's, or a container's."""
    if process.run is not None or process.pid is None or processes.legible(process.pid):
        return process
    uid = processes.owner(process.pid)
    whose = next((part.by.run for part in parts if part.by and (part.by.boxed or part.by.uid == uid)), None)
    return process._replace(run=whose)


def _with_models(machine: Machine, spec: Spec) -> Machine:
    """What the files of the spec's models say; of those whose sizes the spec gives itself nothing is read."""
    from mgpu.machine import models

    names = (engine_named(job.engine).model(job) for job in spec.jobs if not job.model_facts)
    return models.attached(machine, filter(None, names), machine.folder or ".")


def _memory() -> int:
    """The bytes of memory that jobs may use: the host's, or what this container was given of it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *(limit for limit in map(_limit, LIMITS) if limit)])


def _limit(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
