"""The cheapest change that makes a spec fit: one thing before two, cheap before dear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import mgpu.plan.fix as fix_module
from mgpu.catalog.machines import shorthand
from mgpu.engines import engine_named
from mgpu.errors import NoRoom
from mgpu.plan import place
from mgpu.plan.fix import Fix, fixes
from mgpu.plan.sums import verdict_of
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.spec.edit import edited
from mgpu.values.memory import GIB, Cache, Estimate, Knob, Line, Unknown, exactly, span
from mgpu.values.plan import Task
from mgpu.values.spec import Job, Spec

TEXT = "kind: inference\nname: chat\nengine: vllm\nmodel: someone/some-model\n{}"
KNOBS = (
    Knob(("args", "kv-cache-dtype"), "fp8", "an fp8 cache", 4),
    Knob(("args", "max-num-seqs"), 64, "64 requests at once in place of 256", 2),
    Knob(("args", "enforce-eager"), True, "no CUDA graphs", 1),
)
Need = Callable[[Job, int], float]


def fixed(
    need: Need, more: str = "gpus: 1\n", machine: str = "4xh100", spread: float = 0.0, **known: Any
) -> Fix | None:
    """The fix for a spec that needs `need` (GiB a GPU) of a job and its number of GPUs, where there are 10."""
    spec = check(read("spec.yaml", TEXT.format(more)))
    box = shorthand(machine)

    def estimating(candidate: Spec) -> tuple[Estimate, ...] | Unknown:
        plan = place(candidate, box)
        return tuple(
            estimate(task, need(task.job, len(task.gpus)), spread) for task in plan.tasks for _ in range(len(task.gpus))
        )

    task = place(spec, box).tasks[0]
    return fixes(spec, box, replace(task, memory=tuple(estimate(task, 99, 0) for _ in task.gpus), **known), estimating)


def estimate(task: Task, gib: float, spread: float) -> Estimate:
    line = Line("weights", span(gib * GIB, gib * GIB, (gib + spread) * GIB), "exact")
    return Estimate(0, (line,), 10 * GIB, cache=Cache(exactly(0), 1, task.job.context_length or 131072, 0))


@pytest.fixture(autouse=True)
def knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM with three knobs."""
    engine = replace(engine_named("vllm"), knobs=lambda task: KNOBS)
    monkeypatch.setattr(fix_module, "engine_named", lambda name: engine)


def test_the_cheapest_of_those_that_help() -> None:
    saved = {"kv-cache-dtype": 5, "max-num-seqs": 5, "enforce-eager": 1}
    found = fixed(lambda job, _: 14 - sum(saved[name] for name in job.args))
    assert found == Fix({("args", "max-num-seqs"): 64}, "64 requests at once in place of 256", "fits", 2)


def test_the_longest_context_that_fits() -> None:
    found = fixed(lambda job, _: 5 + (job.context_length or 131072) / 10_000)
    assert found is not None
    assert found.changes == {("context_length",): 48 * 1024}
    assert found.words == "a context of 49,152 tokens in place of 131,072"


def test_a_context_is_only_lowered() -> None:
    assert fixed(lambda job, _: 11, "context_length: 1024\n") is None
    found = fixed(lambda job, _: (job.context_length or 0) / 400, "context_length: 5000\n")
    assert found is not None
    assert found.changes == {("context_length",): 3 * 1024}


def test_no_context_is_offered_that_the_model_is_not_made_for() -> None:
    facts = "{layers: 32, hidden: 4096, heads: 32, intermediate: 14336, vocabulary: 32768, context: 32768}"
    found = fixed(lambda job, _: (job.context_length or 0) / 10_000, f"context_length: 200000\nmodel_facts: {facts}\n")
    assert found is not None
    assert found.changes == {("context_length",): 32768}


def test_one_more_gpu() -> None:
    found = fixed(lambda job, count: 36 / count)
    assert found == Fix({("gpus",): 4}, "4 GPUs in place of 1", "fits", 7)


def test_gpus_written_as_a_mapping_and_a_split_that_is_said() -> None:
    text = "gpus: {count: 2, name: h100}\nparallel: {tensor: 2}\n"
    found = fixed(lambda job, count: 36 / count, text)
    assert found is not None
    assert found.changes == {("gpus", "count"): 4, ("parallel", "tensor"): 4}


def test_another_split_is_cheaper_than_another_gpu() -> None:
    found = fixed(lambda job, count: 8 if (job.parallel.pipeline or 1) > 1 else 36 / count, "gpus: 2\n")
    assert found == Fix({("parallel",): {"pipeline": 2}}, "the split pipeline 2", "fits", 1)


def test_two_things_where_one_is_not_enough() -> None:
    found = fixed(lambda job, count: 15 - 3 * len(job.args))
    assert found is not None
    assert found.changes == {("args", "enforce-eager"): True, ("args", "max-num-seqs"): 64}
    assert found.words == "no CUDA graphs and 64 requests at once in place of 256"


def test_what_fits_is_better_than_what_is_tight() -> None:
    saved = {"kv-cache-dtype": 6, "max-num-seqs": 3, "enforce-eager": 1}
    found = fixed(lambda job, _: 12 - sum(saved[name] for name in job.args), spread=2)
    assert found is not None
    assert (found.changes, found.verdict) == ({("args", "kv-cache-dtype"): "fp8"}, "fits")
    tight = fixed(lambda job, _: 12 - 3 * ("max-num-seqs" in job.args), "gpus: 1\n", "1xh100", spread=9)
    assert tight is not None
    assert tight.verdict == "tight"


def test_nothing_helps() -> None:
    assert fixed(lambda job, _: 99) is None


def test_what_cannot_be_placed_or_is_not_known_is_no_fix() -> None:
    spec = check(read("spec.yaml", TEXT.format("gpus: 1\n")))
    task = place(spec, shorthand("2xh100")).tasks[0]

    def refusing(candidate: Spec) -> tuple[Estimate, ...] | Unknown:
        if candidate.jobs[0].args:
            raise NoRoom("no")
        return Unknown("who knows")

    assert fixes(spec, shorthand("2xh100"), task, refusing) is None
    assert verdict_of(Unknown("")) is None


def test_a_job_of_a_pipeline_is_changed_where_it_stands() -> None:
    text = "kind: pipeline\njobs:\n  llm: {kind: inference, engine: vllm, model: a/b}  # chat\n"
    spec, box = check(read("spec.yaml", text)), shorthand("1xl4")

    def estimating(candidate: Spec) -> tuple[Estimate, ...]:
        (task,) = place(candidate, box).tasks
        return (estimate(task, 11 - 2 * len(task.job.args), 0),)

    found = fixes(spec, box, place(spec, box).tasks[0], estimating)
    assert found is not None
    assert edited(spec.document, found.changes) == text.replace("a/b}", "a/b, args: {enforce-eager: true}}")
