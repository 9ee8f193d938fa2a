"""The host in, whether the driver is there out: the cards on the bus, its modules, its library, its device files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from mgpu.catalog.gpus import products
from mgpu.machine.checks.finding import Check, Finding, broken, gpus, ok, skipped, warning
from mgpu.machine.checks.host import Host, Silent
from mgpu.machine.nvml import REMEDIES

NVIDIA, DISPLAY = "0x10de", "0x03"
"""The PCI vendor, and how the classes of its GPUs begin (0x0300 VGA, 0x0302 3D controller)."""
DEVICES = "/sys/bus/pci/devices"
LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/nvidia/lib64",
)
NVML = re.compile(r"libnvidia-ml\.so\.(\d+\.\d+(?:\.\d+)?)")
VERSION = re.compile(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s")
NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm")
MANAGER = "nv-fabricmanager"
"""The comm of the fabric manager, at most 15 characters of it."""


def cards(host: Host) -> list[str]:
    """The PCI addresses of the NVIDIA GPUs on the bus, driver or not."""
    found = []
    for address in host.names(DEVICES):
        vendor, kind = (host.word(f"{DEVICES}/{address}/{file}") for file in ("vendor", "class"))
        if vendor == NVIDIA and (kind or "").startswith(DISPLAY):
            found.append(address)
    return found


def driven(host: Host, address: str) -> str | None:
    """The name of the kernel driver that has a card."""
    link = host.link(f"{DEVICES}/{address}/driver")
    return os.path.basename(link) if link else None


def loaded(host: Host) -> str | None:
    """The version of the kernel module that is loaded; None where none is."""
    text = host.text("/proc/driver/nvidia/version") or ""
    match = VERSION.search(text)
    return match[1] if match else host.word("/sys/module/nvidia/version")


def bus(host: Host) -> Finding:
    """Whether the machine has a card at all."""
    found = cards(host)
    if found:
        shown = f"{len(found)} NVIDIA GPU{'s' * (len(found) > 1)} on the bus"
        if host.gpus and len(host.gpus) < len(found):
            words = f"{shown}, {len(host.gpus)} of them for this container"
            fewer = f"{shown} ({', '.join(found)}), and the driver tells of {len(host.gpus)}"
            return ok(words) if host.container else warning(fewer, *LOST)
        return ok(shown)
    if host.gpus:
        return ok(f"the driver tells of {len(host.gpus)}; the bus is not shown here")
    if host.container:
        return broken("no NVIDIA GPU is to be seen in this container", GIVEN)
    return broken(
        "no NVIDIA GPU on the PCI bus",
        "if there is a card: power off, and check its seat and its power cables (jobs with gpus: 0 run without)",
    )


LOST = ("sudo dmesg | grep -i -e NVRM -e Xid", "sudo reboot")


def modules(host: Host) -> Finding:
    """Whether the kernel has NVIDIA's driver, and not another in its place."""
    version = loaded(host)
    if version:
        return ok(f"nvidia {version} is loaded")
    if host.gpus:
        return ok("the driver answers; its module is not shown here")
    found = cards(host)
    others = {name for address in found if (name := driven(host, address)) and name != "nvidia"}
    if "nouveau" in others or (found and host.there("/sys/module/nouveau")):
        return broken("the cards are driven by nouveau, which has no CUDA", *without_nouveau(host), *install(host))
    if "vfio-pci" in others:
        return broken(
            "the cards are given to virtual machines (vfio-pci)",
            "run mgpu inside the machine that has them, or take vfio-pci.ids off the kernel's command line",
        )
    if not found:
        return skipped("there is no card to drive")
    if host.container:
        return broken("the driver is not to be seen in this container", GIVEN)
    if _libraries(host):
        return broken("NVIDIA's driver is installed and not loaded", "sudo modprobe nvidia", *SIGNED)
    return broken("NVIDIA's driver is not installed", *install(host))


SIGNED = ("where that says Key was rejected: enrol the module's key (mokutil --import), or turn Secure Boot off",)


def without_nouveau(host: Host) -> tuple[str, ...]:
    """How nouveau is kept out."""
    words = r"printf 'blacklist nouveau\noptions nouveau modeset=0\n' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf"
    return words, "sudo dracut --force" if host.installer == "dnf" else "sudo update-initramfs -u"


def install(host: Host) -> tuple[str, ...]:
    """How the driver is installed on this distribution."""
    name = host.release.get("ID")
    if name == "ubuntu":
        return "sudo ubuntu-drivers install --gpgpu", "sudo reboot"
    if host.installer == "apt":
        return "sudo apt-get install -y nvidia-driver (of the section non-free)", "sudo reboot"
    if name == "fedora":
        return "sudo dnf install -y akmod-nvidia xorg-x11-drv-nvidia-cuda (of RPM Fusion)", "sudo reboot"
    if host.installer == "dnf":
        return "sudo dnf install -y nvidia-open (of NVIDIA's CUDA repository)", "sudo reboot"
    return "install NVIDIA's driver: docs.nvidia.com/datacenter/tesla/driver-installation-guide", "sudo reboot"


def _libraries(host: Host) -> list[str]:
    """The versions of the driver's library that are installed."""
    names = [name for folder in LIBRARIES for name in host.names(folder)]
    return sorted({match[1] for name in names if (match := NVML.fullmatch(name))})


def library(host: Host) -> Finding:
    """Whether the library that programs load is of the module's version: they refuse each other otherwise."""
    module, installed = loaded(host), _libraries(host)
    if not module or not installed:
        return skipped("no version of module and library to compare")
    if module in installed:
        return ok(f"libnvidia-ml {module}, as the module")
    if isinstance(host.driver, Silent) or not host.driver.gpus:
        return broken(
            f"the module in the kernel is {module}, the library {installed[-1]}: the driver was updated since the boot",
            "sudo reboot",
            "or, once nothing uses the GPUs: sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia",
            "and then: sudo modprobe nvidia",
        )
    return warning(f"the module is {module}, and the library {installed[-1]} lies beside it", "sudo reboot")


def answers(host: Host) -> Finding:
    """Whether NVML, by which everything asks the driver, answers."""
    if isinstance(host.driver, Silent):
        return broken(f"the driver does not answer: {host.driver.why}", *HUNG)
    if host.driver.gpus:
        count = len(host.driver.gpus)
        return ok(f"driver {host.driver.driver}, CUDA up to {host.driver.cuda}, {count} GPU{'s' * (count > 1)}")
    return _refused(host, host.driver.notes[0] if host.driver.notes else "the driver tells of no GPU")


def _refused(host: Host, note: str) -> Finding:
    """What NVML says where it does not start, or has no GPU."""
    if not cards(host) and not loaded(host) and not host.container:
        return skipped("there is no card to ask for")
    kind = next((name for name, words in REMEDIES.items() if words == note), None)
    mends = {
        "LibraryNotFound": (GIVEN,) if host.container else install(host),
        "DriverNotLoaded": (GIVEN,) if host.container else ("sudo modprobe nvidia", "sudo reboot"),
        "LibRmVersionMismatch": ("sudo reboot",),
        "NoPermission": ("ls -l /dev/nvidiactl", "mgpu doctor nodes"),
        "Unknown": ("restart the container; mgpu doctor docker.cgroups on its host",) if host.container else LOST,
    }
    why = note.partition(": ")[0] if kind != "Unknown" else "the NVIDIA driver answers Unknown Error"
    if kind in ("LibraryNotFound", "DriverNotLoaded") and modules(host).verdict == "broken":
        return broken(why, "what modules says comes first")
    why += ": a reload of systemd on the host took the GPUs away" if kind == "Unknown" and host.container else ""
    return broken(why, *mends.get(kind or "", LOST))


GIVEN = "start the container with GPUs: docker run --gpus all ..."
HUNG = ("sudo dmesg | grep -i -e NVRM -e Xid -e nvidia", "sudo reboot")


def nodes(host: Host) -> Finding:
    """Whether the device files are there, and this user may use them."""
    if not loaded(host) and not host.gpus:
        return skipped("no driver is loaded")
    missing = [node for node in NODES if not host.there(node)]
    each = [f"/dev/{name}" for name in host.names("/dev") if re.fullmatch(r"nvidia\d+", name)]
    if missing or not each:
        what = ", ".join([*missing, *([] if each else ["/dev/nvidia0"])])
        if host.container:
            return broken(f"missing here: {what}", GIVEN)
        return broken(f"missing: {what}", "sudo nvidia-modprobe -c 0 -u")
    barred = [node for node in (*NODES, *each) if not host.may(node, os.R_OK | os.W_OK)]
    if barred:
        return broken(f"this user may not use {', '.join(barred)}", f"sudo chmod 0666 {' '.join(barred)}", GROUPS)
    return ok(f"{len(each)} and nvidiactl, nvidia-uvm: this user may use them")


GROUPS = "or where a group owns them (ls -l /dev/nvidia*): sudo usermod -aG GROUP $USER, then log in again"


def fabric(host: Host) -> Finding:
    """Whether what an NVSwitch box needs for any CUDA at all is there: the fabric manager."""
    switches = [name for name in host.names("/dev") if re.fullmatch(r"nvidia-nvswitch\d+", name)]
    sold = {product.id for product in products() if product.nvlink == "switch"}
    if not switches and not any(gpu.product in sold for gpu in host.gpus):
        return skipped("no NVSwitch")
    if host.container:
        return skipped("the fabric manager runs on the host, outside this container")
    if not switches:
        return skipped("the GPUs could be joined by an NVSwitch, and none is to be seen")
    if any(name.startswith(MANAGER[:15]) for name in _programs(host)):
        return ok(f"{len(switches)} NVSwitches, and the fabric manager runs")
    branch = (loaded(host) or "").partition(".")[0]
    dnf = host.installer == "dnf"
    package = "dnf install nvidia-fabricmanager" if dnf else f"apt-get install nvidia-fabricmanager-{branch}"
    return broken(
        f"{len(switches)} NVSwitches, and no fabric manager runs: CUDA does not start (error 802)",
        "sudo systemctl enable --now nvidia-fabricmanager",
        f"where there is none: sudo {package}; its version must be the driver's",
    )


def _programs(host: Host) -> Iterator[str]:
    for name in host.names("/proc"):
        if name.isdigit():
            yield host.word(f"/proc/{name}/comm") or ""


def persistence(host: Host) -> Finding:
    """Whether the driver stays initialized while nobody uses the cards."""
    off = [gpu.index for gpu, health in host.cards() if health.persistent is False]
    if not host.health:
        return skipped("no GPU answers")
    if not off:
        return ok("the driver stays awake between jobs")
    words = f"{gpus(off)}: persistence mode is off, so each start waits while the card is initialized"
    return ok(f"{words} (the host decides)") if host.container else warning(words, "sudo nvidia-smi -pm 1")


CHECKS = (
    Check("driver", "bus", bus),
    Check("driver", "modules", modules),
    Check("driver", "library", library),
    Check("driver", "nvml", answers),
    Check("driver", "nodes", nodes),
    Check("driver", "fabric", fabric),
    Check("driver", "persistence", persistence),
)
