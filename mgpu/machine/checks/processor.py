"""The host in, whether its processors and its memory can feed its GPUs out."""

from __future__ import annotations

import os
import re

from mgpu.machine.checks.finding import Check, Finding, gpus, ok, skipped, warning, worst
from mgpu.machine.checks.host import Host

GIB = 2**30
NODES = "/sys/devices/system/node"
FREQUENCY = "/sys/devices/system/cpu/cpu0/cpufreq"
OWN_CLOCK = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
"""Drivers under which `powersave` still goes to full speed (kernel, admin-guide/pm: intel_pstate, amd-pstate)."""
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
USED = (
    (f"{V2}/memory.current", f"{V2}/memory.stat", "inactive_file"),
    (f"{V1}/memory.usage_in_bytes", f"{V1}/memory.stat", "total_inactive_file"),
)
SOFT = 1024
"""Open files that a shell has at least, by what systemd gives. A server takes one for each request."""


def count(host: Host) -> Finding:
    """Whether there are enough processors: a server has a process for its port, one for its scheduler, and one a GPU
    (vLLM, design/arch_overview), each of which is always busy."""
    have, quota = _allowed(host), _quota(host)
    most = min(have, quota) if quota else have
    given = f"{most:g} CPUs" + (f" (a quota, of {have})" if quota and quota < have else "")
    wanted = len(host.gpus) + 2
    if not host.gpus or most >= wanted:
        return ok(given)
    return warning(
        f"{given} for {len(host.gpus)} GPUs: a server on all of them has {wanted} busy processes, so GPUs wait",
        "rent more of them, or use fewer GPUs at once",
    )


def _allowed(host: Host) -> int:
    """The CPUs that this process may run on."""
    row = re.search(r"^Cpus_allowed_list:\s*(\S+)", host.text("/proc/self/status") or "", re.MULTILINE)
    return len(_range(row[1])) if row else len(os.sched_getaffinity(0))


def _range(text: str) -> set[int]:
    """``0-3,8`` as numbers."""
    parts = [part.partition("-") for part in text.split(",") if part]
    return {number for first, _, last in parts for number in range(int(first), int(last or first) + 1)}


def _quota(host: Host) -> float | None:
    """The CPUs that a cgroup leaves: v2, v1."""
    words = (host.word("/sys/fs/cgroup/cpu.max") or "").split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    share, period = (host.number(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return share / period if share and period else None


def governor(host: Host) -> Finding:
    """Whether the processors may go to full speed."""
    found, driver = host.word(f"{FREQUENCY}/scaling_governor"), host.word(f"{FREQUENCY}/scaling_driver")
    if not found:
        return skipped("the clock is not this system's to set")
    if found == "powersave" and driver not in OWN_CLOCK:
        return warning(
            f"the governor is powersave ({driver}): the processors stay at their lowest clock",
            "sudo cpupower frequency-set -g performance",
        )
    return ok(f"governor {found}" + (f" ({driver})" if driver else ""))


def numa(host: Host) -> Finding:
    """Whether this process may run, and has memory, beside each of its GPUs."""
    nodes = [name for name in host.names(NODES) if re.fullmatch(r"node\d+", name)]
    if len(nodes) < 2:
        return ok("one node")
    row = re.search(r"^Cpus_allowed_list:\s*(\S+)", host.text("/proc/self/status") or "", re.MULTILINE)
    allowed = _range(row[1]) if row else None
    near = {int(name[4:]): _range(host.word(f"{NODES}/{name}/cpulist") or "") for name in nodes}
    rows = []
    away = [
        gpu.index
        for gpu in host.gpus
        if gpu.numa in near and allowed and near[gpu.numa] and not near[gpu.numa] & allowed
    ]
    if away:
        words = f"{gpus(away)}: no CPU of their node may be used, so each copy crosses to the other socket"
        rows.append(warning(words, "take the CPUs' limit (taskset, cpuset) off, or use the GPUs of this socket"))
    bare = [name for name in nodes if re.search(r"MemTotal:\s+0 kB", host.text(f"{NODES}/{name}/meminfo") or "")]
    if bare and any(near[int(name[4:])] for name in bare):
        words = f"{', '.join(bare)} has processors and no memory: what runs there is fed from the other socket"
        rows.append(warning(words, "put memory into the slots of each socket (the board's manual says which)"))
    return worst(rows, ok(f"{len(nodes)} nodes, and CPUs beside each GPU may be used"))


def memory(host: Host) -> Finding:
    """Whether there is memory to load a model through."""
    rows: dict[str, str] = dict(re.findall(r"^(\w+):\s+(\d+) kB", host.text("/proc/meminfo") or "", re.MULTILINE))
    if "MemTotal" not in rows:
        return skipped("/proc/meminfo does not tell")
    total, available = int(rows["MemTotal"]) * 1024, int(rows.get("MemAvailable", rows["MemTotal"])) * 1024
    given = [size for size in map(host.number, LIMITS) if size and size < total]
    limit = min(given) if given else None
    available = min(available, limit - _taken(host)) if limit else available
    words = f"{(limit or total) / GIB:.0f} GiB" + (f" (a limit, of {total / GIB:.0f})" if limit else "")
    words += f", {available / GIB:.0f} free"
    largest = max((gpu.memory for gpu in host.gpus), default=0)
    if min(limit or total, available) < 4 * GIB:
        return warning(f"{words}: starting an engine takes more", "end what is not needed: ps aux --sort=-rss | head")
    if (limit or total) < largest:
        return warning(f"{words}, and a GPU has {largest / GIB:.0f}: a model may not fit on its way there", SAFE)
    swapped = int(rows.get("SwapTotal", 0)) - int(rows.get("SwapFree", 0))
    if swapped * 1024 > 4 * GIB:
        return warning(
            f"{words}; {swapped / 2**20:.0f} GiB are swapped out", "end what is not needed: ps aux --sort=-rss | head"
        )
    return ok(words)


def _taken(host: Host) -> int:
    """Bytes that this container has of its limit, without what the kernel only caches of files (cgroup v2, v1)."""
    for used, stats, cached in USED:
        if (size := host.number(used)) is not None:
            match = re.search(rf"^{cached} (\d+)$", host.text(stats) or "", re.MULTILINE)
            return max(0, size - int(match[1] if match else 0))
    return 0


SAFE = "take models in safetensors, which are loaded piece by piece; offload nothing to the host"


def limits(host: Host) -> Finding:
    """What a process may open and lock."""
    rows = dict(
        re.findall(r"^Max (open files|locked memory)\s+(\S+)", host.text("/proc/self/limits") or "", re.MULTILINE)
    )
    if not rows:
        return skipped("/proc/self/limits does not tell")
    files, locked = rows.get("open files", "unlimited"), rows.get("locked memory", "unlimited")
    found = []
    if files.isdigit() and int(files) < SOFT:
        found.append(warning(f"{files} open files: a server takes one for each request", "ulimit -n 65536"))
    if locked.isdigit() and int(locked) < 2**26 and host.names("/sys/class/infiniband"):
        words = f"{int(locked) // 1024} KiB of locked memory: NCCL over InfiniBand cannot register its buffers"
        found.append(warning(words, "ulimit -l unlimited (/etc/security/limits.conf: * - memlock unlimited)"))
    return worst(found, ok(f"{files} open files"))


CHECKS = (
    Check("host", "cpus", count),
    Check("host", "governor", governor),
    Check("host", "numa", numa),
    Check("host", "memory", memory),
    Check("host", "limits", limits),
)
