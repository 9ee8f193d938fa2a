"""A number in, a machine and a pipeline out that are drawn from it: what the laws of placement are tried on.

Run as a program, it prints the plan of each number that it reads, for a comparison with those of another process.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from random import Random
from typing import Any

from mgpu.errors import NoRoom
from mgpu.machine.file import dump
from mgpu.plan import place
from mgpu.spec.check import check
from mgpu.values.document import Document
from mgpu.values.machine import LINK_KINDS, Gpu, Link, Machine, Process
from mgpu.values.plan import Plan
from mgpu.values.spec import Spec

GIB = 2**30
BLEMISHES: tuple[dict[str, Any], ...] = (
    {"mig": True},
    {"fault": "is lost"},
    {"holder": "run x"},
    {"processes": (Process(7, "python"),)},
    {"processes": (Process(7, "python", GIB, "x-1"),)},
    {"unexplained": 3 * GIB},
)
"""Each keeps a GPU from every job."""


@dataclass(frozen=True)
class Case:
    """A machine, and the jobs of a pipeline as a spec has them; `number` is what it was drawn from."""

    machine: Machine
    jobs: dict[str, dict[str, Any]]
    number: int = -1

    @cached_property
    def spec(self) -> Spec:
        return check(Document("drawn", "", {"kind": "pipeline", "jobs": self.jobs}, {}, {}))

    def on(self, machine: Machine) -> Case:
        """The same jobs on another machine."""
        other = Case(machine, self.jobs)
        other.__dict__["spec"] = self.spec
        return other

    def placed(self) -> Plan | None:
        """The plan, or None where there is no room."""
        try:
            return place(self.spec, self.machine)
        except NoRoom:
            return None

    def told(self) -> str:
        """All that a person is told: the tasks, or why there is no room."""
        try:
            return repr(place(self.spec, self.machine).tasks)
        except NoRoom as refusal:
            return f"{refusal.message}\n{refusal.hint}\n{refusal.ever}"

    def report(self) -> str:
        """The case in words that can be saved as a machine file and a spec."""
        jobs = "\n".join(f"  {name}: {json.dumps(job)}" for name, job in self.jobs.items())
        return f"{dump(self.machine)}---\nkind: pipeline\njobs:\n{jobs}\n"


def case(number: int) -> Case:
    """The case of this number; the same in every process."""
    random = Random(number)
    box = machine(random)
    made = Case(box, pipeline(random, box)) if random.random() < 0.8 else knotty(random)
    return replace(made, number=number)


def knotty(random: Random) -> Case:
    """Jobs that want well joined sets of a machine that has few: who takes the first one must often turn back."""
    count = random.randint(5, 8)
    gpus = tuple(Gpu(index, "NVIDIA H100", 80 * GIB, 80 * GIB, f"GPU-{index:08x}-0000") for index in range(count))
    kinds = (("NVLINK", 1), (random.choice(("PHB", "SYS")), 0))
    joined = tuple(Link(a, b, *random.choice(kinds)) for a, b in combinations(range(count), 2))
    jobs: dict[str, dict[str, Any]] = {}
    while count > 1 and len(jobs) < 5:
        wanted = random.randint(1, min(3, count))
        link = {"link": "nvlink"} if random.random() < 0.8 else {}
        needs = {name: "done" for name in jobs if random.random() < 0.1}
        count -= 0 if needs else wanted
        job = {"kind": "task", "command": ["x"], "gpus": {"count": wanted, **link}, "needs": needs}
        jobs["abcde"[len(jobs)]] = job
    return Case(Machine("box", gpus, joined), jobs)


def machine(random: Random) -> Machine:
    """A machine of up to eight GPUs; on half of them nothing but perhaps a mask keeps a GPU from jobs."""
    count, sound, alike = random.randint(random.choice((0, 3, 5)), 8), random.random() < 0.5, random.random() < 0.5
    places = random.sample(range(1, 250), count)
    order = random.choice((None, sorted(places), sorted(places), places))
    gpus = []
    for index in range(count):
        name, product = ("NVIDIA H100", "h100-sxm") if alike or random.random() < 0.5 else ("RTX 4090", "rtx-4090")
        free = 80 if alike else random.choice((10, 40, 80))
        blemish: dict[str, Any] = {} if sound or random.random() < 0.7 else random.choice(BLEMISHES)
        gpus.append(
            Gpu(
                index,
                name,
                80 * GIB,
                free * GIB,
                uuid=f"GPU-{random.getrandbits(32):08x}-{index:04x}",
                bus_id=f"00000000:{order[index]:02X}:00.0" if order else None,
                product=product,
                **{"unexplained": random.choice((None, 0, GIB // 4)), **blemish},
            )
        )
    masked = random.sample(gpus, random.randint(1, count)) if count and random.random() < 0.25 else None
    mask = None if masked is None else tuple(gpu.id for gpu in masked)
    return Machine("box", tuple(gpus), links(random, count), mask=mask)


def links(random: Random, count: int) -> tuple[Link, ...]:
    """How the pairs are joined: not known, each as it comes, all alike, or islands that are joined better within."""
    kinds = (*LINK_KINDS, None)
    style = random.choice(("unknown", "any", "any", "alike", "islands", "islands", "islands"))
    size, within = random.choice((2, 2, 3, 4)), random.choice(("NVLINK", "NVLINK", "PIX", "PXB"))
    between = random.choice(("PHB", "NODE", "SYS", None))
    found = []
    for a, b in combinations(range(count), 2):
        if style == "any":
            kind = random.choice(kinds)
        else:
            kind = {"unknown": None, "alike": within}.get(style, within if a // size == b // size else between)
        if kind:
            found.append(Link(a, b, kind, random.choice((2, 4)) if kind == "NVLINK" else 0))
    return tuple(found)


def pipeline(random: Random, box: Machine) -> dict[str, dict[str, Any]]:
    """One to five jobs with their needs, whose wishes are for what `box` has, more or less."""
    jobs: dict[str, dict[str, Any]] = {}
    for name in "abcde"[: random.choice((1, 2, 2, 3, 3, 4, 5))]:
        gpus = wish(random, box)
        job = {"kind": "task", "command": ["x"], "gpus": gpus}
        several = isinstance(gpus, int) or ("ids" not in gpus and gpus.get("count") != "all")
        if several and random.random() < 0.15:
            job["replicas"] = random.randint(2, 3)
        needed = random.sample(sorted(jobs), min(len(jobs), random.choice((0, 0, 1, 1, 2))))
        job["needs"] = {other: random.choice(("started", "ready", "done", "done")) for other in needed}
        jobs[name] = job
    return jobs


def wish(random: Random, box: Machine) -> Any:
    """What a job asks for under `gpus`."""
    count: Any = random.choice((0, 1, 1, 1, 2, 2, 2, 3, 4))
    if random.random() < 0.08:
        count = "all"
    if box.gpus and random.random() < 0.08:
        wanted = random.sample(box.gpus, min(len(box.gpus), random.randint(1, 3)))
        return {"ids": [random.choice((str(gpu.index), gpu.id, gpu.id[:12])) for gpu in wanted]}
    found: dict[str, Any] = {"count": count}
    if random.random() < 0.25:
        found["memory"] = random.choice(("5GiB", "20GiB", "60GiB"))
    if random.random() < 0.2:
        found["name"] = random.choice(("h100", "h100-sxm", "4090"))
    if random.random() < 0.35:
        found["link"] = random.choice(("nvlink", "nvlink", "pix", "phb", "sys"))
    return found


def remade(given: Case) -> Case:
    """The same case of other objects, made in another order: equal to it in all but their places in memory."""
    machine = given.machine
    backwards = [replace(gpu) for gpu in reversed(machine.gpus)]
    links = [link._replace() for link in reversed(machine.links)]
    return Case(replace(machine, gpus=tuple(backwards[::-1]), links=tuple(links[::-1])), copy.deepcopy(given.jobs))


def smallest(given: Case, broken: Callable[[Case], bool]) -> Case:
    """The case with as many jobs and GPUs left out as can be while it is still `broken`."""
    return next((smallest(less, broken) for less in _smaller(given) if broken(less)), given)


def _smaller(given: Case) -> Iterator[Case]:
    machine, jobs = given.machine, given.jobs
    for name in jobs if len(jobs) > 1 else ():
        rest = {other: dict(job) for other, job in jobs.items() if other != name}
        for job in rest.values():
            job["needs"] = {other: state for other, state in job["needs"].items() if other != name}
        yield Case(machine, rest)
    for gpu in machine.gpus:
        gpus = tuple(other for other in machine.gpus if other is not gpu)
        links = tuple(link for link in machine.links if gpu.index not in link[:2])
        mask = None if machine.mask is None else tuple(each for each in machine.mask if each != gpu.id)
        yield Case(replace(machine, gpus=gpus, links=links, mask=mask), jobs)


def digest(text: str) -> str:
    """A short name of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    for line in sys.stdin:
        print(digest(case(int(line)).told()))
