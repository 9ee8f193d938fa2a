"""Which layout is taken: the rules of the engines, the links, the memory, the policy, and the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgpu.catalog.machines import shorthand
from mgpu.catalog.models import by_name
from mgpu.engines import engine_named
from mgpu.memory.cache import cached
from mgpu.memory.weights import format_of, on_gpu
from mgpu.plan.candidates import candidates, ordered
from mgpu.plan.collective import Fabric
from mgpu.plan.decide import decide
from mgpu.values.choice import Choice, Decision
from mgpu.values.machine import Gpu, Machine
from mgpu.values.memory import GIB, Cache, Estimate, Line, Unknown, exactly
from mgpu.values.plan import Layout
from mgpu.values.spec import Gpus, Job, Parallel
from mgpu.values.speed import Policy

LARGE, SMALL = "meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"
CONTEXT = 8192
Asked = Callable[[Layout, tuple[Gpu, ...]], "tuple[Estimate, ...] | Unknown"]


def job(machine: Machine, model: str | None, engine: str = "vllm", **more: object) -> Job:
    count = Gpus(len(machine.gpus))
    kind = "training" if engine == "torchrun" else "inference"
    return replace(Job(kind, "llm", engine, True, model=model, gpus=count, context_length=CONTEXT), **more)  # type: ignore[arg-type]


def reckoned(asked: Job) -> Asked:
    """What vLLM needs, in short: weights, 2 GiB, and the cache gets the rest of 92 %."""
    model = by_name(asked.model or "")
    if model is None:
        return lambda *_: Unknown("not known")
    stored = format_of(asked.model, asked.quantization, model)

    def estimate(layout: Layout, gpus: tuple[Gpu, ...]) -> tuple[Estimate, ...]:
        return tuple(one(gpu, at // layout.tensor % layout.pipeline, layout) for at, gpu in enumerate(gpus))

    def one(gpu: Gpu, stage: int, layout: Layout) -> Estimate:
        weights = on_gpu(model, stored, layout.tensor, layout.pipeline, stage)
        sequence = cached(model, CONTEXT, tensor=layout.tensor) // layout.pipeline
        budget = int(gpu.memory * 0.92)
        pool = max(0, budget - weights - 2 * GIB)
        lines = (Line("weights", exactly(weights), "exact"), Line("rest", exactly(2 * GIB), "guessed"))
        lines += (Line("cache", exactly(sequence), "exact"),)
        cache = Cache(exactly(pool), sequence, CONTEXT, pool * CONTEXT // sequence)
        return Estimate(gpu.index, lines, gpu.free, budget, cache)

    return estimate


def decided(
    board: str, model: str | None, policy: Policy = "latency", engine: str = "vllm", **more: object
) -> Decision:
    machine = shorthand(board)
    asked = job(machine, model, engine, **more)
    known = by_name(model) if model else None
    return decide(asked, engine_named(engine), machine.gpus, machine.links, known, policy, reckoned(asked))


def chosen(*args: object, **more: object) -> Choice:
    found = decided(*args, **more).chosen  # type: ignore[arg-type]
    assert found
    return found


@pytest.mark.parametrize(
    ("board", "model", "layout"),
    [
        ("4xh100", LARGE, Layout(4)),
        ("8xh100", LARGE, Layout(8)),
        ("8xa100", LARGE, Layout(8)),
        ("4xa100-pcie-80gb", LARGE, Layout(2, 2)),
        ("4xl40s", LARGE, Layout(2, 2)),
        ("2xa100-pcie-80gb", LARGE, Layout(2)),
        ("2xh100", SMALL, Layout(2)),
        ("4xh100", SMALL, Layout(4)),
        ("1xh100", SMALL, Layout()),
    ],
)
def test_what_a_specialist_takes(board: str, model: str, layout: Layout) -> None:
    assert chosen(board, model).layout == layout


def test_throughput_takes_the_smallest_that_fits_and_replicas() -> None:
    assert chosen("8xh100", SMALL, "throughput").layout == Layout(1, 1, 8)
    assert chosen("4xrtx-3090:nvlink-pairs", "Qwen/Qwen2.5-32B-Instruct-AWQ", "throughput").layout.tensor <= 2
    large = chosen("8xh100", LARGE, "throughput")
    assert large.layout.tensor < 8
    latency = chosen("8xh100", LARGE).speed
    assert large.speed
    assert latency
    assert large.speed.tokens_per_second > latency.tokens_per_second


def test_capacity_takes_what_holds_most() -> None:
    found = decided("8xh100", LARGE, "capacity")
    assert found.chosen
    assert found.chosen.layout.data == 1
    assert "holds the most tokens" in found.chosen.why


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-32B-Instruct-AWQ", "Qwen/Qwen3-8B"])
def test_no_group_straddles_two_bridges(model: str) -> None:
    found = chosen("4xrtx-3090:nvlink-pairs", model)
    assert found.layout.tensor == 2
    assert [gpu.index // 2 for gpu in found.gpus] in ([0, 0, 1, 1], [1, 1, 0, 0])


def test_bridges_that_lie_across_decide_the_order() -> None:
    machine = shorthand("4xrtx-3090:nvlink-pairs")
    swap = {0: 0, 1: 2, 2: 1, 3: 3}
    links = tuple(link._replace(a=swap[link.a], b=swap[link.b]) for link in machine.links)
    order = [gpu.index for gpu in ordered(machine.gpus, Layout(2, 2), Fabric(links))]
    assert order == [0, 2, 1, 3]
    assert [gpu.index for gpu in ordered(machine.gpus, Layout(2, 2), Fabric(machine.links))] == [0, 1, 2, 3]


def test_cards_that_are_alike_share_a_group() -> None:
    fast, slow = shorthand("4xrtx-5090"), shorthand("4xrtx-3090")
    gpus = tuple((fast if at % 2 else slow).gpus[at] for at in range(4))
    order = ordered(gpus, Layout(2, 2), Fabric(slow.links))
    assert [gpu.product for gpu in order] == ["rtx-3090", "rtx-3090", "rtx-5090", "rtx-5090"]


def test_an_uneven_group_is_said() -> None:
    fast, slow = shorthand("2xrtx-5090"), shorthand("2xrtx-3090")
    gpus = (fast.gpus[0], slow.gpus[1])
    asked = job(fast, "Qwen/Qwen3-8B", parallel=Parallel(tensor=2))
    found = decide(asked, engine_named("vllm"), gpus, slow.links, by_name("qwen3-8b"), "latency", reckoned(asked))
    assert found.chosen
    assert "tensor 2 goes at the pace of rtx-3090 (GPU 1, 936 of 1792 GB/s)" in found.chosen.why


def test_those_that_lost_say_why() -> None:
    found = decided("4xa100-pcie-80gb", LARGE)
    words = {other.layout: other.why for other in found.others}
    assert "its all-reduces alone take" in words[Layout(4)]
    assert "slower than tensor 2 x pipeline 2" in words[Layout(4)]
    assert "lacks" in words[Layout(1, 1, 4)]
    assert found.chosen
    assert "16 requests at once, 1024 tokens in, 256 out" in found.chosen.why


def test_nothing_fits() -> None:
    found = decided("2xrtx-4090", LARGE)
    assert found.chosen is None
    assert all(other.why for other in found.others)


def test_the_table_decides_where_the_model_is_not_known() -> None:
    unknown = {board: chosen(board, "some/model").layout for board in ("2xl4", "4xh100", "4xl4", "8xh100", "8xl4")}
    assert unknown == {
        "2xl4": Layout(2),
        "4xh100": Layout(4),
        "4xl4": Layout(2, 2),
        "8xh100": Layout(8),
        "8xl4": Layout(4, 2),
    }
    assert "not known" in chosen("4xl4", "some/model").why
    assert chosen("4xl4", None, engine="torchrun").layout == Layout(1, 1, 4)
    assert chosen("4xl4", "some/model.gguf", engine="llamacpp").layout == Layout(1, 4)


def test_sizes_that_the_spec_gives_are_kept() -> None:
    assert chosen("8xh100", SMALL, parallel=Parallel(pipeline=2)).layout.pipeline == 2
    assert chosen("8xh100", SMALL, parallel=Parallel(tensor=2, data=4)).layout == Layout(2, 1, 4)


def test_an_engine_that_splits_tensors_only_when_asked() -> None:
    assert chosen("2xrtx-3090", "Qwen/Qwen3-8B", engine="llamacpp").layout == Layout(1, 2)
    assert chosen("2xrtx-3090", "Qwen/Qwen3-8B", engine="llamacpp", parallel=Parallel(tensor=2)).layout == Layout(2)


def test_groups_of_a_quantized_mlp_are_not_cut() -> None:
    machine = shorthand("8xh100")
    asked = job(machine, "Qwen/Qwen2.5-14B-Instruct-AWQ")
    ruled = {
        one.layout: one.against for one in candidates(asked, engine_named("vllm"), machine.gpus, by_name("qwen2.5-14b"))
    }
    assert "multiple of the 128" in (ruled[Layout(8)] or "")
    assert ruled[Layout(4, 2)] is None


engines = st.sampled_from(["vllm", "sglang", "tgi", "tensorrt-llm", "llamacpp", "lmdeploy"])
models = st.sampled_from([LARGE, SMALL, "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-30B-A3B", "google/gemma-3-27b-it"])
counts = st.integers(1, 8)


@settings(max_examples=60, deadline=None)
@given(engines, models, counts)
def test_candidates_keep_the_rules(engine: str, name: str, count: int) -> None:
    machine, model = shorthand(f"{count}xh100"), by_name(name)
    asked = job(machine, name, engine)
    assert model
    for layout, against in candidates(asked, engine_named(engine), machine.gpus, model):
        assert layout.tensor * layout.pipeline * layout.data == count
        if against is None:
            assert (model.heads or 0) % layout.tensor == 0
            assert layout.pipeline <= (model.layers or 0)
            assert layout.expert == 1 or model.experts % layout.expert == 0
        used = {field for field, size in layout._asdict().items() if size > 1}
        assert used <= set(engine_named(engine).dimensions)


@settings(max_examples=40, deadline=None)
@given(engines, models, counts, st.sampled_from(["latency", "throughput", "capacity"]))
def test_a_decision_is_whole_and_the_same_twice(engine: str, name: str, count: int, policy: Policy) -> None:
    board = f"{count}xa100-pcie-80gb"
    found = decided(board, name, policy, engine)
    assert found == decided(board, name, policy, engine)
    for choice in (*([found.chosen] if found.chosen else ()), *found.others):
        assert prod(choice.layout[:3]) == count
        assert sorted(gpu.index for gpu in choice.gpus) == list(range(count))
        assert choice.why
    if found.chosen:
        assert found.chosen.verdict != "does not fit"


def test_where_the_engines_memory_is_not_known_the_weights_alone_may_be_too_many() -> None:
    machine = shorthand("4xrtx-4090")
    asked = job(machine, LARGE, quantization="awq-int4")
    engine, model = engine_named("lmdeploy"), by_name(LARGE)
    found = decide(asked, engine, machine.gpus, machine.links, model, "latency", lambda *_: Unknown("no model of it"))
    assert found.chosen
    assert "not known what they need" in found.chosen.why or len(found.others) == 0
    small = shorthand("2xrtx-4090")
    large = decide(
        job(small, LARGE), engine, small.gpus, small.links, model, "latency", lambda *_: Unknown("no model of it")
    )
    assert large.chosen is None
    assert "the weights alone are 64.7 GiB on each" in large.others[0].why
