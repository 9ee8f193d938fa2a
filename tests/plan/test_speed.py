"""How fast layouts are: laws that hold whatever the constants, and what was published of some."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgpu.catalog.engine_speed import pace
from mgpu.catalog.machines import shorthand
from mgpu.catalog.models import by_name
from mgpu.plan.burden import Burden, burden_of
from mgpu.plan.collective import Fabric
from mgpu.plan.speed import speed
from mgpu.values.machine import Link, Machine
from mgpu.values.plan import Layout
from mgpu.values.speed import Speed, Workload

ONE = Workload(1, 512, 256)
MODELS = {"llama-3.1-8b": "bf16", "llama-3.1-70b": "fp8", "qwen3-30b-a3b": "bf16", "deepseek-v3": "fp8-block"}
LAYOUTS = [Layout(8), Layout(1, 8), Layout(1, 1, 8), Layout(2, 2, 2), Layout(4, 2), Layout(4, 1, 2), Layout(2, 4)]


def burden(name: str, stored: str, workload: Workload) -> Burden:
    model = by_name(name)
    assert model
    return burden_of(model, stored, workload)


def on(machine: Machine, layout: Layout, name: str, stored: str, workload: Workload, engine: str = "vllm") -> Speed:
    fabric = Fabric(machine.links)
    found = speed(burden(name, stored, workload), layout, machine.gpus, fabric, pace(engine), workload)
    assert found
    return found


asked = st.builds(Workload, st.integers(1, 600), st.integers(1, 20_000), st.integers(1, 2000))
named = st.sampled_from(sorted(MODELS.items()))
boards = st.sampled_from(["8xh100", "8xrtx-4090", "8xl40s", "8xrtx-3090:nvlink-pairs", "8xv100-sxm2-32gb"])


@settings(max_examples=120, deadline=None)
@given(boards, named, asked, st.sampled_from(LAYOUTS), st.floats(1.0, 20.0))
def test_links_with_more_bandwidth_never_slow(
    board: str, model: tuple[str, str], workload: Workload, layout: Layout, more: float
) -> None:
    machine = shorthand(board)
    links = tuple(link._replace(bandwidth=(link.bandwidth or 1.0) * more) for link in machine.links)
    slow, fast = on(machine, layout, *model, workload), on(replace(machine, links=links), layout, *model, workload)
    assert fast.request <= slow.request * (1 + 1e-9)
    assert fast.tokens_per_second >= slow.tokens_per_second * (1 - 1e-9)
    assert fast.ttft <= slow.ttft * (1 + 1e-9)


@settings(max_examples=80, deadline=None)
@given(named, asked, st.sampled_from(LAYOUTS))
def test_a_card_with_more_of_everything_never_slows(model: tuple[str, str], workload: Workload, layout: Layout) -> None:
    h100 = shorthand("8xh100")
    more = replace(h100, gpus=tuple(replace(gpu, product="h200-sxm") for gpu in h100.gpus))
    assert on(more, layout, *model, workload).request <= on(h100, layout, *model, workload).request * (1 + 1e-9)


@settings(max_examples=80, deadline=None)
@given(boards, named, asked, st.sampled_from(LAYOUTS))
def test_a_speed_adds_up(board: str, model: tuple[str, str], workload: Workload, layout: Layout) -> None:
    found = on(shorthand(board), layout, *model, workload)
    assert found == on(shorthand(board), layout, *model, workload)
    assert sum(part.seconds for part in found.parts) >= found.request * (1 - 1e-6)
    assert found.low < found.tokens_per_second < found.high
    assert found.parts[0].what == found.bottleneck
    served = workload.concurrency * workload.output / found.tokens_per_second
    assert served == pytest.approx(found.request, rel=0.35)
    assert min(found.ttft, found.tpot, found.request) > 0


def test_a_group_goes_at_the_pace_of_its_slowest_card() -> None:
    pair = shorthand("2xrtx-5090")
    mixed = replace(pair, gpus=(pair.gpus[0], replace(shorthand("2xrtx-3090-ti").gpus[1])))
    alike = shorthand("2xrtx-3090-ti")
    links = (Link(0, 1, "PHB", 0, 16.0, False),)
    both = [on(replace(one, links=links), Layout(2), "qwen3-32b", "awq-int4", ONE) for one in (mixed, alike)]
    assert both[0].tpot == pytest.approx(both[1].tpot)
    stages = on(replace(mixed, links=links), Layout(1, 2), "qwen3-32b", "awq-int4", ONE)
    even = on(replace(alike, links=links), Layout(1, 2), "qwen3-32b", "awq-int4", ONE)
    assert stages.tpot < even.tpot


def test_published_steps_are_met() -> None:
    """TensorRT-LLM, Qwen3-32B fp8 on H100, 8 requests of 1024 tokens (aiconfigurator's sweeps)."""
    workload = Workload(8, 1024, 256)
    for tensor, published in ((1, 16.99), (2, 10.86), (4, 7.86), (8, 6.48)):
        machine = shorthand(f"{tensor}xh100")
        found = on(machine, Layout(tensor), "qwen3-32b", "fp8", workload, "tensorrt-llm")
        assert found.tpot * 1e3 == pytest.approx(published, rel=0.2)


def test_all_reduces_decide_on_a_board_without_p2p() -> None:
    """70B, 2048 tokens, TP4: 31 ms of all-reduces on NVSwitch, 2.2 s on an L40S host, by hand from allreduce.json."""
    prompt = Workload(1, 2048, 1)
    for board, least, most in (("4xh100", 0.02, 0.045), ("4xl40s", 1.5, 2.6)):
        found = on(shorthand(board), Layout(4), "llama-3.1-70b", "bf16", prompt)
        adding = next(part.seconds for part in found.parts if part.what == "all-reduces")
        assert least < adding < most


def test_what_was_measured_on_the_host_goes_before_the_tables() -> None:
    machine = shorthand("2xrtx-4090")
    slow = on(machine, Layout(2), "llama-3.1-8b", "bf16", ONE)
    links = tuple(link._replace(latency=8.0, measured=22.0) for link in machine.links)
    fast = on(replace(machine, links=links), Layout(2), "llama-3.1-8b", "bf16", ONE)
    step = 2 * 32 * (50 - 8) * 1e-6
    assert slow.tpot - fast.tpot == pytest.approx(step, rel=0.1)
    worse = tuple(link._replace(latency=500.0, measured=0.5) for link in machine.links)
    assert on(replace(machine, links=worse), Layout(2), "llama-3.1-8b", "bf16", ONE).tpot > slow.tpot


def test_one_call_is_cheap() -> None:
    machine, workload = shorthand("8xh100"), Workload()
    asks, fabric, constants = burden("llama-3.1-70b", "bf16", workload), Fabric(machine.links), pace("vllm")
    for layout in LAYOUTS:
        speed(asks, layout, machine.gpus, fabric, constants, workload)
    times = []
    for _ in range(50):
        start = time.process_time()
        for layout in LAYOUTS:
            speed(asks, layout, machine.gpus, fabric, constants, workload)
        times.append((time.process_time() - start) / len(LAYOUTS))
    assert min(times) < 0.3e-3


def test_a_gpu_that_is_not_known_has_no_speed() -> None:
    machine = shorthand("2xh100")
    strange = tuple(replace(gpu, product=None, name="NVIDIA Z9") for gpu in machine.gpus)
    asks = burden("llama-3.1-8b", "bf16", ONE)
    assert speed(asks, Layout(2), strange, Fabric(machine.links), pace("vllm"), ONE) is None
