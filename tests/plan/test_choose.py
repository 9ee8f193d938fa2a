"""The search for sets of GPUs against trying everything, and on sizes where trying everything would never end."""

from __future__ import annotations

import json
import os
from itertools import combinations, product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgpu.catalog.machines import shorthand
from mgpu.errors import NoRoom
from mgpu.plan import place
from mgpu.plan.choose import Chosen, Wish, choose
from mgpu.plan.links import UNKNOWN, Links
from mgpu.plan.matching import matched
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import LINK_KINDS, Gpu, Link, Machine

CASES = 5_000 if os.environ.get("MGPU_SOAK") else 300
LAW = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    gpus = tuple(Gpu(index, "H100", 80, 80, uuid=f"GPU-{index:08x}") for index in range(draw(st.integers(1, 6))))
    kinds = st.sampled_from(("NVLINK", "NVLINK", "PHB", "SYS", None))
    drawn = [(a, b, draw(kinds)) for a, b in combinations(range(len(gpus)), 2)]
    return Machine("m", gpus, tuple(Link(a, b, kind, 1) for a, b, kind in drawn if kind))


@st.composite
def wishes(draw: st.DrawFn, machine: Machine) -> list[Wish]:
    names = "abcd"[: draw(st.integers(1, 4))]
    pairs = {pair for pair in combinations(names, 2) if draw(st.integers(0, 3))}
    found = []
    for name in names:
        allowed = tuple(gpu for gpu in machine.gpus if draw(st.integers(0, 4)))
        rank = draw(st.sampled_from((0, LINK_KINDS.index("PHB"), UNKNOWN, UNKNOWN)))
        apart = frozenset(other for other in names if {(name, other), (other, name)} & pairs)
        found.append(Wish(name, draw(st.integers(0, 3)), allowed, rank, apart))
    return found


def sound(wanted: list[Wish], chosen: dict[str, Chosen], links: Links) -> bool:
    """Whether every wish has what it asked for, and no two of the same time have the same GPU."""
    for wish in wanted:
        gpus = set(chosen[wish.task])
        if len(gpus) != wish.count or not gpus <= set(wish.allowed) or links.worst(chosen[wish.task]) > wish.rank:
            return False
        if any(gpus & set(chosen[other]) for other in wish.apart):
            return False
    return True


@LAW
@given(st.data())
def test_a_way_is_found_if_there_is_one(data: st.DataObject) -> None:
    machine = data.draw(machines())
    wanted, links = data.draw(wishes(machine)), Links(machine)
    every = product(*(combinations(wish.allowed, wish.count) for wish in wanted))
    ways = (dict(zip([wish.task for wish in wanted], sets, strict=True)) for sets in every)
    exists = any(sound(wanted, way, links) for way in ways)
    chosen = choose(wanted, links, {})
    assert (chosen is not None) == exists
    assert chosen is None or sound(wanted, chosen, links)


@LAW
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 31)), max_size=4))
def test_demands_are_matched_if_they_can_be(demands: list[tuple[int, int]]) -> None:
    choices = [[sum(bits) for bits in combinations([1 << at for at in range(5) if room >> at & 1], count)]
               for count, room in demands]  # fmt: skip
    exists = any(sum(way).bit_count() == sum(map(int.bit_count, way)) and not overlap(way) for way in product(*choices))
    assert matched(demands) == exists


def overlap(way: tuple[int, ...]) -> bool:
    return any(a & b for a, b in combinations(way, 2))


PIPES = {
    "1,000 and 24 of 1,024": ({"a": {"gpus": 1000}, "b": {"gpus": 24}}, "1024xh100", True),
    "1,000 and 25 of 1,024": ({"a": {"gpus": 1000}, "b": {"gpus": 25}}, "1024xh100", False),
    "256 x 4 of 1,024": ({"a": {"gpus": 4, "replicas": 256}}, "1024xh100", True),
    "200 x 5 by NVLink, of islands of 8": (
        {"a": {"gpus": {"count": 5, "link": "nvlink"}, "replicas": 200}},
        "1024xh100",
        False,
    ),
    "7 x 3 by NVLink, of islands of 8": (
        {"a": {"gpus": {"count": 3, "link": "nvlink"}, "replicas": 7}},
        "24xh100",
        False,
    ),
    "8 x 3 by NVLink, of cards that have none": (
        {"a": {"gpus": {"count": 3, "link": "nvlink"}, "replicas": 8}},
        "64xl4",
        False,
    ),
    "a chain of 255 beside a server": (
        {
            **{f"j{at}": {"gpus": 4, "needs": {f"j{at + 1}": "done"} if at < 254 else {}} for at in range(255)},
            "s": {"gpus": 4},
        },
        "8xh100",
        True,
    ),
}


@pytest.mark.parametrize("name", PIPES)
def test_large_sizes_come_to_an_end(name: str) -> None:
    jobs, machine, fits = PIPES[name]
    jobs = {job: {"kind": "task", "command": ["x"], **given} for job, given in jobs.items()}
    spec = check(read("s", json.dumps({"kind": "pipeline", "jobs": jobs})))
    if not fits:
        with pytest.raises(NoRoom):
            place(spec, shorthand(machine))
        return
    plan = place(spec, shorthand(machine))
    assert len(plan.tasks) == sum(job.replicas for job in spec.jobs)
