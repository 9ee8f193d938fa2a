"""GPUs and the links between them in, how long they take to add up or hand on a message out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

from mgpu.catalog.allreduce import Curve, curve, nvlink_system, pcie_system
from mgpu.catalog.gpus import Product, pcie_bandwidth
from mgpu.catalog.gpus import by_name as product_named
from mgpu.catalog.gpus import by_nvml_name as product_called
from mgpu.values.machine import LINK_KINDS, Gpu, Link

HANDED = 0.7
"""The share of a link's rate that one copy from GPU to GPU reaches (NVIDIA's p2pBandwidthLatencyTest, about)."""


class Wire(NamedTuple):
    """An all-reduce among `gpus`: seconds by bytes at the measured points, what it takes at least, `stretch`: how much
    slower this link is than the measured one, and in words what joins them."""

    gpus: int
    sizes: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    stretch: float = 1.0
    words: str = ""
    rate: float = 0.0

    def all_reduce(self, size: float) -> float:
        """Seconds for `size` bytes: the latency, and beyond it a line between the measured points."""
        if self.gpus < 2:
            return 0.0
        sizes, seconds = self.sizes, self.seconds
        if size <= sizes[0]:
            return seconds[0]
        at = min(bisect_left(sizes, size), len(sizes) - 1)
        slope = (seconds[at] - seconds[at - 1]) / (sizes[at] - sizes[at - 1])
        return seconds[0] + self.stretch * (seconds[at - 1] + (size - sizes[at - 1]) * slope - seconds[0])


ALONE = Wire(1)


class Fabric:
    """The links of a machine, asked for groups of its GPUs; every group's wire is made once."""

    def __init__(self, links: Iterable[Link]) -> None:
        self.links = {(link.a, link.b): link for link in links}
        self.links.update({(link.b, link.a): link for link in tuple(self.links.values())})
        self.wires: dict[tuple[int, ...], Wire] = {}

    def wire(self, group: tuple[Gpu, ...]) -> Wire:
        """What joins a group."""
        key = tuple(gpu.index for gpu in group)
        if key not in self.wires:
            self.wires[key] = self._made(group) if len(group) > 1 else ALONE
        return self.wires[key]

    def _made(self, group: tuple[Gpu, ...]) -> Wire:
        found = [self.links.get((a.index, b.index)) for a, b in combinations(group, 2)]
        links = [link for link in found if link]
        if self._ringed(group):
            return _by_nvlink(group, [link for link in links if link.kind == "NVLINK"])
        slow = [link for link in links if link.kind != "NVLINK"]
        return _by_pcie(group, slow, unknown=len(links) < len(found))

    def _ringed(self, group: tuple[Gpu, ...]) -> bool:
        """Whether NVLink alone joins them in a ring, as NCCL wants it: each has it to two others, of a pair to one."""
        peers = [sum(self._kind(gpu, other) == "NVLINK" for other in group if other is not gpu) for gpu in group]
        return min(peers) >= min(2, len(group) - 1)

    def _kind(self, a: Gpu, b: Gpu) -> str | None:
        link = self.links.get((a.index, b.index))
        return link.kind if link else None

    def facts(self, a: Gpu, b: Gpu) -> tuple[object, ...]:
        """What tells the link of two GPUs from that of others."""
        link = self.links.get((a.index, b.index))
        return tuple(link)[2:] if link else ()

    def rank(self, a: Gpu, b: Gpu) -> int:
        """0 for NVLink, more for a longer way."""
        kind = self._kind(a, b)
        return LINK_KINDS.index(kind) if kind else len(LINK_KINDS)


def product_of(gpu: Gpu) -> Product | None:
    """What a GPU is sold as, where the catalogue knows it."""
    return (product_named(gpu.product) if gpu.product else None) or product_called(gpu.name)


def _by_nvlink(group: tuple[Gpu, ...], links: list[Link]) -> Wire:
    product = product_of(group[0])
    capability = group[0].compute_capability or (product.compute_capability if product else None)
    shape = curve(nvlink_system(capability), len(group))
    full = (product.nvlink_bandwidth if product else None) or shape.link
    rate = min(link.bandwidth or full for link in links)
    return _measured(_scaled(shape, rate, "NVLink"), links)


def _by_pcie(group: tuple[Gpu, ...], links: list[Link], unknown: bool) -> Wire:
    asked = [link.p2p for link in links]
    p2p = False if False in asked else None if unknown or None in asked else True
    slots = [pcie_bandwidth(gpu.pcie_generation, gpu.pcie_width) for gpu in group]
    products = [product.pcie_bandwidth for gpu in group if (product := product_of(gpu))]
    rates = [link.bandwidth for link in links if link.bandwidth] or [slot for slot in slots if slot] or products
    worst = max((LINK_KINDS.index(link.kind) for link in links), default=len(LINK_KINDS))
    word = "links that are not known" if unknown else LINK_KINDS[worst]
    word += {False: " without P2P", None: "", True: ""}[p2p]
    shape = curve(pcie_system(p2p), len(group))
    return _measured(_scaled(shape, min(rates, default=shape.link), word), links)


def _scaled(shape: Curve, rate: float, words: str) -> Wire:
    return Wire(shape.gpus, shape.sizes, shape.seconds, shape.link / rate, words, rate)


def _measured(wire: Wire, links: list[Link]) -> Wire:
    """The wire with what was measured between two on this very host in place of the table's, and for more than two of
    them as much more as the table has."""
    latency = max((link.latency for link in links if link.latency), default=None)
    rate = min((link.measured for link in links if link.measured), default=None)
    if latency is None and rate is None:
        return wire
    more = max(1.0, wire.gpus / 2) if "NVLink" not in wire.words else 1.0
    first = latency * 1e-6 * more**0.5 if latency else wire.seconds[0]
    if rate is None:
        return wire._replace(seconds=tuple(first + t - wire.seconds[0] for t in wire.seconds))
    ring = 2 * (wire.gpus - 1) / wire.gpus
    last = first + wire.sizes[-1] * ring / (rate * 1e9)
    return wire._replace(sizes=(wire.sizes[0], wire.sizes[-1]), seconds=(first, last), stretch=1.0, rate=rate)


def through_host(gpus: int, rate: float | None) -> Wire:
    """What an engine has that always goes through the host's memory; `rate` in GB/s where it was measured."""
    shape = curve(pcie_system(False), gpus)
    last = shape.seconds[0] + shape.sizes[-1] * gpus / 2 / (rate * 1e9) if rate else shape.seconds[-1]
    return Wire(gpus, (shape.sizes[0], shape.sizes[-1]), (shape.seconds[0], last), 1.0, "the host's memory", rate or 8)
