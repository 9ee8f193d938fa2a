"""GPUs and their NVML handles in, how each pair is joined out: by NVLink if there is any, else the way over PCIe."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import NamedTuple

from mgpu.catalog.gpus import pcie_bandwidth, products
from mgpu.machine.ask import Device, ask
from mgpu.values.machine import Gpu, Link

ANCESTORS = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
"""nvmlGpuTopologyLevel_t; 0 is INTERNAL, two GPUs on one board."""
MAX_LINKS = 36
"""NVML_NVLINK_MAX_LINKS of the newest header; older drivers refuse the upper half."""
READ = 0
"""NVML_P2P_CAPS_INDEX_READ; the binding's own constant is a tuple by mistake."""
GPU, SWITCH = 0, 2
"""NVML_NVLINK_DEVICE_TYPE_GPU and _SWITCH."""


class Lanes(NamedTuple):
    """The active NVLinks of a GPU: how many lead to each peer (by bus id), and how many to a switch."""

    peers: Counter[str]
    switch: int


def between(devices: list[Device]) -> tuple[Link, ...]:
    """A Link for every pair of which NVML says anything."""
    alive = [device for device in devices if device.handle]
    buses = {device.gpu.bus_id for device in alive}
    lanes = {device.gpu.index: _lanes(device, buses) for device in alive}
    links = (_link(a, b, _shared(lanes[a.gpu.index], lanes[b.gpu.index], b.gpu)) for a, b in combinations(alive, 2))
    return tuple(link for link in links if link)


def _lanes(device: Device, buses: set[str | None]) -> Lanes:
    """What is at the far end of each lane. Where it cannot be seen, as often in a guest of a virtual machine
    (NVIDIA/nccl#1182), it is a switch if that is how the product is sold. A GPU that is not among `buses` is one that
    this container was not given."""
    handle, sold = device.handle, next((p.nvlink for p in products() if p.id == device.gpu.product), None)
    peers: Counter[str] = Counter()
    switch = 0
    for lane in range(MAX_LINKS):
        if not ask("nvmlDeviceGetNvLinkState", handle, lane):
            continue
        remote = ask("nvmlDeviceGetNvLinkRemotePciInfo", handle, lane)
        bus = remote.busId if remote else None
        if bus in buses and bus is not None:
            peers[bus] += 1
        else:
            kind = ask("nvmlDeviceGetNvLinkRemoteDeviceType", handle, lane)
            switch += kind == SWITCH or (kind != GPU and sold == "switch")
    return Lanes(peers, switch)


def _shared(a: Lanes, b: Lanes, peer: Gpu) -> int:
    """The NVLinks that carry from a to b: those between them, else what both have to the switch."""
    return a.peers[peer.bus_id or ""] or min(a.switch, b.switch)


def _link(a: Device, b: Device, nvlinks: int) -> Link | None:
    status = ask("nvmlDeviceGetP2PStatus", a.handle, b.handle, READ)
    p2p = status == 0 if status is not None else None
    if nvlinks:
        return Link(a.gpu.index, b.gpu.index, "NVLINK", nvlinks, _nvlink_bandwidth(a.gpu, nvlinks), p2p)
    kind = ANCESTORS.get(ask("nvmlDeviceGetTopologyCommonAncestor", a.handle, b.handle))
    return Link(a.gpu.index, b.gpu.index, kind, 0, _pcie_bandwidth(a.gpu, b.gpu), p2p) if kind else None


def _nvlink_bandwidth(gpu: Gpu, nvlinks: int) -> float | None:
    product = next((product for product in products() if product.id == gpu.product), None)
    if product is None or product.nvlink_bandwidth is None:
        return None
    return product.nvlink_bandwidth / product.nvlinks * nvlinks


def _pcie_bandwidth(*gpus: Gpu) -> float | None:
    """That of the slower slot."""
    speeds = [pcie_bandwidth(gpu.pcie_generation, gpu.pcie_width) for gpu in gpus]
    known = [speed for speed in speeds if speed is not None]
    return min(known) if len(known) == len(speeds) else None
