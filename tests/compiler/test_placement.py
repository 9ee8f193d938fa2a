"""The laws of placement, each over 5,000 drawn machines and specs in every run; and that these are of many kinds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from mgpu.plan import choose
from mgpu.plan.links import Links
from mgpu.spec.between import before
from mgpu.values.machine import LINK_KINDS, Gpu, Link, Machine
from mgpu.values.plan import Plan
from mgpu.values.spec import Gpus
from tests.compiler import drawn
from tests.compiler.drawn import GIB, Case

CASES = 25_000 if os.environ.get("MGPU_SOAK") else 5_000
LAW = settings(
    max_examples=CASES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
"""A case is told whole by its number, and made smaller as a case: a smaller number is no smaller case."""
NUMBER = st.integers(0, 2**64 - 1)
ROOT = Path(__file__).parents[2]

Law = Callable[[Case], bool]
"""Whether the case is one that the law is about; raises AssertionError where it does not hold."""
Tried = Callable[[str, Law], None]
KINDS = ("all", "at once", "busy GPUs", "ids", "link", "mask", "memory", "name", "one after the other", "replicas",
         "turned back", "uneven links")  # fmt: skip
"""Of each at least one case in a hundred."""


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each search for GPUs, as they come, had to turn back."""
    turns: list[bool] = []

    class Watched(choose._Search):
        def found(self) -> Any:
            found = super().found()
            turns.append(self.turned)
            return found

    monkeypatch.setattr(choose, "_Search", Watched)
    return turns


@pytest.fixture
def tried(turned: list[bool], capsys: pytest.CaptureFixture[str]) -> Iterator[Tried]:
    """Try a law on CASES cases that it is about. What they were is printed, and must be rich."""
    said = []

    def carry_out(name: str, law: Law) -> None:
        began, tally = time.monotonic(), Counter[str]()

        @LAW
        @given(NUMBER)
        def each(number: int) -> None:
            case = drawn.case(number)
            turned.clear()
            tally["drawn"] += 1
            assume(holds(law, case))
            tally.update(["cases", *kinds(case), *(["turned back"] if any(turned) else [])])

        each()
        seconds = time.monotonic() - began
        counts = ", ".join(f"{kind} {tally[kind]:,}" for kind in KINDS)
        said.append(f"{name}: {tally['cases']:,} cases of {tally['drawn']:,} drawn, {seconds:.1f} s; {counts}")
        assert tally["cases"] >= CASES
        assert not [kind for kind in KINDS if tally[kind] < CASES // 100], "some kinds of case are too few"

    yield carry_out
    with capsys.disabled():
        print("", *said, sep="\n  ")


def holds(law: Law, given: Case) -> bool:
    """What the law says of the case; where it is broken, the test fails with the smallest case that breaks it too."""
    try:
        return law(given)
    except AssertionError:
        small = drawn.smallest(given, lambda less: breaks(law, less))
    except BaseException:
        print(given.report())
        raise
    print(small.report())
    return law(small)


def breaks(law: Law, given: Case) -> bool:
    try:
        law(given)
    except AssertionError:
        return True
    return False


def kinds(given: Case) -> Iterator[str]:
    """What is of note in a case."""
    box, jobs = given.machine, given.jobs
    wishes = {name: job["gpus"] for name, job in jobs.items() if job["gpus"].get("count") != 0}
    yield from sorted({key for gpus in wishes.values() for key in gpus if key != "count"})
    if any(gpus.get("count") == "all" for gpus in wishes.values()):
        yield "all"
    if any({a, b} <= wishes.keys() for a, b in at_once(given)):
        yield "at once"
    if any("replicas" in job for job in jobs.values()):
        yield "replicas"
    if any("done" in job["needs"].values() for job in jobs.values()):
        yield "one after the other"
    if box.mask is not None:
        yield "mask"
    if len({link.kind for link in box.links}) > 1:
        yield "uneven links"
    if any(not free(gpu, box) for gpu in box.gpus):
        yield "busy GPUs"


def free(gpu: Gpu, box: Machine) -> bool:
    """Whether anything may have this GPU, as this test understands it."""
    blemished = gpu.mig or gpu.fault or gpu.holder or gpu.processes or (gpu.unexplained or 0) > GIB // 2
    return not blemished and (box.mask is None or gpu.id in box.mask)


def suits(gpu: Gpu, wanted: Gpus) -> bool:
    """Whether it is what the job asks for, as this test understands it."""
    called = {"h100": "NVIDIA H100", "h100-sxm": "NVIDIA H100", "4090": "RTX 4090", None: gpu.name}[wanted.name]
    named = not wanted.ids or any(each in (str(gpu.index), gpu.id, gpu.id[:12]) for each in wanted.ids)
    return called == gpu.name and named and gpu.free >= (wanted.memory or 0)


def at_once(given: Case) -> Iterator[tuple[str, str]]:
    """The pairs of jobs of which neither is over when the other starts."""
    over = before(given.spec.jobs)
    return ((a, b) for a, b in combinations(over, 2) if a not in over[b] and b not in over[a])


def shared_by(plan: Plan, given: Case) -> list[tuple[str, str, str]]:
    """GPUs that two tasks of the same time have."""
    meeting = {pair for a, b in at_once(given) for pair in ((a, b), (b, a))} | {(name, name) for name in given.jobs}
    return [
        (one.name, other.name, gpu.id)
        for one, other in combinations(plan.tasks, 2)
        for gpu in one.gpus
        if gpu.id in {each.id for each in other.gpus} and (one.job.name, other.job.name) in meeting
    ]


def each_has_its_own(given: Case) -> bool:
    plan = given.placed()
    if plan is None:
        return False
    assert shared_by(plan, given) == []
    for task in plan.tasks:
        wanted = task.job.gpus
        could = [gpu for gpu in given.machine.gpus if free(gpu, given.machine) and suits(gpu, wanted)]
        assert (
            len({gpu.id for gpu in task.gpus})
            == len(task.gpus)
            == (len(could) if wanted.count is None else wanted.count)
        )
        assert [gpu for gpu in task.gpus if gpu not in could] == []
        if wanted.link:
            assert Links(given.machine).worst(task.gpus) <= LINK_KINDS.index(wanted.link)
    return True


def test_no_gpu_twice_at_the_same_time_and_each_gets_what_it_asked_for(tried: Tried) -> None:
    tried("no GPU twice", each_has_its_own)


def one_more_never_hurts(given: Case) -> bool:
    """Where all of them are asked for, more are asked for: of such jobs only those that cannot want too much count."""
    everything = [name for name, job in given.jobs.items() if job["gpus"].get("count") == "all"]
    linked = any("link" in given.jobs[name]["gpus"] for name in everything)
    together = len(everything) > 1 and any({a, b} <= {*everything} for a, b in at_once(given))
    if linked or together or given.placed() is None:
        return False
    random, box = Random(len(repr(given.machine))), given.machine
    index = max((gpu.index for gpu in box.gpus), default=-1) + 1
    more = Gpu(index, "NVIDIA H100", 80 * GIB, 80 * GIB, f"GPU-ffffffff-{index:04x}", product="h100-sxm")
    ends = [(other.index, random.choice((*LINK_KINDS, None))) for other in box.gpus]
    links = tuple(Link(end, index, kind, 2 * (kind == "NVLINK")) for end, kind in ends if kind)
    mask = None if box.mask is None else (*box.mask, more.id)
    larger = replace(box, gpus=(*box.gpus, more), links=box.links + links, mask=mask)
    assert given.on(larger).placed(), f"there is no room once GPU {index} is there"
    return True


def test_one_more_free_gpu_never_hurts(tried: Tried) -> None:
    tried("one more GPU", one_more_never_hurts)


def test_the_same_input_gives_the_same_plan(tried: Tried, tmp_path: Path) -> None:
    """In one process from other objects of the same values, and in a process that hashes differently."""
    command, env = [sys.executable, "-m", "tests.compiler.drawn"], {**os.environ, "PYTHONHASHSEED": "1"}
    seen: dict[int, str] = {}
    with (tmp_path / "said").open("w+") as said:
        with subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=said, text=True) as other:

            def remembered(given: Case) -> bool:
                told = given.told()
                assert told == drawn.remade(given).told()
                seen[given.number] = drawn.digest(told)
                print(given.number, file=other.stdin)
                return True

            tried("same plan", remembered)
            other.communicate()
        assert other.returncode == 0
        said.seek(0)
        elsewhere = dict(zip(seen, said.read().split(), strict=True))
    differing = [number for number in seen if seen[number] != elsewhere[number]]
    assert not differing, f"another process plans otherwise:\n{drawn.case(differing[0]).report()}"


def best_joined(given: Case) -> bool:
    """The first job, alone, with nothing asked for but a number."""
    count = 2 + len(given.jobs) % 3
    single = Case(given.machine, {"t": {"kind": "task", "command": ["x"], "gpus": {"count": count}, "needs": {}}})
    usable = [gpu for gpu in given.machine.gpus if free(gpu, given.machine)]
    links = Links(given.machine)
    best = min((links.worst(chosen) for chosen in combinations(usable, count)), default=None)
    plan = single.placed()
    found = links.worst(plan.tasks[0].gpus) if plan else None
    assert found == best
    return plan is not None


def test_a_single_job_gets_the_best_joined_set_there_is() -> None:
    assert sum(holds(best_joined, drawn.case(3 * 10**6 + number)) for number in range(CASES)) > CASES // 2


def ids_are_honoured(given: Case) -> bool:
    usable = [gpu for gpu in given.machine.gpus if free(gpu, given.machine)]
    wanted = usable[: len(given.jobs)][::-1]
    ids = [(str(gpu.index), gpu.id, gpu.id[:12])[at % 3] for at, gpu in enumerate(wanted)]
    if not ids:
        return False
    jobs = {"t": {"kind": "task", "command": ["x"], "gpus": {"ids": ids}, "needs": {}}}
    plan = Case(given.machine, jobs).placed()
    assert plan
    assert {gpu.id for gpu in plan.tasks[0].gpus} == {gpu.id for gpu in wanted}
    return True


def test_ids_are_honoured() -> None:
    assert sum(holds(ids_are_honoured, drawn.case(4 * 10**6 + number)) for number in range(CASES)) > CASES // 2


def test_a_broken_law_is_told_by_its_smallest_case(capsys: pytest.CaptureFixture[str]) -> None:
    def no_two_of_a_kind(given: Case) -> bool:
        names = [gpu.name for gpu in given.machine.gpus]
        assert len(set(names)) == len(names)
        return True

    broken = next(
        given for given in map(drawn.case, range(100)) if len(given.jobs) > 3 and breaks(no_two_of_a_kind, given)
    )
    with pytest.raises(AssertionError):
        holds(no_two_of_a_kind, broken)
    said = capsys.readouterr().out
    assert (said.count("- index: "), said.count('"kind": "task"')) == (2, 1)
