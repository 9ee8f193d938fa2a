"""What must hold between the jobs of a spec: needs that can be met, ports that differ, references that resolve."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from mgpu.engines import engine_named
from mgpu.spec.nearest import did_you_mean
from mgpu.spec.notes import Notes
from mgpu.spec.references import OPEN, PARTS, asked, texts
from mgpu.values.mark import Path
from mgpu.values.spec import Job

MOST_TASKS = 256
"""Jobs and their replicas in one spec; a machine of this kind runs a few dozen at most."""

MOST_ADDRESSES = 50_000
"""References filled in, in all tasks together: a few lines could ask for gigabytes of them."""


def between_jobs(jobs: tuple[Job, ...], notes: Notes, *, pipeline: bool) -> None:
    """Note every problem between `jobs`, which are sound one by one."""
    if (tasks := sum(job.replicas for job in jobs)) > MOST_TASKS:
        notes.add(f"this spec starts {tasks:,} tasks, and {MOST_TASKS} are the most", (), "split it into several specs")
        return
    known = {job.name: job for job in jobs}
    addresses = 0
    for job in jobs:
        if not pipeline and job.needs:
            notes.add("only a pipeline's job can need another job", (*job.path, "needs"), "remove needs", key=True)
            return
        _needs(job, known, notes)
        addresses += job.replicas * _references(job, known, notes)
        _counts(job, notes)
    if addresses > MOST_ADDRESSES:
        notes.add(f"the references of this spec stand for {addresses:,} addresses", (), "refer to fewer jobs")
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
        elif state == "done" and known[name].restart.policy == "always":
            notes.add(f"{name} is always restarted and is never done", path, f"restart: on-failure, in {name}")


def _references(job: Job, known: dict[str, Job], notes: Notes) -> int:
    """Note what is wrong with the job's references, and count the addresses that they stand for."""
    addresses = 0
    for path, text in texts(job):
        pairs = asked(text)
        if len(pairs) != text.count(OPEN):
            notes.add("this reference is never closed", path, "write ${jobs.NAME.url}")
        for name, part in pairs:
            if name not in known:
                notes.add(f"there is no job {name!r} to refer to", path, did_you_mean(name, known))
            elif not part:
                notes.add(f"${{jobs.{name}}} does not say what of {name}", path, f"${{jobs.{name}.url}}")
            elif part not in PARTS:
                notes.add(f"a job has no {part!r}", path, did_you_mean(part, PARTS))
            elif part != "host" and port_of(known[name]) is None:
                notes.add(f"{name} has no port, so it has no {part}", path, f"give {name} a port:")
            else:
                addresses += known[name].replicas if part == "urls" else 1
    return addresses


def _counts(job: Job, notes: Notes) -> None:
    """Note sizes that do not multiply to the number of GPUs, and replicas that would all want every GPU."""
    engine, count = engine_named(job.engine), job.gpus.count
    dimensions, own = engine.dimensions, engine.degrees(job)
    sizes = {name: size for name, size in job.parallel._asdict().items() if size is not None and name != "expert"}
    sizes |= own
    product = prod(sizes.values())
    free = [name for name in dimensions if name not in sizes and name != "expert"]
    if count and sizes and (count % product if free else count != product):
        words = " x ".join(f"{name} {size}" for name, size in sizes.items())
        path: Path = (*job.path, "parallel" if any(job.parallel) else "args")
        notes.add(f"a layout of {words} is {product} GPUs, and gpus is {count}", path, f"gpus: {product}")
    if count is None and not job.gpus.fewest and job.replicas > 1:
        path = (*job.path, "replicas")
        notes.add(f"each of {job.replicas} replicas cannot have all GPUs", path, "gpus: a number, for each replica")


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
    """Note a circle of needs, if there is one: it is in what is left when all that can start has been taken away."""
    left = {name: [other for other in job.needs if other in known and other != name] for name, job in known.items()}
    while able := [name for name, needs in left.items() if not any(other in left for other in needs)]:
        for name in able:
            del left[name]
    trail: list[str] = []
    name = next(iter(left), "")
    while name and name not in trail:
        trail.append(name)
        name = next(other for other in left[name] if other in left)
    if name:
        circle = " -> ".join((*trail[trail.index(name) :], name))
        notes.add(f"these jobs wait for each other: {circle}", (*known[trail[-1]].path, "needs", name), key=True)


def _ports(jobs: tuple[Job, ...], notes: Notes) -> None:
    taken: dict[int, list[Job]] = {}
    over = before(jobs)
    for job in jobs:
        first = port_of(job)
        if first is None:
            continue
        path = (*job.path, "port") if job.port else (*job.path, "engine")
        if first + job.replicas > 65536:
            notes.add(
                f"{job.replicas} replicas need ports up to {first + job.replicas - 1}", path, "give a lower port:"
            )
            continue
        for port in range(first, first + job.replicas):
            beside = (other for other in taken.get(port, ()) if not _apart(job, other, over))
            if other := next(beside, None):
                notes.add(f"port {port} is taken by {other.name}", path, _another(max(taken) + 1, job))
                break
            taken.setdefault(port, []).append(job)


def _apart(one: Job, other: Job, over: dict[str, frozenset[str]]) -> bool:
    """Whether one of them is over before the other starts."""
    return one.name in over[other.name] or other.name in over[one.name]


def _another(port: int, job: Job) -> str:
    return f"port: {port}" if port + job.replicas <= 65536 else "give another port:"
