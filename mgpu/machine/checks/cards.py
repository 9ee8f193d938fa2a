"""The host in, how each of its GPUs does out: lost, worn, slowed, hidden, or held by nobody knows whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mgpu.catalog import xids
from mgpu.catalog.xids import Xid
from mgpu.machine import mask as masks
from mgpu.machine.checks import kernel
from mgpu.machine.checks.finding import Check, Finding, broken, gpus, ok, skipped, warning, worst
from mgpu.machine.checks.host import Host
from mgpu.plan.fitness import HIDDEN, foreign
from mgpu.values.machine import Gpu

GIB = 2**30
NONE = skipped("no GPU answers")
RESET = "end its jobs, then: sudo nvidia-smi --gpu-reset -i {}"
SLOWED = (
    (8 | 64, "broken", "hardware slows it for heat or power", "look at fans, dust and the power cables"),
    (128, "broken", "the power supply slows it (power brake)", "look at the power supply and its cables"),
    (32, "warning", "the driver slows it for heat", "better cooling, or a lower limit: sudo nvidia-smi -pl WATTS"),
    (1024, "warning", "its voltage is limited", "sudo nvidia-smi -q -d PERFORMANCE"),
)
"""nvmlClocksEventReasons (nvml.h 12): HwSlowdown 8, SwThermalSlowdown 32, HwThermalSlowdown 64, HwPowerBrake 128,
Reliability 1024. A power cap (4) is how every card runs at full load, and idle (1) is none."""


def answering(host: Host) -> Finding:
    """Whether each GPU answers."""
    if not host.gpus:
        return NONE
    rows = [_fault(gpu) for gpu in host.gpus if gpu.fault]
    return worst(rows, ok(f"{gpus(gpu.index for gpu in host.gpus)} answer{'s' * (len(host.gpus) == 1)}"))


def _fault(gpu: Gpu) -> Finding:
    who = f"GPU {gpu.index} {gpu.fault}"
    if "reset" in (gpu.fault or ""):
        return broken(who, RESET.format(gpu.index))
    if "service" in (gpu.fault or ""):
        return broken(who, "have the card exchanged (RMA)")
    return broken(who, "sudo dmesg | grep -e NVRM -e Xid", "sudo reboot")


def memory(host: Host) -> Finding:
    """Errors of memory that ECC could not correct, and rows that wait to be replaced."""
    if not host.health:
        return NONE
    rows = []
    for gpu, health in host.cards():
        remapped = health.remapped or (0, 0, 0, 0)
        if remapped[3]:
            rows.append(broken(f"GPU {gpu.index}: rows that could not be replaced", "have the card exchanged (RMA)"))
        elif remapped[2] or health.retiring:
            rows.append(broken(f"GPU {gpu.index}: broken rows wait for a reset", RESET.format(gpu.index)))
        elif health.uncorrected:
            words = f"GPU {gpu.index}: {health.uncorrected} uncorrected errors since the driver was loaded"
            rows.append(warning(words, RESET.format(gpu.index)))
    counted = any(health.uncorrected is not None for _, health in host.cards())
    return worst(rows, ok("no uncorrected error" if counted else "these cards count no errors (no ECC)"))


def log(host: Host) -> Finding:
    """The driver's errors (Xid) in the kernel's log of this boot."""
    lines = kernel.log(host)
    if lines is None:
        return skipped("the kernel's log may not be read: sudo dmesg | grep -e NVRM -e Xid")
    found = Counter((report.bus, report.number) for report in kernel.reports(lines))
    rows = [_told(host, bus, xids.named(number), count) for (bus, number), count in found.items()]
    return worst(rows, ok("no Xid since the boot"))


def _told(host: Host, bus: str, xid: Xid, count: int) -> Finding:
    gpu = next((gpu for gpu in host.gpus if kernel.short(gpu.bus_id) == bus), None)
    who = f"GPU {gpu.index}" if gpu else f"the card at {bus}"
    words = f"{who}: Xid {xid.number}{f' ({count} times)' if count > 1 else ''}, {xid.means}"
    number = gpu.index if gpu else bus
    if xid.action == "reboot":
        return broken(words, "sudo reboot", "where it comes back: another slot, riser or power cable, then the vendor")
    if xid.action == "reset":
        return warning(f"{words} (a reset since then is not in the log)", RESET.format(number))
    if xid.action == "mechanics":
        return broken(words, "power off, and look at the card's power cables and its seat")
    if xid.action in ("", "update"):
        return warning(words, "docs.nvidia.com/deploy/xid-errors")
    return ok(f"{words}{': the job itself, not the card' if xid.action == 'job' else ''}")


def clocks(host: Host) -> Finding:
    """Whether a card is slowed by anything but its own power limit."""
    if not host.health:
        return NONE
    rows = []
    for gpu, health in host.cards():
        heat = f", {gpu.temperature} C" if gpu.temperature is not None else ""
        for mask, verdict, words, mend in SLOWED:
            if (health.throttled or 0) & mask:
                find = broken if verdict == "broken" else warning
                rows.append(find(f"GPU {gpu.index}: {words}{heat}", mend))
    return worst(rows, ok("nothing slows them but their power limits"))


def mig(host: Host) -> Finding:
    """Whether a card is split into instances, on which mgpu does not place."""
    if not host.gpus:
        return NONE
    split = [gpu.index for gpu in host.gpus if gpu.mig]
    if not split:
        return ok("no card is split")
    mend = tuple(f"sudo nvidia-smi -i {index} -mig 0" for index in split)
    return warning(f"{gpus(split)}: split by MIG, and mgpu places nothing there", *mend)


def mask(host: Host) -> Finding:
    """What CUDA_VISIBLE_DEVICES, set in this shell, hides from mgpu and from commands by hand."""
    given, order = host.env.get("CUDA_VISIBLE_DEVICES"), host.env.get("CUDA_DEVICE_ORDER")
    mixed = len({gpu.name for gpu in host.gpus if not gpu.fault}) > 1
    if given is None:
        if not host.gpus:
            return NONE
        if mixed and order != "PCI_BUS_ID":
            return warning(
                "the cards differ: CUDA counts them fastest first, nvidia-smi and mgpu by their slots",
                "for commands by hand: export CUDA_DEVICE_ORDER=PCI_BUS_ID (jobs of mgpu have it)",
            )
        return ok("CUDA_VISIBLE_DEVICES is not set: mgpu may take every GPU")
    if not host.gpus:
        return skipped(f"CUDA_VISIBLE_DEVICES={given}, and no GPU to hide")
    words = masks.note(given, host.gpus)
    if not masks.left(given, host.gpus):
        return broken(words, "unset CUDA_VISIBLE_DEVICES")
    counted = "" if given.startswith("GPU-") else "; such a number may mean another card after a reboot, a UUID never"
    return warning(words + counted, "unset CUDA_VISIBLE_DEVICES, unless Slurm or you have set it on purpose")


def used(host: Host) -> Finding:
    """Whether everything in a GPU's memory belongs to a process that is known."""
    if not host.gpus:
        return NONE
    return worst(_used(host), ok("nothing uses the GPUs that is not known"))


def _used(host: Host) -> Iterator[Finding]:
    for gpu, health in host.cards():
        words = foreign(gpu)
        hidden = gpu.memory - gpu.free - health.drawn - sum(each.memory or 0 for each in gpu.processes)
        if words and gpu.unexplained is None:
            pid = next((each.pid for each in gpu.processes if each.run is None), None)
            yield warning(f"GPU {gpu.index} {words}", f"if it is yours and not wanted: kill {pid}", IGNORE)
        elif words:
            yield warning(f"GPU {gpu.index} {words}: others' processes are not seen from here", IGNORE)
        elif gpu.unexplained is None and hidden > HIDDEN and not _silent(gpu):
            yield warning(
                f"GPU {gpu.index} has {hidden / GIB:.1f} GiB in use that no process has: what is left of one that died",
                f"sudo fuser -v /dev/nvidia{gpu.index}",
                RESET.format(gpu.index),
            )
        elif gpu.processes and all(each.run for each in gpu.processes):
            yield ok(f"GPU {gpu.index}: run {gpu.processes[0].run}")


IGNORE = "to place beside it all the same: mgpu run --ignore-foreign"


def _silent(gpu: Gpu) -> bool:
    """Whether the driver does not say how much one of the processes has."""
    return any(each.memory is None for each in gpu.processes)


CHECKS = (
    Check("gpus", "answering", answering),
    Check("gpus", "memory", memory),
    Check("gpus", "xid", log),
    Check("gpus", "clocks", clocks),
    Check("gpus", "mig", mig),
    Check("gpus", "mask", mask),
    Check("gpus", "used", used),
)
