"""A task of a run in, the worst that the driver has reported of its GPUs while it ran out, as a cause."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from mgpu.catalog import xids
from mgpu.machine.checks import kernel
from mgpu.values.cause import Cause

GRAVE = {
    "mechanics": "power off, and look at the card's power cables and its seat",
    "reboot": "sudo reboot brings it back; where it comes again: another slot, riser or power cable, then the vendor",
    "reset": "end its jobs, then: sudo nvidia-smi --gpu-reset -i {index}; mgpu doctor gpus shows whether it is well",
    "update": "update the driver and its firmware",
}
"""What an error that is the card's own wants (catalog/xids.json), the gravest first. Those of a job are in its log."""
SLACK = 5.0
"""Seconds by which the clocks of the kernel's log and of the run may differ, and a job outlive its GPU."""
SOURCE = "docs.nvidia.com/deploy/xid-errors"


def of(data: Mapping[str, Any], command: Mapping[str, Any], began: float, ended: float) -> Cause | None:
    """What the kernel's log tells of the task's GPUs between two times (seconds of the epoch); `data` is its run.json.
    None where it tells nothing that is not the job's own fault, or may not be read."""
    from mgpu.machine.checks.host import Host, Silent

    lines = kernel.log(Host(Silent("not asked"), Silent("not asked")))
    boot = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    return gravest(lines or (), _cards(data, command), began - boot, ended - boot)


def gravest(lines: Iterable[str], cards: Mapping[str, int], began: float, ended: float) -> Cause | None:
    """The gravest of these lines of the kernel's log; `cards` are the indices of GPUs by their buses, the times are in
    seconds since the boot. A line without a time is of no run."""
    grave = list(GRAVE)
    known = [(report, xids.named(report.number)) for report in kernel.reports(lines) if report.bus in cards]
    found = [
        (grave.index(xid.action), cards[report.bus], xid, report)
        for report, xid in known
        if xid.action in GRAVE and report.at is not None and began - SLACK <= report.at <= ended + SLACK
    ]
    if not found:
        return None
    _, index, xid, report = min(found, key=lambda one: (one[0], one[3].at or 0.0))
    return Cause(
        id=f"xid-{xid.number}",
        short=f"GPU {index}: Xid {xid.number}",
        cause=f"GPU {index} failed while the job ran: Xid {xid.number}, {xid.means}",
        hint=GRAVE[xid.action].format(index=index),
        lasting=True,
        evidence=(report.line,),
        source=SOURCE,
    )


def _cards(data: Mapping[str, Any], command: Mapping[str, Any]) -> dict[str, int]:
    """The indices of the task's GPUs, by their buses."""
    gpus = data.get("asked", {}).get("machine", {}).get("gpus", ())
    mine = [gpu for gpu in gpus if (gpu.get("uuid") or str(gpu.get("index"))) in command["gpus"] and gpu.get("bus_id")]
    return {kernel.short(gpu["bus_id"]): gpu["index"] for gpu in mine}
