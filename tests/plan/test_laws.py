"""Laws of planning: what holds of every spec on every machine, whatever the figures are."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import combinations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mgpu.catalog.gpus import Product, products
from mgpu.errors import MgpuError
from mgpu.plan import place
from mgpu.plan.seats import fits
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import Docker, Gpu, Link, Machine
from mgpu.values.plan import Plan
from mgpu.values.spec import Spec

CASES = 2_000 if os.environ.get("MGPU_SOAK") else 60
LAW = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))

MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-32B-Instruct-AWQ", "meta-llama/Llama-3.1-70B-Instruct",
          "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-120b", "google/gemma-3-27b-it")  # fmt: skip
ENGINES = ("vllm", "sglang", "llamacpp", "tgi", "ollama")


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    chosen = draw(st.lists(st.sampled_from(products()), min_size=1, max_size=4))
    gpus = tuple(
        Gpu(index, product.name, product.memory, product.memory - draw(st.sampled_from((0, 0, 2**30, 9 * 2**30))),
            product=product.id, compute_capability=product.compute_capability, mig=False)
        for index, product in enumerate(chosen)
    )  # fmt: skip
    kinds = st.sampled_from(("NVLINK", "PHB", "SYS"))
    links = tuple(Link(a, b, draw(kinds), 4, 50.0, True) for a, b in combinations(range(len(gpus)), 2))
    return Machine("m", gpus, links, docker=Docker(gpus=True))


@st.composite
def specs(draw: st.DrawFn) -> str:
    engine = draw(st.sampled_from(ENGINES))
    model = draw(st.sampled_from(MODELS))
    lines = ["kind: inference", f"engine: {engine}", f"model: {model}"]
    lines.append(f"gpus: {draw(st.sampled_from((1, 2, 'auto')))}")
    if engine in ("llamacpp", "ollama"):
        lines[2] = f"model: {model.rpartition('/')[2]}"
        lines.append(f"quantization: {draw(st.sampled_from(('Q4_K_M', 'Q8_0', 'IQ4_XS')))}")
    if engine == "ollama":
        lines[2] = "model: llama3.1:8b"
    lines.append(f"context_length: {draw(st.sampled_from((2048, 8192, 32768)))}")
    return "\n".join(lines)


def spec_of(text: str) -> Spec:
    return check(read("spec.yaml", text))


def planned(spec: Spec, machine: Machine) -> Plan | None:
    """The plan, where there is one and everything in it fits."""
    try:
        plan = place(spec, machine)
    except MgpuError:
        return None
    return plan if all(map(fits, plan.tasks)) else None


@LAW
@given(machines(), specs(), st.sampled_from(products()), st.sampled_from(("NVLINK", "PHB", "SYS")))
def test_one_more_free_gpu_never_takes_the_room_away(machine: Machine, text: str, product: Product, kind: str) -> None:
    spec = spec_of(text)
    assume(planned(spec, machine))
    new = Gpu(len(machine.gpus), product.name, product.memory, product.memory, product=product.id,
              compute_capability=product.compute_capability, mig=False)  # fmt: skip
    joined = tuple(Link(gpu.index, new.index, kind, 4, 50.0, True) for gpu in machine.gpus)
    larger = replace(machine, gpus=(*machine.gpus, new), links=(*machine.links, *joined))
    assert planned(spec, larger), f"{text}\nfits on {machine.gpus}\nand not beside {new}"


@LAW
@given(machines(), specs())
def test_the_same_input_gives_the_same_plan(machine: Machine, text: str) -> None:
    first, second = planned(spec_of(text), machine), planned(spec_of(text), machine)
    assert (first and first.tasks) == (second and second.tasks)


@LAW
@given(machines(), specs(), st.sampled_from((4096, 16384, 65536)))
def test_more_context_never_needs_less(machine: Machine, text: str, context: int) -> None:
    text = text.rpartition("\n")[0].replace("gpus: auto", "gpus: 1") + "\nparallel: {}\ncontext_length: "
    plans = []
    for length in (context, 2 * context):
        try:
            plans.append(place(spec_of(f"{text}{length}"), machine))
        except MgpuError:
            assume(False)
    less, more = (plan.tasks[0] for plan in plans)
    assume(less.gpus == more.gpus and less.layout == more.layout)
    assume(isinstance(less.memory, tuple) and isinstance(more.memory, tuple))
    assert isinstance(less.memory, tuple)
    assert isinstance(more.memory, tuple)
    assert sum(one.total.expected for one in less.memory) <= sum(one.total.expected for one in more.memory)
    assert fits(less) or not fits(more)
    if less.job.engine not in ("llamacpp", "ollama"):  # those move layers where there is room
        for one, other in zip(less.memory, more.memory, strict=True):
            assert one.total.expected <= other.total.expected
            assert one.over() <= other.over()


@LAW
@given(machines(), specs())
def test_the_lines_add_up(machine: Machine, text: str) -> None:
    try:
        plan = place(spec_of(text), machine)
    except MgpuError:
        assume(False)
    for task in plan.tasks:
        assume(isinstance(task.memory, tuple))
        assert isinstance(task.memory, tuple)
        assert len(task.memory) == len(task.gpus)
        for estimate, gpu in zip(task.memory, task.gpus, strict=True):
            assert estimate.index == gpu.index
            assert estimate.total.expected == sum(line.bytes.expected for line in estimate.lines)
            assert all(0 <= line.bytes.low <= line.bytes.expected <= line.bytes.high for line in estimate.lines)
            assert all(line.source in ("exact", "source", "calibrated", "guessed") for line in estimate.lines)
