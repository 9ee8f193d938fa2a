"""Plans made by hand: a server on two GPUs that fits, one that does not, stages that differ, and what is not known."""

from __future__ import annotations

from dataclasses import replace

from mgpu.catalog.machines import shorthand
from mgpu.plan import place
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.choice import Choice, Decision
from mgpu.values.machine import Machine
from mgpu.values.memory import GIB, Cache, Estimate, Line, Span, Unknown, exactly, span
from mgpu.values.plan import Layout, Plan, Task
from mgpu.values.speed import Part, Speed, Workload

CHAT = "kind: inference\nname: chat\nengine: vllm\nmodel: someone/some-model\ngpus: {}\nruntime: docker\n"
SPEED = Speed(0.4, 0.02, 6.0, 800.0, 3200.0, 2, 600.0, 1000.0, (Part("reading weights", 5.0),))


def gib(low: float, expected: float | None = None, high: float | None = None) -> Span:
    """A span of GiB."""
    return span(low * GIB, (expected or low) * GIB, (high or expected or low) * GIB)


def lines(weights: float = 7.5) -> tuple[Line, ...]:
    """What a server takes of one of its GPUs: 10.1 GiB where the weights are not said otherwise."""
    return (
        Line("weights", gib(weights), "exact", "half of 15.0 GiB of bf16, from the headers of its files"),
        Line("KV cache", gib(0.5), "exact", "one sequence of 8,192 tokens: 64 KiB a token"),
        Line("activation peak", gib(1.2, 1.3, 1.5), "source", "vocabulary x max-num-seqs, as vLLM 0.26 profiles it"),
        Line("CUDA graphs", gib(0.5, 0.8, 1.9), "guessed", "mean of published boots"),
        Line("context", gib(0.4, 0.5, 0.6), "source", "CUDA's own", outside=True),
    )


def estimate(index: int, weights: float = 7.5, room: float = 23.5, budget: float | None = 21.0) -> Estimate:
    """One GPU of a server whose engine fills its budget."""
    cache = Cache(gib(11.4), int(0.5 * GIB), 8192, 186_777)
    return Estimate(index, lines(weights), int(room * GIB), budget and int(budget * GIB), cache)


def planned(text: str, machine: Machine, *memory: tuple[Estimate, ...] | Unknown | None) -> Plan:
    """The plan of a spec, with what its tasks are to need of memory."""
    plan = place(check(read("chat.mgpu.yaml", text)), machine)
    tasks = [
        replace(task, memory=needs, decision=decision(task, needs))
        for task, needs in zip(plan.tasks, memory, strict=True)
    ]
    return replace(plan, tasks=tuple(tasks))


def decision(task: Task, memory: tuple[Estimate, ...] | Unknown | None) -> Decision | None:
    """A decision for what the task has, against two others."""
    if len(task.gpus) < 2 or task.job.kind != "inference":
        return None
    others = (
        Choice(Layout(1, 2), task.gpus, SPEED, memory, "fits", "pipeline 2: 1.6 times slower than tensor 2"),
        Choice(Layout(1, 1, 2), task.gpus, None, memory, "does not fit", "data 2: GPU 0 lacks 1.3 GiB"),
    )
    chosen = Choice(task.layout, task.gpus, SPEED, memory, "fits", "tensor 2: the best of 2 layouts that fit")
    return Decision(chosen, others, "latency", Workload())


def fits() -> Plan:
    """Two GPUs of four, alike."""
    return planned(CHAT.format(2), shorthand("4xrtx-4090"), (estimate(0), estimate(1)))


def lacks() -> Plan:
    """One GPU that is too small."""
    return planned(CHAT.format(1), shorthand("1xrtx-4090"), (estimate(0, 25.0),))


def stages() -> Plan:
    """Two GPUs with other lines on each, of which one has less free."""
    text = CHAT.format(2) + "parallel: {pipeline: 2}\n"
    box = shorthand("2xrtx-4090")
    gpus = (box.gpus[0], replace(box.gpus[1], free=18 * GIB, name="NVIDIA GeForce RTX 3090", product="rtx-3090"))
    return planned(text, replace(box, gpus=gpus), (estimate(0, 8.0), estimate(1, 7.0, 18.0, None)))


def unknown() -> Plan:
    """A model that nothing is known of."""
    why = Unknown("the sizes of someone/some-model are not known", "model_facts: gives them")
    return planned(CHAT.format(1), shorthand("1xgh200-96gb"), why)


def training() -> Plan:
    """A job whose engine takes what it needs."""
    needs = (
        Line("weights", gib(14.0), "exact", "bf16"),
        Line("optimizer", exactly(42 * GIB), "source", "Adam: 12 B a parameter, over 2 GPUs"),
        Line("activations", gib(6.0, 8.0, 12.0), "source", "28h + 10a + 8I a token and layer"),
    )
    text = "kind: training\nname: sft\nengine: torchrun\nscript: train.py\ngpus: 2\n"
    both = tuple(Estimate(index, needs, 79 * GIB) for index in range(2))
    return planned(text, shorthand("2xh100"), both)
