"""The host in, how its GPUs are joined out: the slots, NVLinks, direct access between pairs, and what was measured.

What is wrong here stops no job and slows most: each finding says what it costs, in GB/s.
"""

from __future__ import annotations

from collections.abc import Iterator

from mgpu.catalog.gpus import Product, pcie_bandwidth, products
from mgpu.machine.checks.driver import DEVICES
from mgpu.machine.checks.finding import Check, Finding, broken, gpus, ok, skipped, warning, worst
from mgpu.machine.checks.host import Host
from mgpu.machine.health import Health
from mgpu.values.machine import Gpu, Link

ALONE = skipped("fewer than two GPUs")
SLOW = 0.25
"""Of a link's bandwidth: below this an all-reduce between two shows that something is wrong."""
STAGES = "where it cannot be mended: parallel: {pipeline: N} moves far less between GPUs than tensor"
RESEAT = "power off: reseat the card and its riser, or take another slot (the board's manual says which have x16)"
RENT = "the slot is the host's: tell who rents it out, or rent another machine"
BIOS = "look in the BIOS: the slot's generation (Auto) and its bifurcation (x16)"


def slots(host: Host) -> Finding:
    """Whether each slot carries what the card can. A card that idles lowers its generation, never its width."""
    known = [(gpu, health) for gpu, health in host.cards() if health.width_now and health.generation_now]
    if not known:
        return skipped("the driver does not say how the slots are")
    rented = bool(host.virtual or host.container)
    rows = [_slot(gpu, health, _widest(host, gpu), rented) for gpu, health in known]
    return worst(rows, ok("as the cards can"))


def _widest(host: Host, gpu: Gpu) -> int:
    """The lanes that the card itself has: NVML tells at most those of its slot (nvmlDeviceGetMaxPcieLinkWidth)."""
    return host.number(f"{DEVICES}/{_address(gpu)}/max_link_width") or 0


def _slot(gpu: Gpu, health: Health, widest: int, rented: bool) -> Finding:
    width = health.width_now or 0
    most = max(width, health.width_most or 0, widest)
    can, card = health.generation_most or health.generation_now or 0, health.generation_card or 0
    now = health.generation_now or 0
    has, could = _carries(can, width), _carries(max(card, can), most)
    words = f"GPU {gpu.index} runs at x{width} Gen{can}, {has:.0f} GB/s of the {could:.0f} that the card can (x{most}"
    words += f" Gen{max(card, can)})"
    if width < most or (card > can and has < could / 1.9):
        mend = (RENT,) if rented else (RESEAT, BIOS)
        return warning(f"{words}: loading models and traffic between GPUs are slower by so much", *mend, STAGES)
    if now < can and _busy(gpu, health):
        carried = _carries(now, width)
        return warning(f"GPU {gpu.index} works, and its link stays at Gen{now}, {carried:.0f} GB/s", BIOS)
    idle = f" (Gen{now} while it idles)" if now < can else ""
    return ok(f"x{width} Gen{can}{idle}, {has:.0f} GB/s")


def _carries(generation: int, width: int) -> float:
    return pcie_bandwidth(generation, width) or 0.0


def _busy(gpu: Gpu, health: Health) -> bool:
    """Whether the card works: at full clocks (P0 to P2), and not for nothing."""
    return (gpu.utilization or 0) > 50 and (health.state is None or health.state <= 2)


def nvlinks(host: Host) -> Finding:
    """Whether every NVLink that the cards have is up."""
    sold = {product.id: product for product in products() if product.nvlinks}
    rows = [_lanes(gpu, health, sold[gpu.product]) for gpu, health in host.cards() if gpu.product in sold]
    if len(host.gpus) < 2:
        return ALONE
    return worst(rows, skipped("these cards have no NVLink"))


def _lanes(gpu: Gpu, health: Health, product: Product) -> Finding:
    up, sold = health.nvlinks, product.nvlinks
    if up >= sold:
        return ok(f"all {sold} are up" if product.nvlink != "bridge" else f"the bridge is there: {sold} links up")
    if product.nvlink == "bridge" and not up:
        return ok("no bridge is fitted, so they meet over PCIe")
    each = (product.nvlink_bandwidth or 0.0) / sold
    words = f"GPU {gpu.index}: {up} of {sold} NVLinks are up, {each * up:.0f} of {each * sold:.0f} GB/s"
    mend = (
        f"nvidia-smi nvlink --status -i {gpu.index}",
        "sudo nvidia-smi --gpu-reset (of all that are joined), or reboot",
    )
    if product.nvlink == "bridge":
        return warning(words, "power off, and press the bridge on", *mend)
    return (warning if up else broken)(words, *mend)


def direct(host: Host) -> Finding:
    """Whether each pair may read each other's memory (P2P), or goes through the host's."""
    told = [link for link in host.links if link.p2p is not None]
    if len(host.gpus) < 2:
        return ALONE
    if not told:
        return skipped("the driver does not say who may read whose memory")
    barred = [link for link in told if not link.p2p]
    if not barred:
        return ok(f"all {len(told)} pairs read each other's memory directly")
    return worst(_barred(host, barred), ok(""))


def _barred(host: Host, links: list[Link]) -> Iterator[Finding]:
    by_index = {gpu.index: gpu for gpu in host.gpus}
    known = {product.id: product for product in products()}
    sold = [known.get(by_index[link.a].product or "") for link in links]
    if any(link.kind == "NVLINK" for link in links):
        yield broken("NVLink joins GPUs that may not read each other's memory", *RIGHTS)
    cost = "each byte between them goes through the host's memory, at about half the link's speed or less"
    pairs = f"{len(links)} of the pairs among {gpus({index for link in links for index in link[:2]})}"
    if all(product and product.p2p is False for product in sold):
        yield ok(f"{pairs}: GeForce has no P2P over PCIe, so {cost}; the plan reckons with it")
    else:
        yield warning(f"{pairs} have no P2P: {cost}", *RIGHTS, STAGES)


RIGHTS = (
    "nvidia-smi topo -p2p r",
    "on a host of your own: IOMMU and ACS off in the BIOS, or iommu=pt on the kernel's command line",
    "where it hangs or gives wrong values: NCCL_P2P_DISABLE=1 in env",
)


def measured(host: Host) -> Finding:
    """What `mgpu bench links` has measured, against what the links can carry."""
    if len(host.gpus) < 2:
        return ALONE
    links = [link for link in host.links if link.measured]
    if not links:
        return skipped("not measured yet: mgpu bench links")
    rows = []
    for link in links:
        words = f"GPUs {link.a} and {link.b}: {link.measured:.1f} GB/s in an all-reduce"
        if link.bandwidth and (link.measured or 0) < SLOW * link.bandwidth:
            words += f", of the {link.bandwidth:.0f} that the link carries"
            rows.append(
                warning(words, "doctor links.iommu, links.direct", "NCCL_P2P_DISABLE=1 in env, and measure again")
            )
    slowest = min(link.measured or 0 for link in links)
    return worst(rows, ok(f"{len(links)} pairs measured, the slowest {slowest:.1f} GB/s in an all-reduce"))


def iommu(host: Host) -> Finding:
    """Whether IOMMU or ACS send what goes from card to card through the processor (NCCL's guide, troubleshooting)."""
    if len(host.gpus) < 2:
        return ALONE
    if host.virtual or host.container:
        return skipped("the host outside decides on IOMMU and ACS")
    kinds = {host.word(f"{DEVICES}/{_address(gpu)}/iommu_group/type") for gpu in host.gpus if gpu.bus_id}
    translated = [kind for kind in kinds if kind and kind.upper().startswith("DMA")]
    if not translated:
        word = "in passthrough" if kinds & {"identity"} else "off"
        return ok(f"IOMMU is {word}; whether ACS is off, only root sees: sudo lspci -vvv | grep -i acsctl")
    if host.links and all(link.kind == "NVLINK" for link in host.links):
        return ok("IOMMU translates, and the GPUs meet over NVLink, which it does not touch")
    mend = "sudo grubby --update-kernel=ALL --args=iommu=pt" if host.installer == "dnf" else GRUB
    return warning(
        "IOMMU translates what the GPUs send: between them it goes by way of the processor, slowly, or hangs",
        mend,
        "sudo reboot",
        "ACS the same: sudo lspci -vvv | grep -i acsctl shows SrcValid+ where it is on; turn it off in the BIOS",
    )


GRUB = "in /etc/default/grub add iommu=pt to GRUB_CMDLINE_LINUX, then: sudo update-grub"


def _address(gpu: Gpu) -> str:
    """A bus id as sysfs writes it: four digits of the domain, small letters."""
    return (gpu.bus_id or "").lower()[-12:]


CHECKS = (
    Check("links", "slots", slots),
    Check("links", "nvlink", nvlinks),
    Check("links", "direct", direct),
    Check("links", "measured", measured),
    Check("links", "iommu", iommu),
)
