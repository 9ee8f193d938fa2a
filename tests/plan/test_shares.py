"""Shares of GPUs: the search against trying everything, and what holds of every plan that has some."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import chain, combinations, product
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgpu.catalog.machines import shorthand
from mgpu.errors import NoRoom
from mgpu.plan import place
from mgpu.plan.choose import Chosen, Wish, choose
from mgpu.plan.fitness import unusable
from mgpu.plan.links import UNKNOWN, Links
from mgpu.plan.shares import Sharing, at_once, left
from mgpu.spec.between import before
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import Gpu, Held, Machine, Process
from mgpu.values.plan import Plan

CASES = 5_000 if os.environ.get("MGPU_SOAK") else 200
LAW = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
GIB = 2**30


def heaviest(sharing: list[Sharing]) -> int:
    """The most that some take at once, by trying all sets of them."""
    sets = chain.from_iterable(combinations(sharing, count) for count in range(len(sharing) + 1))
    apart = (some for some in sets if all(a.task in b.apart for a, b in combinations(some, 2)))
    return max(sum(one.share for one in some) for some in apart)


@st.composite
def timed(draw: st.DrawFn) -> list[Sharing]:
    names = "abcdefg"[: draw(st.integers(0, 7))]
    pairs = {frozenset(pair) for pair in combinations(names, 2) if draw(st.booleans())}
    apart = {name: frozenset(other for other in names if {name, other} in pairs) for name in names}
    return [Sharing(name, draw(st.integers(1, 9)), apart[name]) for name in names]


@LAW
@given(timed())
def test_what_overlaps_in_time_adds_up(sharing: list[Sharing]) -> None:
    assert at_once(sharing) == heaviest(sharing)


@st.composite
def wished(draw: st.DrawFn) -> tuple[list[Wish], Machine, dict[int, int]]:
    machine = Machine("m", tuple(Gpu(index, "H100", 80, 80) for index in range(draw(st.integers(1, 3)))))
    names = "abcd"[: draw(st.integers(1, 4))]
    pairs = {frozenset(pair) for pair in combinations(names, 2) if draw(st.integers(0, 3))}
    wishes = []
    for name in names:
        apart = frozenset(other for other in names if frozenset((name, other)) in pairs)
        allowed = tuple(gpu for gpu in machine.gpus if draw(st.integers(0, 4)))
        share = draw(st.one_of(st.none(), st.sampled_from((2, 3, 4, 6, 9))))
        wishes.append(Wish(name, draw(st.integers(0, 2)), allowed, UNKNOWN, apart, share))
    return wishes, machine, {gpu.index: draw(st.integers(0, 10)) for gpu in machine.gpus}


def sound(wishes: list[Wish], chosen: dict[str, Chosen], rooms: dict[int, int]) -> bool:
    """Whether every wish has its count, no whole GPU is given twice at a time, nor more shares than there is room."""
    if any(len(chosen[w.task]) != w.count or not set(chosen[w.task]) <= set(w.allowed) for w in wishes):
        return False
    for one, other in combinations(wishes, 2):
        whole = None in (one.share, other.share)
        if whole and other.task in one.apart and set(chosen[one.task]) & set(chosen[other.task]):
            return False
    for index, room in rooms.items():
        here = [w.sharing for w in wishes if w.share and index in {gpu.index for gpu in chosen[w.task]}]
        if heaviest(here) > room:
            return False
    return True


@LAW
@given(wished())
def test_a_way_is_found_if_there_is_one(drawn: tuple[list[Wish], Machine, dict[int, int]]) -> None:
    wishes, machine, rooms = drawn
    every = product(*(combinations(wish.allowed, wish.count) for wish in wishes))
    ways = (dict(zip([wish.task for wish in wishes], sets, strict=True)) for sets in every)
    exists = any(sound(wishes, way, rooms) for way in ways)
    chosen = choose(wishes, Links(machine), rooms)
    assert (chosen is not None) == exists
    assert chosen is None or sound(wishes, chosen, rooms)


@st.composite
def pipelines(draw: st.DrawFn) -> str:
    """A pipeline of tasks with shares and whole GPUs, some after others."""
    jobs: dict[str, object] = {}
    for name in "abcde"[: draw(st.integers(1, 5))]:
        share = draw(st.sampled_from((None, "6GiB", "10GiB", "16GiB")))
        count = draw(st.integers(1, 2))
        needs = {other: "done" for other in jobs if not draw(st.integers(0, 3))}
        gpus: object = count if share is None else {"count": count, "share": share}
        jobs[name] = {"kind": "task", "command": ["x"], "gpus": gpus, "needs": needs}
    return json.dumps({"kind": "pipeline", "name": "p", "jobs": jobs})


def planned(text: str, machine: Machine) -> Plan | None:
    try:
        return place(check(read("p", text)), machine)
    except NoRoom:
        return None


@LAW
@given(pipelines(), st.integers(1, 4), st.sampled_from((0, 5, 9)))
def test_shares_never_exceed_a_gpu_and_never_meet_a_whole_one(text: str, count: int, held: int) -> None:
    machine = shorthand(f"{count}xrtx-4090")
    if held:
        beside = replace(machine.gpus[0], shared=(Held(held * GIB, "run x", 0, "x"),))
        machine = replace(machine, gpus=(beside, *machine.gpus[1:]))
    plan = planned(text, machine)
    larger = replace(machine, gpus=(*machine.gpus, replace(machine.gpus[-1], index=count)))
    assert plan is None or planned(text, larger), "one more GPU took the room away"
    assert plan == planned(text, machine)
    if plan is None:
        return
    over = before(task.job for task in plan.tasks)
    for gpu in machine.gpus:
        here = [task for task in plan.tasks if gpu.index in {one.index for one in task.gpus}]
        together = [
            (a, b) for a, b in combinations(here, 2) if a.name not in over[b.name] and b.name not in over[a.name]
        ]
        assert not any(None in (a.job.gpus.share, b.job.gpus.share) for a, b in together)
        names = {one.name: frozenset(o.name for pair in together if one in pair for o in pair) for one in here}
        sharing = [Sharing(t.name, t.job.gpus.share, names[t.name] - {t.name}) for t in here if t.job.gpus.share]
        assert heaviest(sharing) <= left(gpu)
        assert not gpu.shared or len(sharing) == len(here), "a whole GPU on one that is shared"
        whole = len(sharing) < len(here)
        assert dict(plan.shares).get(gpu.id) == (None if whole or not here else heaviest(sharing))
    for task in plan.tasks:
        assert all(one.budget is None or one.budget <= one.free for one in task.gpus)


GPU = Gpu(2, "H100", 80 * GIB, 80 * GIB, uuid="GPU-2")


def beside(*shares: tuple[int, int | None], **facts: object) -> Gpu:
    """The GPU with shares of so many GiB, each from so many on."""
    held = tuple(Held(size * GIB, "run x", None if at is None else at * GIB, "x") for size, at in shares)
    return replace(GPU, shared=held, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("gpu", "room"), [
    (GPU, 80),
    (beside((20, 0)), 60),
    (beside((20, 0), free=70 * GIB), 50),  # of no run: a desktop
    (beside((20, 0), free=62 * GIB, processes=(Process(7, "vllm", 18 * GIB, "x"),)), 60),
    (beside((20, 0), free=58 * GIB, processes=(Process(7, "vllm", 22 * GIB, "x"),)), 58),  # more than its share
    (beside((20, 0), free=60 * GIB, processes=(Process(7, "vllm", 18 * GIB, "x"),)), 58),
    (beside((20, 0), free=62 * GIB, processes=(Process(7, "vllm", None, "x"),)), 60),
    (beside((20, 0), free=62 * GIB, unexplained=18 * GIB), 60),
    (beside((20, 30)), 30),  # in the middle: no piece is larger
    (beside((20, None)), 60),
])  # fmt: skip
def test_what_is_left(gpu: Gpu, room: int) -> None:
    assert left(gpu) == room * GIB


def test_whom_a_share_is_refused_for() -> None:
    machine = SimpleNamespace(mask=None)
    gpu = beside((68, 0), processes=(Process(7, "vllm", GIB, "x"),), free=79 * GIB)
    words = "has 12.0 of 80.0 GiB left beside run x (68.0 GiB)"
    assert unusable(gpu, machine, share=13 * GIB) == words  # type: ignore[arg-type]
    assert unusable(gpu, machine, share=12 * GIB) is None  # type: ignore[arg-type]
    assert unusable(gpu, machine) == "is shared by run x (68.0 GiB)"  # type: ignore[arg-type]
    stranger = replace(gpu, processes=(*gpu.processes, Process(8, "python")))
    assert unusable(stranger, machine, share=GIB) == "is in use by python (pid 8)"  # type: ignore[arg-type]
    held = replace(GPU, holder="run y")
    assert unusable(held, machine, share=GIB) == "is held by run y"  # type: ignore[arg-type]


def chosen(text: str, machine: Machine) -> list[int]:
    return [gpu.index for gpu in place(check(read("p", text)), machine).tasks[0].gpus]


def test_a_share_goes_where_others_are_and_fills_the_fullest() -> None:
    spec = "{kind: task, command: [x], gpus: {share: 10GiB}}"
    first, second, third, fourth = shorthand("4xh100").gpus
    gpus = (first, replace(second, shared=(Held(20 * GIB, "a", 0),)), replace(third, shared=(Held(60 * GIB, "b", 0),)))
    assert chosen(spec, replace(shorthand("4xh100"), gpus=(*gpus, fourth))) == [2]
    assert chosen(spec.replace("10", "40"), replace(shorthand("4xh100"), gpus=(*gpus, fourth))) == [1]
    assert chosen(spec.replace("10", "70"), replace(shorthand("4xh100"), gpus=(*gpus, fourth))) == [0]


SIZES = {
    "256 of 1 GiB on four cards": ({"a": {"gpus": {"share": "1GiB"}, "replicas": 256}}, "4xh100", True),
    "9 of 30 GiB on four that hold two": ({"a": {"gpus": {"share": "30GiB"}, "replicas": 9}}, "4xh100", False),
    "100 of 20 GiB beside 39 whole of 64": (
        {"a": {"gpus": {"share": "20GiB"}, "replicas": 75}, "b": {"gpus": 39}},
        "64xh100",
        True,
    ),
    "one more of them": ({"a": {"gpus": {"share": "20GiB"}, "replicas": 76}, "b": {"gpus": 39}}, "64xh100", False),
    "a chain of 100 beside a server": (
        {
            **{f"j{at}": {"gpus": {"share": "50GiB"}, "needs": {f"j{at + 1}": "done"} if at < 99 else {}}
               for at in range(100)},
            "s": {"gpus": {"share": "20GiB"}},
        },
        "1xh100",
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_large_sizes_come_to_an_end(name: str) -> None:
    jobs, machine, fits = SIZES[name]
    jobs = {job: {"kind": "task", "command": ["x"], **given} for job, given in jobs.items()}
    spec = json.dumps({"kind": "pipeline", "jobs": jobs})
    assert (planned(spec, shorthand(machine)) is not None) == fits
