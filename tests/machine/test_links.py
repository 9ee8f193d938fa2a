"""How GPUs are joined, as NVML tells it: lanes, switches, the way over PCIe, P2P, and what each can carry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mgpu.values.machine import Link
from tests.fakes.nvml import HIDDEN, LOST, MIB, SWITCH, FakeGpu, Stub
from tests.machine.reading import machine

RTX_3090 = FakeGpu(name="NVIDIA GeForce RTX 3090", total=24576 * MIB, reserved=452 * MIB, cc_major=8, cc_minor=6)
PIX, PXB, PHB, NODE, SYS = 10, 20, 30, 40, 50
OK, CHIPSET = 0, 1
ABSENT = 63


def lanes(count: int, peer: int, first: int = 0) -> dict[int, int]:
    """`count` NVLinks to `peer`, from lane `first` on."""
    return dict.fromkeys(range(first, first + count), peer)


@pytest.mark.parametrize("end", [SWITCH, HIDDEN], ids=["a switch", "a switch that a guest cannot see"])
def test_a_switch_joins_all_with_all(nvml: Stub, end: int) -> None:
    nvml.write([FakeGpu(links=lanes(18, end), p2p={1: OK, 2: OK}) for _ in range(3)])
    links = machine(nvml).links
    assert [(link.a, link.b) for link in links] == [(0, 1), (0, 2), (1, 2)]
    assert {(link.kind, link.nvlinks, link.bandwidth) for link in links} == {("NVLINK", 18, 450.0)}


def test_an_end_that_cannot_be_seen_is_no_switch_on_a_card_that_is_bridged(nvml: Stub) -> None:
    cards = [replace(RTX_3090, links=lanes(4, HIDDEN), ancestors={0: PHB, 1: PHB}) for _ in range(2)]
    assert machine(nvml.write(cards)).links[0].kind == "PHB"


def test_the_fewer_lanes_to_the_switch_count(nvml: Stub) -> None:
    nvml.write([FakeGpu(links=lanes(18, SWITCH)), FakeGpu(links=lanes(16, SWITCH))])
    assert machine(nvml).links == (Link(0, 1, "NVLINK", 16, 400.0, None),)


def test_a_bridge_joins_two(nvml: Stub) -> None:
    far = dict.fromkeys(range(4), NODE)
    cards = [
        replace(RTX_3090, links=lanes(4, gpu ^ 1), ancestors=far, p2p={gpu ^ 1: OK}, pcie_generation=4)
        for gpu in range(4)
    ]
    links = machine(nvml.write(cards)).links
    assert links[0] == Link(0, 1, "NVLINK", 4, 56.25, True)
    assert links[1] == Link(0, 2, "NODE", 0, 32.0, None)
    assert links[5] == Link(2, 3, "NVLINK", 4, 56.25, True)


def test_lanes_to_a_card_that_this_container_was_not_given_join_nothing(nvml: Stub) -> None:
    cards = [replace(RTX_3090, links=lanes(4, ABSENT), ancestors={0: PHB, 1: PHB}) for _ in range(2)]
    assert machine(nvml.write(cards)).links[0].kind == "PHB"


def test_unequal_lanes_of_a_mesh(nvml: Stub) -> None:
    v100 = FakeGpu(name="Tesla V100-SXM2-16GB", total=16384 * MIB, reserved=300 * MIB)
    nvml.write(
        [
            replace(v100, links={**lanes(1, 1), **lanes(2, 2, first=1)}),
            replace(v100, links=lanes(1, 0)),
            replace(v100, links=lanes(2, 0)),
        ]
    )
    assert machine(nvml).links == (Link(0, 1, "NVLINK", 1, 25.0, None), Link(0, 2, "NVLINK", 2, 50.0, None))


@pytest.mark.parametrize(
    ("level", "kind"), [(0, "PIX"), (PIX, "PIX"), (PXB, "PXB"), (PHB, "PHB"), (NODE, "NODE"), (SYS, "SYS")]
)
def test_the_way_over_pcie(nvml: Stub, level: int, kind: str) -> None:
    nvml.write([FakeGpu(ancestors={1: level}), FakeGpu()])
    assert machine(nvml).links == (Link(0, 1, kind, 0, 64.0, None),)


@pytest.mark.parametrize(("status", "p2p"), [(OK, True), (CHIPSET, False), (5, False), (-1, None)])
def test_p2p_is_what_the_driver_grants(nvml: Stub, status: int, p2p: bool | None) -> None:
    nvml.write([FakeGpu(ancestors={1: SYS}, p2p={1: status}), FakeGpu()])
    assert machine(nvml).links[0].p2p is p2p


def test_the_slower_slot_counts(nvml: Stub) -> None:
    nvml.write([FakeGpu(ancestors={1: PHB}, pcie_width=4), FakeGpu()])
    assert machine(nvml).links[0].bandwidth == 16.0


def test_what_is_not_known_is_not_invented(nvml: Stub) -> None:
    odd = FakeGpu(name="NVIDIA Odd 1", links=lanes(6, SWITCH))
    nvml.write([odd, odd, FakeGpu(ancestors={3: PHB}, pcie_width=None), FakeGpu(handle=0)])
    assert machine(nvml).links == (Link(0, 1, "NVLINK", 6, None, None), Link(2, 3, "PHB", 0, None, None))


def test_a_lost_gpu_is_joined_with_nothing(nvml: Stub) -> None:
    nvml.write([FakeGpu(ancestors={1: PHB, 2: PHB}), FakeGpu(handle=LOST), FakeGpu()])
    assert [(link.a, link.b) for link in machine(nvml).links] == [(0, 2)]


def test_links_follow_the_bus_order_too(nvml: Stub) -> None:
    last = FakeGpu(bus="00000000:41:00.0", ancestors={2: PIX})
    nvml.write([last, FakeGpu(bus="00000000:01:00.0"), FakeGpu(bus="00000000:02:00.0", ancestors={0: PIX})])
    read = machine(nvml)
    assert [gpu.bus_id for gpu in read.gpus] == ["00000000:01:00.0", "00000000:02:00.0", "00000000:41:00.0"]
    assert [(link.a, link.b, link.kind) for link in read.links] == [(1, 2, "PIX")]
