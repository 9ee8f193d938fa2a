"""What a widely copied guide has people type, judged: which of it is refused, with which sum, and what is offered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mgpu.catalog.gpus import by_name as product_named
from mgpu.catalog.machines import shorthand
from mgpu.engines import engine_named
from mgpu.errors import NoRoom, SpecError
from mgpu.plan import place, sums
from mgpu.plan.advice import advice, fix_of
from mgpu.plan.fit import Wanted, Way, best, everywhere
from mgpu.plan.guide import checked
from mgpu.plan.refusal import unfitting
from mgpu.plan.tasks import timed
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.spec.override import changed
from mgpu.values.machine import Machine
from mgpu.values.memory import Estimate
from mgpu.values.plan import Layout, Plan, Task
from mgpu.values.spec import Spec

LARGE, HUGE, DEEP = "meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-405B-Instruct", "deepseek-ai/DeepSeek-V3"
GGUF = "bartowski/Meta-Llama-3.1-70B-Instruct-GGUF:Q4_K_M"
PCIE = ("4xa100-pcie-80gb", "4xl40s")
NVLINK = ("4xa100-sxm4-80gb", "4xh100-sxm", "4xh200-sxm")


def spec(model: str, gpus: int | str, engine: str = "vllm", **keys: object) -> Spec:
    """The job of a recipe; `keys` are further keys of the spec."""
    said = {"kind": "inference", "name": "r", "engine": engine, "model": model, "gpus": gpus, **keys}
    return check(read("r.yaml", "".join(f"{name}: {value}\n" for name, value in said.items())))


def planned(model: str, gpus: int | str, machine: str | Machine, engine: str = "vllm", **keys: object) -> Plan:
    """The plan of such a job."""
    return place(spec(model, gpus, engine, **keys), shorthand(machine) if isinstance(machine, str) else machine)


def uneven() -> Machine:
    """A desktop with two cards of different sizes: 32 and 24 GB."""
    first, second = shorthand("1xrtx-5090"), shorthand("2xrtx-4090")
    return replace(second, gpus=(first.gpus[0], second.gpus[1]))


def refused(asked: Spec, machine: str) -> NoRoom:
    """What `run` says of a job that does not fit."""
    found = unfitting(asked, place(asked, shorthand(machine)))
    assert found
    return found


def mended(asked: Spec, machine: str) -> Task:
    """The task once the change that is offered has been made."""
    box = shorthand(machine)
    fix = fix_of(asked, box, place(asked, box).tasks[0])
    assert fix
    return place(check(changed(asked.document, fix.changes)), box).tasks[0]


def verdict(plan: Plan) -> str | None:
    return sums.verdict(plan.tasks[0])


# R2: 70B on four GPUs


@pytest.mark.parametrize("machine", NVLINK)
def test_four_gpus_on_nvlink_share_every_layer(machine: str) -> None:
    task = planned(LARGE, 4, machine, context_length=8192).tasks[0]
    assert task.layout == Layout(4)
    assert any("tensor 4, the fastest of" in reason for reason in task.because)


@pytest.mark.parametrize("machine", PCIE)
def test_four_gpus_without_it_are_pairs_in_stages(machine: str) -> None:
    task = planned(LARGE, 4, machine, context_length=8192).tasks[0]
    assert task.layout == Layout(2, 2)
    assert task.decision
    lost = {other.layout: other.why for other in task.decision.others}
    assert "its all-reduces" in lost[Layout(4)]
    assert "reading weights" in lost[Layout(1, 4)]


def test_no_group_straddles_two_bridges_and_the_weights_must_be_quantized() -> None:
    assert verdict(planned(LARGE, 4, "4xrtx-3090:nvlink-pairs", context_length=8192)) == "does not fit"
    awq = planned("hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", 4, "4xrtx-3090:nvlink-pairs",
                  context_length=8192).tasks[0]  # fmt: skip
    assert awq.layout == Layout(2, 2)
    assert sums.verdict(awq) == "fits"


# R3, R8, R9: what does not fit


@pytest.mark.parametrize(("model", "gpus", "machine", "whole", "allowed"), [
    (HUGE, 8, "8xh100-sxm", 756, 73), (HUGE, 8, "8xa100-sxm4-80gb", 756, 73), (LARGE, 2, "2xa100-sxm4-40gb", 131, 36),
    (DEEP, 8, "8xa100-sxm4-80gb", 634, 73), (DEEP, 8, "8xh100-sxm", 634, 73),
])  # fmt: skip
def test_the_sum_can_be_checked_by_hand(model: str, gpus: int, machine: str, whole: int, allowed: int) -> None:
    """GiB of weights in all, of what is on each GPU, and of what the engine allows itself there."""
    plan = planned(model, gpus, machine, context_length=8192, parallel=f"{{tensor: {gpus}}}")
    memory = plan.tasks[0].memory
    assert isinstance(memory, tuple)
    said = sums.told(memory, plan.tasks[0].layout)
    each, _, rest = said.removeprefix("weights ").partition(" (")
    in_all = float(rest.partition(" ")[0])
    assert float(each) * gpus == pytest.approx(in_all, rel=0.01)
    assert in_all == pytest.approx(whole, abs=1.5)
    assert float(said.partition("allows itself ")[2].split()[0]) == pytest.approx(allowed, abs=1)
    assert float(each) + 1 > memory[0].budget / 2**30 * 0.9 if memory[0].budget else False


@pytest.mark.parametrize("machine", ["8xh100-sxm", "8xa100-sxm4-80gb"])
def test_405b_in_16_bits_is_refused_on_eight_of_80_gb(machine: str) -> None:
    found = refused(spec(HUGE, 8, context_length=8192, parallel="{tensor: 8}"), machine)
    assert not found.ever
    assert found.hint
    assert "RedHatAI/Meta-Llama-3.1-405B-Instruct-FP8" in found.hint
    assert "hugging-quants/Meta-Llama-3.1-405B-Instruct-AWQ-INT4" in found.hint
    assert "8xh200-sxm" in found.hint
    assert "two machines like this one would hold it" in found.hint


def test_70b_in_16_bits_is_refused_on_two_of_40_gb() -> None:
    asked = spec(LARGE, 2, context_length=8192, parallel="{tensor: 2}", port=8000)
    hint = refused(asked, "2xa100-sxm4-40gb").hint
    assert hint
    assert "its weights in awq-int4 (hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4)" in hint
    assert "fp8 (" not in hint
    task = mended(asked, "2xa100-sxm4-40gb")
    assert (sums.verdict(task), task.layout, task.job.context_length) == ("fits", Layout(2), 8192)


def test_deepseek_in_fp8_is_refused_on_eight_a100() -> None:
    asked = spec(DEEP, 8, context_length=8192, parallel="{tensor: 8}")
    plan = place(asked, shorthand("8xa100-sxm4-80gb"))
    assert any("a100-sxm4-80gb has no units for FP8" in warning.message for warning in plan.warnings)
    said = list(advice(asked, plan.machine, plan.tasks[0]))
    assert any("cognitivecomputations/DeepSeek-V3-AWQ" in sentence for sentence in said)
    assert any("8xh200-sxm" in sentence for sentence in said)
    assert "this version of mgpu runs a job on one machine only" in said[-1]
    assert sums.verdict(mended(asked, "8xa100-sxm4-80gb")) == "fits"
    assert verdict(planned(DEEP, 8, "8xh200-sxm", context_length=32768)) == "fits"


@pytest.mark.parametrize(("model", "machine"), [
    (LARGE, "2xa100-sxm4-40gb"), (LARGE, "4xrtx-4090"), (HUGE, "8xh100-sxm"), (DEEP, "8xa100-sxm4-80gb"),
    ("Qwen/Qwen3-235B-A22B", "4xa100-pcie-80gb"), ("meta-llama/Llama-3.1-8B-Instruct", "1xrtx-3090"),
])  # fmt: skip
def test_auto_says_what_it_lacks_and_is_mended_as_a_number_is(model: str, machine: str) -> None:
    asked = spec(model, "auto")
    assert refused(asked, machine)
    assert sums.verdict(mended(asked, machine)) in ("fits", "tight")


def test_what_is_published_is_offered_before_what_is_converted_at_load() -> None:
    """A published FP8 checkpoint is half the download, and SGLang converts only what has fitted in 16 bits."""
    asked = spec(HUGE, 8, context_length=8192)
    assert mended(asked, "8xh100-sxm").job.model == "RedHatAI/Meta-Llama-3.1-405B-Instruct-FP8"
    at_load = planned(LARGE, 4, "4xrtx-4090", "sglang", context_length=8192, args="{quantization: fp8}")
    assert verdict(at_load) == "does not fit"
    memory = at_load.tasks[0].memory
    assert isinstance(memory, tuple)
    assert "quantizes the weights once all are loaded" in (memory[0].fault or "")
    assert verdict(planned(LARGE, 4, "4xrtx-4090", context_length=8192, args="{quantization: fp8}")) == "fits"
    older = planned(LARGE, 4, "4xrtx-4090", context_length=8192, args="{quantization: fp8}", version="0.13.0")
    assert verdict(older) == "does not fit"


def test_a_short_context_is_no_mend() -> None:
    """Of 32768 tokens 3072 would fit: who asked for them is served better by the model in FP8."""
    task = mended(spec("Qwen/Qwen3-32B", 2, "sglang", context_length=32768), "2xa100-sxm4-40gb")
    assert (task.job.model, task.job.context_length) == ("Qwen/Qwen3-32B-FP8", 32768)


# R4, R6, R7: whole layers


def test_ollama_packs_what_fits_on_one_gpu_and_spreads_what_does_not() -> None:
    small = planned("llama3.1:8b", 2, "2xrtx-4090", "ollama")
    assert [estimate.total.expected > 0 for estimate in _memory(small)] == [True, False]
    assert any("leaves the others idle" in warning.message for warning in small.warnings)
    large = planned("llama3.1:70b", 2, "2xrtx-4090", "ollama", context_length=8192)
    assert all(estimate.total.expected > 0 for estimate in _memory(large))
    assert (verdict(large), large.warnings) == ("fits", ())
    spread = planned("llama3.1:8b", 2, "2xrtx-4090", "ollama", parallel="{pipeline: 2}")
    assert all(estimate.total.expected > 0 for estimate in _memory(spread))


@pytest.mark.parametrize(("engine", "model", "at_once"), [
    ("ollama", "llama3.1:70b", "one request at a time"), ("llamacpp", GGUF, "4 requests at once"),
])  # fmt: skip
def test_what_takes_few_requests_is_not_reckoned_with_sixteen(engine: str, model: str, at_once: str) -> None:
    """People measure 15 to 20 tokens/s of a 70B in 4 bits on two RTX 4090, one request at a time."""
    task = timed(planned(model, 2, "2xrtx-4090", engine, context_length=8192)).tasks[0]
    assert task.decision
    assert at_once in str(task.decision.workload)
    one = timed(planned(GGUF, 2, "2xrtx-4090", "llamacpp", context_length=8192, args="{parallel: 1}")).tasks[0]
    assert one.decision
    assert one.decision.chosen
    assert one.decision.chosen.speed
    assert 13 < one.decision.chosen.speed.tokens_per_second < 22


def test_what_spills_says_so() -> None:
    asked = spec(GGUF, 1, "llamacpp", context_length=8192)
    box = shorthand("1xrtx-3090")
    assert any("leaves to the CPU" in sentence for sentence in advice(asked, box, place(asked, box).tasks[0]))
    other = spec(LARGE, 1, context_length=8192)
    assert not any("leaves to the CPU" in sentence for sentence in advice(other, box, place(other, box).tasks[0]))


def test_even_gpus_share_evenly_without_a_split() -> None:
    task = planned(GGUF, 2, "2xrtx-4090", "llamacpp", context_length=8192).tasks[0]
    assert task.split == ()
    assert sums.verdict(task) == "fits"


def test_uneven_gpus_are_given_the_layers_that_fit_them() -> None:
    plan = planned(GGUF, "all", uneven(), "llamacpp", context_length=8192)
    task, memory = plan.tasks[0], _memory(plan)
    assert sum(task.split) == 80
    assert task.split[0] > task.split[1]
    assert verdict(plan) == "fits"
    assert all(one.total.expected + 2**30 <= gpu.free for one, gpu in zip(memory, task.gpus, strict=True))
    fast = product_named("rtx-5090")
    assert fast
    assert memory[0].total.expected + 2**30 > fast.memory - 1.2 * 2**30, "the fastest is filled first"


def test_vllm_is_warned_of_uneven_gpus_and_llamacpp_proposed() -> None:
    plan = planned("Qwen/Qwen3-8B", "all", uneven(), context_length=8192)
    (warning,) = [one for one in plan.warnings if "equal share" in one.message]
    assert "it can use 2 x 23.5 GiB" in warning.message
    assert "engine: llamacpp gives each what fits it (--tensor-split 31,23)" in (warning.hint or "")


def test_slots_that_are_counted_divide_the_context() -> None:
    found = engine_named("llamacpp").check(spec(GGUF, 2, "llamacpp", context_length=8192, args="{parallel: 4}").jobs[0])
    assert "4 of 2048 tokens" in next(iter(found)).message


# What the GPUs are too old for


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_volta_is_refused_by_builds_without_it(engine: str) -> None:
    with pytest.raises(SpecError) as caught:
        planned("Qwen/Qwen3-8B", 2, "2xv100-pcie-32gb", engine, context_length=8192)
    assert "is not built for v100-pcie-32gb" in caught.value.problems[0].message
    assert verdict(planned("Qwen/Qwen3-8B", 1, "1xt4", engine, context_length=1024)) is not None


def test_gpt_oss_wants_ampere() -> None:
    with pytest.raises(SpecError) as caught:
        planned("openai/gpt-oss-20b", 2, "2xt4", context_length=8192)
    assert "is not built for t4 and MXFP4" in caught.value.problems[0].message
    assert verdict(planned("openai/gpt-oss-20b", 1, "1xrtx-3090")) == "fits"


def test_awq_on_volta_is_refused_by_older_ones_too() -> None:
    awq = "Qwen/Qwen2.5-32B-Instruct-AWQ"
    with pytest.raises(SpecError) as caught:
        planned(awq, 2, "2xv100-pcie-32gb", context_length=8192, version="0.11.0")
    assert "is not built for v100-pcie-32gb and AWQ" in caught.value.problems[0].message
    assert planned("Qwen/Qwen3-8B", 2, "2xv100-pcie-32gb", context_length=8192, version="0.11.0")
    assert not any("v100" in one.machine.name for one in everywhere(Wanted(LARGE), (Way("vllm", "awq-int4"),)))


# R22: the table of GPUs to layouts is a default, not the rule


@pytest.mark.parametrize(("machine", "policy", "layout"), [
    ("2xh100-sxm", "latency", Layout(2)), ("4xh100-sxm", "latency", Layout(4)), ("8xh100-sxm", "latency", Layout(8)),
    ("4xl40s", "latency", Layout(2, 2)), ("8xh100-sxm", "capacity", Layout(8)),
])  # fmt: skip
def test_the_layouts_of_a_70b(machine: str, policy: str, layout: Layout) -> None:
    assert planned(LARGE, "all", machine, context_length=8192, policy=policy).tasks[0].layout == layout


def test_what_fits_on_one_gpu_is_fastest_as_copies() -> None:
    small = "meta-llama/Llama-3.1-8B-Instruct"
    for machine in ("8xh100-sxm", "4xl40s", "4xa100-pcie-80gb"):
        task = planned(small, "all", machine, context_length=8192, policy="throughput").tasks[0]
        assert task.layout == Layout(1, 1, len(task.gpus))


@pytest.mark.parametrize(("model", "machine", "count"), [
    (LARGE, "8xh100-sxm", 2), (LARGE, "8xb200-sxm", 1), (LARGE, "4xl40s", 4), ("openai/gpt-oss-20b", "2xrtx-4090", 1),
    ("openai/gpt-oss-120b", "8xh100-sxm", 1),
])  # fmt: skip
def test_auto_takes_the_fewest(model: str, machine: str, count: int) -> None:
    assert len(planned(model, "auto", machine, context_length=8192).tasks[0].gpus) == count


# R23: the table of models to GPUs


def test_the_table_of_the_guide() -> None:
    found = [(row.says, row.model, row.wrong) for row in checked(8192)]
    assert [(says.partition(",")[0], wrong) for says, _, wrong in found] == [
        ("up to 13B", False), ("30B", False), ("30B on two RTX 3090", False), ("70B", True), ("70B", False),
        ("70B", False), ("100B and more on four A100 80 GB", False), ("100B and more on four A100 80 GB", True),
        ("405B on eight A100 80 GB", True), ("DeepSeek-V3 671B on eight A100 80 GB", True),
    ]  # fmt: skip
    rows = {row.model: row for row in checked(8192) if row.wrong}
    assert "8xh200-sxm" in (rows["llama-3.1-405b"].instead or "")
    assert "awq-int4 fits there" in (rows["deepseek-v3"].instead or "")


@pytest.mark.parametrize(("model", "machine", "form"), [
    (LARGE, "1xa100-sxm4-40gb", "IQ4_XS"), (LARGE, "2xa100-sxm4-80gb", "bf16"), (LARGE, "4xrtx-4090", "fp8"),
    (HUGE, "8xa100-sxm4-80gb", "fp8"), (DEEP, "8xa100-sxm4-80gb", "awq-int4"), (DEEP, "8xh200-sxm", "fp8-block"),
])  # fmt: skip
def test_the_most_bits_that_fit(model: str, machine: str, form: str) -> None:
    found = best(Wanted(model), shorthand(machine))
    assert found
    assert (found.format, found.verdict in ("fits", "tight")) == (form, True)


def _memory(plan: Plan) -> tuple[Estimate, ...]:
    memory = plan.tasks[0].memory
    assert isinstance(memory, tuple)
    return memory


def test_a_gpu_that_is_too_small_says_how_small() -> None:
    with pytest.raises(NoRoom, match=r"GPU 1 has 23\.6 GiB free, of 30\.0 GiB that are asked for"):
        planned(LARGE, "{count: 2, memory: 30GiB}", "2xrtx-3090")
    with pytest.raises(NoRoom, match="GPU 0 is a NVIDIA GeForce RTX 3090"):
        planned(LARGE, "{count: 2, name: h100}", "2xrtx-3090")
