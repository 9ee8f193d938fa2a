"""Laws of the queue: nobody earlier is delayed, nobody waits for what nobody earlier wants, somebody always goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from mgpu.plan.hopes import holds, left_by, plain, wants_of
from mgpu.plan.turn import ahead, enough, ordered, spoken_for
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import Gpu, Machine
from mgpu.values.queue import Waiter, Want
from mgpu.values.spec import Spec

LAW = settings(max_examples=5_000 if os.environ.get("MGPU_SOAK") else 200, deadline=None)
GPUS = ("a", "b", "c", "d")
NOW = 100.0
times = st.one_of(st.none(), st.integers(1, 6).map(float))


@st.composite
def waiters(draw: st.DrawFn) -> list[Waiter]:
    """Waiters in their order."""
    found = []
    for number in range(draw(st.integers(0, 4))):
        wants = []
        for _ in range(draw(st.integers(1, 2))):
            of = draw(st.frozensets(st.sampled_from(GPUS), min_size=1))
            wants.append(Want(draw(st.integers(1, len(of))), of))
        found.append(waiter(f"w{number}", *wants, lasts=draw(times), number=number, priority=draw(st.integers(0, 2))))
    return ordered(found)


def waiter(
    run: str, *wants: Want, lasts: float | None = None, number: int = 0, priority: int = 0, name: str = "x"
) -> Waiter:
    return Waiter(run, name, "ada", 0.0, priority, number, wants, lasts)


ends = st.dictionaries(st.sampled_from(GPUS), times.map(lambda time: None if time is None else NOW + time))


@dataclass
class Simulated:
    """An independent reckoning: by trying every set of GPUs at every second."""

    held: dict[str, float | None]

    def starts(self, queue: list[Waiter]) -> dict[str, float]:
        """When each of those starts of whom it can be told, one after the other, each as early as there is room."""
        kept: dict[str, list[tuple[float, float]]] = {gpu: [] for gpu in GPUS}
        for gpu, end in self.held.items():
            kept[gpu].append((NOW, float("inf") if end is None else end))
        found = {}
        for each in queue:
            slot = self.slot(each, kept) if each.lasts is not None else None
            if slot:
                found[each.run] = slot[0]
            for gpu in slot[1] if slot else each.uses:
                kept[gpu].append((slot[0], slot[0] + (each.lasts or 0)) if slot else (NOW, float("inf")))
        return found

    def slot(self, each: Waiter, kept: dict[str, list[tuple[float, float]]]) -> tuple[float, tuple[str, ...]] | None:
        count = sum(want.amount for want in each.wants)
        lasts = each.lasts or 0
        for second in range(40):
            start = NOW + second
            free = [g for g in GPUS if all(end <= start or start + lasts <= begin for begin, end in kept[g])]
            for chosen in combinations(free, count):
                if satisfied(list(each.wants), set(chosen)):
                    return start, chosen
        return None


def satisfied(wants: list[Want], gpus: set[str]) -> bool:
    if not wants:
        return True
    sets = combinations(sorted(wants[0].of & gpus), wants[0].amount)
    return any(satisfied(wants[1:], gpus - set(chosen)) for chosen in sets)


@LAW
@given(waiters(), ends, times, st.data())
def test_nobody_earlier_is_delayed(
    earlier: list[Waiter], held: dict[str, float | None], lasts: float | None, data: st.DataObject
) -> None:
    spoken = spoken_for(earlier, held, NOW, lasts)
    left = [gpu for gpu in GPUS if gpu not in spoken and gpu not in held]
    taken = data.draw(st.lists(st.sampled_from(left), unique=True)) if left else []
    without = Simulated(held).starts(earlier)
    after = {**held, **dict.fromkeys(taken, None if lasts is None else NOW + lasts)}
    assert Simulated(after).starts(earlier) == without
    unknown = [each for each in earlier if each.run not in without]
    assert not [each for each in unknown if each.uses & set(taken)]
    if lasts is None:
        assert not [each for each in earlier if each.uses & set(taken)]


@LAW
@given(waiters(), ends, times)
def test_what_nobody_earlier_wants_can_be_had(
    earlier: list[Waiter], held: dict[str, float | None], lasts: float | None
) -> None:
    spoken = spoken_for(earlier, held, NOW, lasts)
    assert spoken.keys() <= frozenset().union(*(each.uses for each in earlier))
    assert all(gpu in each.uses for gpu, each in spoken.items())
    assert lasts is not None or spoken.keys() == frozenset().union(*(each.uses for each in earlier))


@LAW
@given(waiters(), times)
def test_on_a_machine_that_nobody_holds_the_first_can_go(queue: list[Waiter], lasts: float | None) -> None:
    if queue:
        assert spoken_for(ahead(queue, queue[0].place), {}, NOW, lasts) == {}
        assert enough(queue[0].wants, GPUS) == satisfied(list(queue[0].wants), set(GPUS))


@LAW
@given(waiters())
def test_the_order_is_total_and_priority_comes_first(queue: list[Waiter]) -> None:
    assert [len(ahead(queue, each.place)) for each in queue] == list(range(len(queue)))
    assert [each.priority for each in queue] == sorted((each.priority for each in queue), reverse=True)
    assert all(a.number < b.number for a, b in combinations(queue, 2) if a.priority == b.priority)


def test_a_short_job_goes_before_a_long_one_that_cannot_start_yet() -> None:
    large = waiter("large", Want(2, frozenset("ab")), lasts=50.0)
    held = {"b": NOW + 30}
    assert spoken_for([large], held, NOW, lasts=30.0) == {}
    assert spoken_for([large], held, NOW, lasts=31.0) == {"a": large, "b": large}
    assert spoken_for([large], held, NOW, lasts=None) == {"a": large, "b": large}
    assert spoken_for([large], {"b": None}, NOW, lasts=1.0) == {"a": large, "b": large}
    assert spoken_for([large._replace(lasts=None)], held, NOW, lasts=1.0).keys() == {"a", "b"}


def spec(text: str) -> Spec:
    return check(read("spec.yaml", text))


def test_what_a_spec_will_want() -> None:
    machine = Machine("m", tuple(Gpu(i, "A" if i else "B", 2**34, 2**34, uuid=f"GPU-{i}") for i in range(3)))
    every = frozenset(gpu.id for gpu in machine.gpus)
    task = "kind: task\ncommand: ['true']\n"
    assert wants_of(spec(task), machine) == ()
    assert wants_of(spec(task + "port: 80\n"), machine) == (Want(1, frozenset({"port-80"})),)
    assert wants_of(spec(task + "gpus: 2"), machine) == (Want(2, every),)
    assert wants_of(spec(task + "gpus: all"), machine) == (Want(1, every),)
    assert wants_of(spec(task + "gpus: {count: 1, name: A}"), machine) == (Want(1, every - {"GPU-0"}),)
    assert wants_of(spec(task + "gpus: {ids: [0, 2]}"), machine) == (Want(2, every - {"GPU-1"}),)


def test_how_long_a_spec_holds_what_it_gets() -> None:
    task = "kind: task\ncommand: ['true']\ngpus: 1\n"
    assert holds(spec(task)) is None
    assert holds(spec(task + "timeout: 60s\nstop_grace: 5s")) == 70.0
    assert holds(spec(task + "timeout: 60s\nstop_grace: 5s\nreplicas: 2")) == 135.0
    assert plain(spec(task))
    assert not plain(spec(task.replace("gpus: 1", "gpus: all")))
    assert not plain(spec(task.replace("gpus: 1", "gpus: {count: 2, link: nvlink}")))
    assert not plain(spec(task.replace("gpus: 1", "gpus: {share: 2GiB}")))


def test_what_is_spoken_for_is_told_with_the_reason() -> None:
    from mgpu.plan.fitness import unusable

    machine = Machine("m", (Gpu(0, "A", 2**34, 2**34, uuid="GPU-0"), Gpu(1, "A", 2**34, 2**34, uuid="GPU-1")))
    left = left_by(machine, {"GPU-0": waiter("r", name="llm", priority=3), "port-80": waiter("r")})
    assert "is free, and run llm of ada has waited for it with priority 3 since" in str(unusable(left.gpus[0], left))
    assert unusable(left.gpus[1], left) is None
    assert left.leased == (80,)
