"""The laws of placement, over generated machines and specs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mgpu.errors import NoRoom
from mgpu.plan import place
from mgpu.plan.fitness import unfit, unusable
from mgpu.plan.links import Links
from mgpu.spec.between import before
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import LINK_KINDS, Gpu, Link, Machine, Process
from mgpu.values.plan import Plan
from mgpu.values.spec import Spec

CASES = 5_000 if os.environ.get("MGPU_SOAK") else 400
LAW = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
GIB = 2**30


@st.composite
def machines(draw: st.DrawFn, most: int = 8) -> Machine:
    count = draw(st.integers(0, most))
    kinds = st.sampled_from((*LINK_KINDS, None))
    links = []
    for a, b in combinations(range(count), 2):
        kind = draw(kinds)
        if kind:
            links.append(Link(a, b, kind, 2 if kind == "NVLINK" else 0))
    gpus = tuple(
        Gpu(
            index,
            draw(st.sampled_from(("RTX 4090", "H100"))),
            80 * GIB,
            draw(st.sampled_from((10, 40, 80))) * GIB,
            uuid=f"GPU-{index:08x}",
            mig=draw(st.sampled_from((False, False, False, True))),
            fault=draw(st.sampled_from((None, None, None, "is lost"))),
            holder=draw(st.sampled_from((None, None, None, "run x"))),
            processes=draw(st.sampled_from(((), (), (Process(1, "python"),)))),
        )
        for index in range(count)
    )
    return Machine("m", gpus, tuple(links))


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    jobs: dict[str, Any] = {}
    for name in "abcd"[: draw(st.integers(1, 4))]:
        gpus: dict[str, Any] = {"count": draw(st.integers(0, 4))}
        gpus |= draw(
            st.sampled_from(({}, {}, {"memory": "20GiB"}, {"name": "h100"}, {"link": "nvlink"}, {"link": "phb"}))
        )
        job: dict[str, Any] = {"kind": "task", "command": ["x"], "gpus": gpus}
        others = draw(st.lists(st.sampled_from(sorted(jobs)), unique=True, max_size=2)) if jobs else []
        job["needs"] = {other: draw(st.sampled_from(("started", "ready", "done", "done"))) for other in others}
        jobs[name] = job
    return check(read("s", json.dumps({"kind": "pipeline", "jobs": jobs})))


def placed(spec: Spec, machine: Machine) -> Plan | None:
    try:
        return place(spec, machine)
    except NoRoom:
        return None


@LAW
@given(specs(), machines())
def test_no_gpu_twice_at_the_same_time_and_each_gets_what_it_asked_for(spec: Spec, machine: Machine) -> None:
    plan = placed(spec, machine)
    assume(plan)
    assert plan
    over = before(spec.jobs)
    for one, other in combinations(plan.tasks, 2):
        if one.job.name not in over[other.job.name] and other.job.name not in over[one.job.name]:
            assert not {gpu.id for gpu in one.gpus} & {gpu.id for gpu in other.gpus}
    for task in plan.tasks:
        assert len({gpu.id for gpu in task.gpus}) == len(task.gpus) == task.job.gpus.count
        assert not [gpu for gpu in task.gpus if unusable(gpu, machine) or unfit(gpu, task.job.gpus)]
        if task.job.gpus.link:
            assert Links(machine).worst(task.gpus) <= LINK_KINDS.index(task.job.gpus.link)


@LAW
@given(specs(), machines(6), st.sampled_from(LINK_KINDS))
def test_one_more_free_gpu_never_hurts(spec: Spec, machine: Machine, kind: str) -> None:
    assume(placed(spec, machine))
    index = len(machine.gpus)
    more = Gpu(index, "H100", 80 * GIB, 80 * GIB, uuid=f"GPU-{index:08x}")
    links = tuple(Link(other.index, index, kind) for other in machine.gpus)
    assert placed(spec, replace(machine, gpus=(*machine.gpus, more), links=machine.links + links))


@LAW
@given(specs(), machines())
def test_the_same_input_gives_the_same_plan(spec: Spec, machine: Machine) -> None:
    assert placed(spec, machine) == placed(spec, machine)


@LAW
@given(machines(7), st.integers(2, 4))
def test_a_single_job_gets_the_best_joined_set_there_is(machine: Machine, count: int) -> None:
    spec = check(read("s", json.dumps({"kind": "task", "name": "t", "command": ["x"], "gpus": count})))
    free = [gpu for gpu in machine.gpus if not unusable(gpu, machine)]
    links = Links(machine)
    best = min((links.worst(chosen) for chosen in combinations(free, count)), default=None)
    plan = placed(spec, machine)
    assert (plan is None) == (best is None)
    if plan:
        assert links.worst(plan.tasks[0].gpus) == best


@LAW
@given(machines(), st.data())
def test_ids_are_honoured(machine: Machine, data: st.DataObject) -> None:
    free = [gpu for gpu in machine.gpus if not unusable(gpu, machine)]
    assume(free)
    wanted = data.draw(st.lists(st.sampled_from(free), min_size=1, unique_by=lambda gpu: gpu.index))
    ids = [data.draw(st.sampled_from((str(gpu.index), gpu.uuid))) for gpu in wanted]
    spec = check(read("s", json.dumps({"kind": "task", "name": "t", "command": ["x"], "gpus": {"ids": ids}})))
    plan = place(spec, machine)
    assert {gpu.id for gpu in plan.tasks[0].gpus} == {gpu.id for gpu in wanted}
