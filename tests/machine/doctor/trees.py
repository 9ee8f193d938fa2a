"""Kinds of host in, a folder that holds what /proc, /sys, /dev, /etc of such a host do out.

The texts are in the form in which real hosts have them; of long files only what is read is here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

Files = dict[str, "str | None"]
"""Paths with what the files hold. A text ``-> x`` is a link, ``dir`` a folder, None no file."""

DRIVER = "550.90.07"
NVRM = "NVRM version: NVIDIA UNIX {}  {}  Release Build  (dvs-builder@U16)  Fri May 31 09:35:42 UTC 2024\n"
CLOSED, OPEN = "x86_64 Kernel Module", "Open Kernel Module for x86_64"
UBUNTU = 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n'
FEDORA = 'PRETTY_NAME="Fedora Linux 42 (Workstation Edition)"\nID=fedora\nVERSION_ID=42\n'
MEMINFO = """MemTotal:       {} kB
MemFree:        1000 kB
MemAvailable:   {} kB
SwapTotal:      {} kB
SwapFree:       {} kB
"""
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            {}              1048576              files
Max locked memory         {}              unlimited            bytes
"""
MOUNTS = """/dev/nvme0n1p2 / ext4 rw,relatime 0 0
proc /proc proc rw,nosuid 0 0
tmpfs /dev/shm tmpfs rw,nosuid,nodev,inode64 0 0
tmpfs /run tmpfs rw,nosuid,nodev,size=105G,mode=755 0 0
tmpfs /run/lock tmpfs rw,nosuid,nodev,noexec,size=5120k 0 0
/dev/nvme1n1 /home ext4 rw,relatime 0 0
"""
TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
CDI = """cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
{}- name: all
  containerEdits: {{}}
containerEdits:
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{}
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{}
"""
FIRST = "4,1,0,-;Linux version 5.15.0-113-generic (buildd@lcy02) #123-Ubuntu SMP\n"


def address(index: int) -> str:
    """The PCI address of a card of the stub."""
    return f"0000:{0x10 + index:02x}:00.0"


def card(index: int, driver: str | None = "nvidia", *, group: str | None = "identity") -> Files:
    """A card on the bus."""
    place = f"/sys/bus/pci/devices/{address(index)}"
    return {
        f"{place}/vendor": "0x10de\n",
        f"{place}/class": "0x030200\n",
        f"{place}/driver": f"-> ../../../bus/pci/drivers/{driver}" if driver else None,
        f"{place}/iommu_group/type": f"{group}\n" if group else None,
    }


def cards(count: int, driver: str | None = "nvidia") -> Files:
    """So many cards."""
    return {path: text for index in range(count) for path, text in card(index, driver).items()}


def module(version: str = DRIVER, kind: str = CLOSED, library: str | None = DRIVER, count: int = 8) -> Files:
    """NVIDIA's driver: its module, its library, its device files."""
    nodes: Files = {f"/dev/{name}": "" for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{n}" for n in range(count)))}
    return {
        **nodes,
        "/proc/driver/nvidia/version": NVRM.format(kind, version),
        "/sys/module/nvidia/version": f"{version}\n",
        f"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{library}": "" if library else None,
    }


def linux(cpus: int = 128, memory: int = 2000, release: str = UBUNTU, nodes: int = 2) -> Files:
    """A machine of its own with so many CPUs and GiB."""
    kib, each = memory * 2**20, cpus // nodes
    node = "/sys/devices/system/node/node{}"
    found: Files = {f"{node.format(n)}/cpulist": f"{n * each}-{n * each + each - 1}\n" for n in range(nodes)}
    found |= {f"{node.format(n)}/meminfo": f"Node {n} MemTotal:       {kib // nodes} kB\n" for n in range(nodes)}
    return {
        **found,
        "/etc/os-release": release,
        "/proc/mounts": MOUNTS,
        "/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu vme sse2 avx512f\n",
        "/proc/meminfo": MEMINFO.format(kib, kib // 10 * 9, 0, 0),
        "/proc/self/status": f"Name:\tpython\nCpus_allowed_list:\t0-{cpus - 1}\n",
        "/proc/self/limits": LIMITS.format(1024, 8388608),
        "/proc/self/ns/pid": "-> pid:[4026531836]",
        "/proc/1/cgroup": "0::/init.scope\n",
        "/proc/net/tcp": TCP + "   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1\n",
        "/run/systemd/system": "dir",
        "/run/lock/mgpu": "dir",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "intel_pstate\n",
        "/dev/shm": "dir",
        "/home/me": "dir",
        "/dev/kmsg": FIRST,
        "/var/lib/systemd/timesync/clock": "",
        "/var/lib/docker": "dir",
    }


def server(count: int = 8) -> Files:
    """A server with eight cards and NVSwitches, well kept."""
    from tests.fakes.nvml import uuid

    names = "".join(f'- name: "{index}"\n  containerEdits: {{}}\n- name: {uuid(index)}\n' for index in range(count))
    return {
        **linux(),
        **cards(count),
        **module(count=count),
        **{f"/dev/nvidia-nvswitch{index}": "" for index in range(4)},
        "/proc/4242/comm": "nv-fabricmanage\n",
        "/etc/cdi/nvidia.yaml": CDI.format(names, DRIVER, DRIVER),
    }


def desktop() -> Files:
    """A Fedora with one card that nouveau has."""
    return {
        **linux(16, 32, FEDORA, 1),
        **card(0, "nouveau"),
        "/sys/module/nouveau": "dir",
        "/var/lib/docker": None,
    }


def rented() -> Files:
    """A container on somebody's machine, rented with two of its cards."""
    return {
        **linux(96, 500, UBUNTU, 1),
        **cards(8),
        **module("560.35.03", OPEN, "560.35.03", count=2),
        "/.dockerenv": "",
        "/proc/mounts": "overlay / overlay rw,relatime 0 0\nshm /dev/shm tmpfs rw,nosuid,nodev,size=65536k 0 0\n",
        "/proc/self/ns/pid": "-> pid:[4026533333]",
        "/run/systemd/system": None,
        "/run/lock/mgpu": None,
        "/run/lock": "dir",
        "/sys/fs/cgroup/cpu.max": "1200000 100000\n",
        "/sys/fs/cgroup/memory.max": f"{62 * 2**30}\n",
        "/sys/fs/cgroup/memory.current": f"{5 * 2**30}\n",
        "/sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {3 * 2**30}\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": None,
        "/dev/kmsg": None,
        "/var/lib/docker": None,
        "/var/lib/systemd/timesync/clock": None,
    }


def updated() -> Files:
    """A server whose driver's package was updated, and which was not booted since."""
    library = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so."
    return {**server(2), f"{library}{DRIVER}": None, f"{library}550.127.05": ""}


def bare() -> Files:
    """A server without any card."""
    return {**linux(8, 64, UBUNTU, 1), "/var/lib/docker": None}


def grow(root: Path, files: Mapping[str, str | None]) -> Path:
    """Make the files below `root`, for everybody to read, and the folder of the leases for everybody to write."""
    for place, text in files.items():
        path = root / place.lstrip("/")
        if text is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if text == "dir":
            path.mkdir(exist_ok=True)
        elif text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text)
            path.chmod(0o666 if place.startswith("/dev/") else 0o644)
    if (root / "run/lock/mgpu").exists():
        os.chmod(root / "run/lock/mgpu", 0o1777)
    return root
