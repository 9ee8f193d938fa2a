"""The words of published comparisons mean what a reader takes them to mean."""

from __future__ import annotations

from typing import Any

import pytest

from mgpu.values.plan import Layout
from tests.reference.layout_words import Side, asked, products_of, sides
from tests.reference.layouts import ANSWERS


def both(first: str, second: str, setup: str, what: str = "single stream", kind: str = "tp_vs_pp") -> tuple[Side, ...]:
    return sides({"kind": kind, "setup": setup, "what": what}, (first, second))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("4x RTX 3090 PCIe 3.0 x16, 220 W", ["rtx-3090"] * 4),
        ("RTX 5090 + RTX 3090 Ti, both x8", ["rtx-5090", "rtx-3090-ti"]),
        ("no faster than two plain RTX 3090", ["rtx-3090"] * 2),
        ("4x A100 40GB SXM, LLaMA 13B", ["a100-sxm4-40gb"] * 4),
        ("1x A100 80GB PCIe, llama 7B F16", ["a100-pcie-80gb"]),
        ("2x H100 PCIe", ["h100-pcie"] * 2),
        ("Qwen3.6-27B INT4 + MTP", []),
        ("8x L40S, 2 of them busy", ["l40s"] * 8),
    ],
)
def test_gpus_are_counted(text: str, ids: list[str]) -> None:
    assert [product.id for product in products_of(text.lower())] == ids


@pytest.mark.parametrize(
    ("arm", "layout"),
    [
        ("TP4", Layout(4)),
        ("TP2 PP2", Layout(2, 2)),
        ("TP2xPP2", Layout(2, 2)),
        ("TP=4,PP=1", Layout(4)),
        ("2 x TP2", Layout(2, 1, 2)),
        ("4 replicas", Layout(1, 1, 4)),
        ("DP4", Layout(1, 1, 4)),
        ("layer split", Layout(1, 4)),
        ("tensor parallel", Layout(4)),
        ("-sm row", Layout(4)),
        ("1 GPU", Layout()),
    ],
)
def test_layouts_are_read(arm: str, layout: Layout) -> None:
    assert both(arm, "TP4", "4x RTX 3090")[0].layout == layout


def test_links_are_read() -> None:
    with_, without = both("NVLink", "PCIe with NCCL_P2P_DISABLE=1", "2x RTX 3090, same rig")
    assert [link.kind for link in (*with_.links, *without.links)] == ["NVLINK", "PHB"]
    assert without.links[0].p2p is False
    slow = both("P2P on", "P2P off", "4x RTX 3090, PCIe 3.0 x8, patched driver")
    assert [(side.links[0].bandwidth, side.links[0].p2p) for side in slow] == [(8.0, True), (8.0, False)]


@pytest.mark.parametrize(
    ("what", "concurrency", "prompt", "kind"),
    [
        ("single stream narrative tok/s", 1, 512, "decode"),
        ("output throughput, concurrency 4", 4, 1024, "throughput"),
        ("prefill at 90k tokens", 1, 90_000, "prefill"),
        ("TTFT, 1M context, concurrency 8", 8, 1_000_000, "prefill"),
        ("p90 latency at 3 req/s", 16, 1024, "latency"),
        ("peak aggregate tok/s", 1024, 1024, "throughput"),
        ("maximum throughput, input 2048 output 128", 1024, 2048, "throughput"),
    ],
)
def test_what_is_compared_is_read(what: str, concurrency: int, prompt: int, kind: str) -> None:
    workload, found, _ = asked("tp4", what.lower())
    assert (workload.concurrency, workload.prompt, found) == (concurrency, prompt, kind)


def test_the_side_without_a_number_is_no_answer() -> None:
    """Changing the places of the two changes the answer with them."""
    row: dict[str, Any] = {"kind": "replicas_vs_tp", "setup": "4x RTX 3090", "what": "peak aggregate, 27B INT8"}
    answer = ANSWERS["replicas_vs_tp"]
    assert answer(row | {"options": ["1 x TP4", "2 x TP2"]}) == 1
    assert answer(row | {"options": ["2 x TP2", "1 x TP4"]}) == 0
    assert answer(row | {"options": ["2 x TP2", "2 x TP2"]}) == "tie"
