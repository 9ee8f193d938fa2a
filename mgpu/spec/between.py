"""What must hold between the jobs of a spec: needs that can be met, ports that differ, references that resolve."""

from __future__ import annotations

from collections.abc import Iterable

from mgpu.engines import engine_named
from mgpu.spec.nearest import did_you_mean
from mgpu.spec.notes import Notes
from mgpu.spec.references import PARTS, asked, texts
from mgpu.values.mark import Path
from mgpu.values.spec import Job


def between_jobs(jobs: tuple[Job, ...], notes: Notes, *, pipeline: bool) -> None:
    """Note every problem between `jobs`, which are sound one by one."""
    known = {job.name: job for job in jobs}
    for job in jobs:
        if not pipeline and job.needs:
            notes.add("only a pipeline's job can need another job", (*job.path, "needs"), "remove needs", key=True)
            return
        _needs(job, known, notes)
        _references(job, known, notes)
        _counts(job, notes)
    _cycles(known, notes)
    _ports(jobs, notes)


def _needs(job: Job, known: dict[str, Job], notes: Notes) -> None:
    for name, state in job.needs.items():
        path: Path = (*job.path, "needs", name)
        if name == job.name:
            notes.add(f"{job.name} cannot need itself", path, key=True)
        elif name not in known:
            notes.add(f"there is no job {name!r}", path, did_you_mean(name, known), key=True)
        elif state == "done" and known[name].serves:
            notes.add(f"{name} is a server and is never done", path, f"{name}: ready")


def _references(job: Job, known: dict[str, Job], notes: Notes) -> None:
    for path, text in texts(job):
        for name, part in asked(text):
            if name not in known:
                notes.add(f"there is no job {name!r} to refer to", path, did_you_mean(name, known))
            elif not part:
                notes.add(f"${{jobs.{name}}} does not say what of {name}", path, f"${{jobs.{name}.url}}")
            elif part not in PARTS:
                notes.add(f"a job has no {part!r}", path, did_you_mean(part, PARTS))
            elif part != "host" and port_of(known[name]) is None:
                notes.add(f"{name} has no port, so it has no {part}", path, f"give {name} a port:")


def _counts(job: Job, notes: Notes) -> None:
    sizes = [size for size in job.parallel[:3] if size is not None]
    product = 1
    for size in sizes:
        product *= size
    count = job.gpus.count
    if count and sizes and (product > count or (None not in job.parallel[:3] and product != count)):
        words = " x ".join(str(size) for size in sizes)
        notes.add(
            f"a layout of {words} is {product} GPUs, and gpus is {count}", (*job.path, "parallel"), f"gpus: {product}"
        )


def port_of(job: Job) -> int | None:
    """The port of the job's first replica: its own, else the engine's usual one."""
    return job.port or engine_named(job.engine).port


def before(jobs: Iterable[Job]) -> dict[str, frozenset[str]]:
    """For every job the jobs that are over before it starts: those it needs done, directly or through others."""
    known = {job.name: job for job in jobs}
    over: dict[str, frozenset[str]] = {}

    def find(name: str, above: tuple[str, ...]) -> frozenset[str]:
        if name in over or name in above:
            return over.get(name, frozenset())
        found: set[str] = set()
        for other, state in ((o, s) for o, s in known[name].needs.items() if o in known):
            found |= find(other, (*above, name)) | ({other} if state == "done" else set())
        over[name] = frozenset(found)
        return over[name]

    for name in known:
        find(name, ())
    return over


def _cycles(known: dict[str, Job], notes: Notes) -> None:
    """Note the first circle of needs, if there is one."""
    finished: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> bool:
        if name in trail:
            circle = " -> ".join((*trail[trail.index(name) :], name))
            notes.add(f"these jobs wait for each other: {circle}", (*known[trail[-1]].path, "needs", name), key=True)
            return True
        if name not in finished:
            finished.add(name)
            return any(walk(other, (*trail, name)) for other in known[name].needs if other in known and other != name)
        return False

    any(walk(name, ()) for name in known)


def _ports(jobs: tuple[Job, ...], notes: Notes) -> None:
    taken: dict[int, Job] = {}
    over = before(jobs)
    for job in jobs:
        first = port_of(job) or 0
        for port in range(first, first + job.replicas) if first else ():
            other = taken.setdefault(port, job)
            if other is not job and other.name not in over[job.name] and job.name not in over[other.name]:
                path = (*job.path, "port") if job.port else (*job.path, "engine")
                notes.add(f"port {port} is taken by {other.name}", path, f"port: {max(taken) + 1}")
                break
            if port > 65535:
                notes.add(f"{job.replicas} replicas need ports up to {first + job.replicas - 1}", (*job.path, "port"))
                break
