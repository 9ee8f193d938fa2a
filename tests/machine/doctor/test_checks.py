"""Every check on a healthy host, and on one that is sick in just that way: what it says, and what it says to do."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mgpu.machine import checks
from mgpu.machine.checks.host import Engine, Host, Silent, Space
from mgpu.machine.health import Health
from mgpu.machine.nvml import LOST, REMEDIES, Found
from mgpu.values.machine import Docker, Gpu, Link, Process
from tests.fakes.nvml import bus, uuid
from tests.machine.doctor import trees
from tests.machine.doctor.look import GIB, INFO, NOW, room

BY_TITLE = {check.title: check for check in checks.CHECKS}
GPU = Gpu(0, "NVIDIA H100 80GB HBM3", 80 * GIB, 80 * GIB, product="h100-sxm", mig=False, utilization=0)
HEALTH = Health("", 5, 5, 5, 16, 16, 0, 0, True, 0, (0, 0, 0, 0), False, 18)
GPUS = tuple(replace(GPU, index=n, uuid=uuid(n), bus_id=bus(n), numa=n // 4) for n in range(8))
PAIRS = tuple(Link(a, b, "NVLINK", 18, 450.0, True) for a in range(8) for b in range(a + 1, 8))
FOUND = Found(GPUS, PAIRS, trees.DRIVER, "12.4")
CARDS = tuple(HEALTH._replace(uuid=uuid(n)) for n in range(8))
DOCKER = Engine(Docker("28.5.1", tuple(map(str, range(8))), True), INFO)
PCIE = tuple(link._replace(kind="PHB", nvlinks=0, bandwidth=32.0) for link in PAIRS)
XID = "3,99,{},-;NVRM: Xid (PCI:0000:13:00): {}, pid=4711, name=python, {}\n"
OLD = "NVRM: Xid (PCI:0000:11:00): 79, of the boot before\n"
NO_SOCKET = "there is no Docker engine here (no /var/run/docker.sock): install one, or say runtime: process"

Change = Callable[[Host], Host]


class Case(NamedTuple):
    """A sick host: what its files are in place of a server's, and how else it differs; what the check must say."""

    title: str
    verdict: str
    words: str
    mend: str = ""
    files: Mapping[str, str | None] = {}
    change: Change = lambda host: host
    user: bool = False


def gpu(at: int, **facts: Any) -> Change:
    """One GPU is otherwise."""

    def changed(host: Host) -> Host:
        found = host.driver
        assert isinstance(found, Found)
        rows = tuple(replace(each, **facts) if each.index == at else each for each in found.gpus)
        return replace(host, driver=found._replace(gpus=rows))

    return changed


def card(at: int, **facts: Any) -> Change:
    """One GPU does otherwise."""
    return lambda host: replace(
        host, health=tuple(row._replace(**facts) if n == at else row for n, row in enumerate(host.health))
    )


def links(rows: tuple[Link, ...]) -> Change:
    """They are joined otherwise."""
    return lambda host: replace(host, driver=FOUND._replace(links=rows))


def silent(note: str) -> Change:
    """The driver has no GPU, and says why."""
    return lambda host: replace(host, driver=Found(notes=(note,)), health=())


def engine(docker: Docker = DOCKER.docker, **info: Any) -> Change:
    """Docker is otherwise."""
    return lambda host: replace(host, engine=Engine(docker, {**INFO, **info}))


def shell(**env: str) -> Change:
    """The shell has other variables."""
    return lambda host: replace(host, env={**host.env, **env})


def disk(free: int, place: str) -> Change:
    """So many bytes are free below `place`."""

    def left(path: str) -> Space:
        return Space(2000 * GIB, free) if place in path else room(1000 * GIB, path)

    return lambda host: replace(host, room=left)


def both(*changes: Change) -> Change:
    """One change after the other."""

    def changed(host: Host) -> Host:
        for change in changes:
            host = change(host)
        return host

    return changed


def at(now: float) -> Change:
    """The clock says something else."""
    return lambda host: replace(host, now=now)


def python(answer: str) -> str:
    """An interpreter that says this of its torch."""
    return f"#!/bin/sh\necho '{answer}'\n"


ABSENT = REMEDIES["LibraryNotFound"]
NOTHING = Found(notes=(ABSENT,))
TREE: Mapping[str, str | None] = trees.server()
GONE = dict.fromkeys(path for path in TREE if path.startswith(("/sys/bus/pci", "/proc/driver", "/sys/module/nvidia")))
LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so"
BOX = {"/.dockerenv": ""}
TORCH = {"/venv/lib/python3.11/site-packages/torch-2.9.0+cu130.dist-info": "dir"}
NFS = "server:/x /run/lock/mgpu nfs4 rw 0 0\n"

SICK = [
    Case("driver.bus", "broken", "no NVIDIA GPU on the PCI bus", "power off", GONE, silent(ABSENT)),
    Case("driver.bus", "broken", "in this container", "--gpus all", {**GONE, **BOX}, silent(ABSENT)),
    Case("driver.bus", "warning", "the driver tells of 7", "dmesg",
         change=lambda host: replace(host, driver=FOUND._replace(gpus=GPUS[:7]))),
    Case("driver.modules", "broken", "nouveau, which has no CUDA", "blacklist nouveau",
         {**GONE, **trees.card(0, "nouveau")}, silent(ABSENT)),
    Case("driver.modules", "broken", "virtual machines", "vfio-pci.ids",
         {**GONE, **trees.card(0, "vfio-pci")}, silent(ABSENT)),
    Case("driver.modules", "broken", "installed and not loaded", "sudo modprobe nvidia",
         {**GONE, **trees.card(0, None)}, silent(ABSENT)),
    Case("driver.modules", "broken", "is not installed", "ubuntu-drivers install",
         {**GONE, **trees.card(0, None), f"{LIBRARY}.{trees.DRIVER}": None}, silent(ABSENT)),
    Case("driver.library", "broken", "the module in the kernel is 550.90.07, the library 550.127.05", "sudo reboot",
         {f"{LIBRARY}.{trees.DRIVER}": None, f"{LIBRARY}.550.127.05": ""}, silent(REMEDIES["LibRmVersionMismatch"])),
    Case("driver.nvml", "broken", "nothing came back", "dmesg",
         change=lambda h: replace(h, driver=Silent("nothing came back"))),
    Case("driver.nvml", "broken", "installed but not loaded", "sudo modprobe nvidia",
         change=silent(REMEDIES["DriverNotLoaded"])),
    Case("driver.nvml", "broken", "no NVIDIA driver library", "ubuntu-drivers", change=silent(ABSENT)),
    Case("driver.nvml", "broken", "no NVIDIA driver library", "what modules says", {**GONE, **trees.card(0, None)},
         silent(ABSENT)),
    Case("driver.nvml", "skipped", "no card to ask for", "", GONE, silent(ABSENT)),
    Case("driver.nvml", "broken", "a reload of systemd on the host", "docker.cgroups", BOX,
         silent(REMEDIES["Unknown"])),
    Case("driver.nodes", "broken", "missing: /dev/nvidia-uvm", "nvidia-modprobe", {"/dev/nvidia-uvm": None}),
    Case("driver.nodes", "broken", "may not use /dev/nvidia3", "chmod 0666 /dev/nvidia3",
         {"/dev/nvidia3": "closed"}, user=True),
    Case("driver.fabric", "broken", "no fabric manager runs", "enable --now nvidia-fabricmanager",
         {"/proc/4242/comm": None}),
    Case("driver.persistence", "warning", "GPU 2: persistence mode is off", "nvidia-smi -pm 1",
         change=card(2, persistent=False)),
    Case("gpus.answering", "broken", "GPU 3 is lost", "sudo reboot", change=gpu(3, fault=LOST)),
    Case("gpus.memory", "broken", "GPU 5: broken rows wait for a reset", "--gpu-reset -i 5",
         change=card(5, remapped=(0, 1, 1, 0))),
    Case("gpus.memory", "broken", "could not be replaced", "RMA", change=card(5, remapped=(0, 1, 0, 1))),
    Case("gpus.memory", "warning", "GPU 1: 3 uncorrected errors", "--gpu-reset -i 1", change=card(1, uncorrected=3)),
    Case("gpus.xid", "broken", "GPU 3: Xid 79, the GPU fell off the bus", "sudo reboot",
         {"/dev/kmsg": trees.FIRST + XID.format(1, 79, "GPU has fallen off the bus.")}),
    Case("gpus.xid", "warning", "GPU 3: Xid 119 (2 times)", "--gpu-reset -i 3",
         {"/dev/kmsg": trees.FIRST + 2 * XID.format(1, 119, "Timeout waiting for RPC from GSP!")}),
    Case("gpus.xid", "ok", "Xid 31, GPU memory page fault: an illegal address: the job itself, not the card", "",
         {"/dev/kmsg": trees.FIRST + XID.format(1, 31, "Ch 00000008, intr 00000000.")}),
    Case("gpus.xid", "warning", "Xid 999, not in the list", "xid-errors",
         {"/dev/kmsg": None, "/var/log/kern.log": OLD + trees.FIRST + XID.format(1, 999, "?")}),
    Case("gpus.clocks", "broken", "GPU 4: hardware slows it for heat or power", "fans",
         change=card(4, throttled=64 | 8)),
    Case("gpus.clocks", "warning", "GPU 4: the driver slows it for heat", "cooling", change=card(4, throttled=32 | 4)),
    Case("gpus.mig", "warning", "GPUs 0,2-3: split by MIG", "-i 0 -mig 0",
         change=both(gpu(0, mig=True), gpu(2, mig=True), gpu(3, mig=True))),
    Case("gpus.mask", "warning", "bounds mgpu to GPU 0, 1", "unset", change=shell(CUDA_VISIBLE_DEVICES="0,1")),
    Case("gpus.mask", "broken", "leaves no GPU", "unset", change=shell(CUDA_VISIBLE_DEVICES="-1")),
    Case("gpus.mask", "warning", "CUDA counts them fastest first", "PCI_BUS_ID", change=gpu(0, name="NVIDIA L4")),
    Case("gpus.used", "warning", "GPU 6 is in use by blender (pid 77)", "--ignore-foreign",
         change=gpu(6, processes=(Process(77, "blender", 2**30),), free=79 * GIB)),
    Case("gpus.used", "warning", "GPU 6 has 7.0 GiB in use that no process has", "fuser", change=gpu(6, free=73 * GIB)),
    Case("gpus.used", "warning", "something outside this container", "--ignore-foreign",
         change=gpu(6, free=73 * GIB, unexplained=7 * GIB)),
    Case("links.slots", "warning", "GPU 1 runs at x4 Gen5, 16 GB/s of the 64", "pipeline", change=card(1, width_now=4)),
    Case("links.slots", "warning", "runs at x4 Gen3, 4 GB/s of the 32", "BIOS",
         change=card(1, width_now=4, generation_now=3, generation_most=3, generation_card=4)),
    Case("links.slots", "warning", "runs at x8 Gen5, 32 GB/s of the 64", "another slot",
         {f"/sys/bus/pci/devices/{trees.address(1)}/max_link_width": "16\n"}, card(1, width_now=8, width_most=8)),
    Case("links.slots", "ok", "Gen1 while it idles", change=card(1, generation_now=1, state=8)),
    Case("links.slots", "warning", "GPU 1 works, and its link stays at Gen1", "BIOS",
         change=both(card(1, generation_now=1), gpu(1, utilization=99))),
    Case("links.slots", "warning", "GPU 1 runs at x4", "rent another machine", BOX, card(1, width_now=4)),
    Case("links.nvlink", "warning", "GPU 7: 12 of 18 NVLinks are up, 300 of 450 GB/s", "nvlink --status",
         change=card(7, nvlinks=12)),
    Case("links.nvlink", "broken", "GPU 7: 0 of 18", "--gpu-reset", change=card(7, nvlinks=0)),
    Case("links.direct", "broken", "NVLink joins GPUs that may not read", "topo -p2p r",
         change=links((PAIRS[0]._replace(p2p=False), *PAIRS[1:]))),
    Case("links.direct", "warning", "1 of the pairs among GPUs 0-1 have no P2P", "NCCL_P2P_DISABLE=1",
         change=links((PCIE[0]._replace(p2p=False), *PCIE[1:]))),
    Case("links.measured", "warning", "GPUs 0 and 1: 3.1 GB/s in an all-reduce, of the 450", "NCCL_P2P_DISABLE",
         change=links((PAIRS[0]._replace(measured=3.1), *PAIRS[1:]))),
    Case("links.measured", "ok", "1 pairs measured, the slowest 320.0",
         change=links((PAIRS[0]._replace(measured=320.0), *PAIRS[1:]))),
    Case("links.iommu", "warning", "IOMMU translates", "iommu=pt", trees.card(0, group="DMA-FQ"), links(PCIE)),
    Case("docker.engine", "broken", "may not ask Docker", "usermod -aG docker",
         change=engine(Docker(fault="this user may not ask Docker (permission denied on /x): as root, usermod"))),
    Case("docker.engine", "broken", "installed and does not run", "systemctl enable --now docker",
         change=engine(Docker(fault="Docker is installed and does not run (nobody listens on /x): systemctl"))),
    Case("docker.engine", "warning", "there is no Docker engine", "docs.docker.com",
         change=engine(Docker(fault=NO_SOCKET))),
    Case("docker.engine", "skipped", "is usual: runtime: process", "", BOX, engine(Docker(fault=NO_SOCKET))),
    Case("docker.engine", "warning", "Podman 5.4 answers", "docs.docker.com",
         change=engine(Docker("5.4", podman=True))),
    Case("docker.engine", "broken", "does not answer", "restart docker",
         change=lambda h: replace(h, engine=Silent("nothing"))),
    Case("docker.toolkit", "broken", "container toolkit is missing", "apt-get install -y nvidia-container-toolkit",
         change=engine(Docker("28", gpus=False), Runtimes={"runc": {}})),
    Case("docker.toolkit", "broken", "Docker was not told of it", "runtime configure", {"/usr/bin/nvidia-ctk": ""},
         engine(Docker("28", gpus=False), Runtimes={"runc": {}})),
    Case("docker.cgroups", "warning", "each systemctl daemon-reload takes the GPUs", "cdi generate",
         change=engine(Docker("24", gpus=True))),
    Case("docker.cgroups", "ok", "/dev/char names the devices", "", {"/dev/char/195:255": "-> ../nvidiactl"},
         engine(Docker("24", gpus=True))),
    Case("docker.cgroups", "ok", "cgroup driver cgroupfs",
         change=engine(Docker("24", gpus=True), CgroupDriver="cgroupfs")),
    Case("docker.cdi", "broken", "names libraries of driver 535.1.2, and 550.90.07 is loaded", "cdi generate",
         {"/etc/cdi/nvidia.yaml": trees.CDI.format("- name: all\n", "535.1.2", "535.1.2")}),
    Case("docker.cdi", "broken", "does not name GPU 1, 2", "cdi generate",
         {"/etc/cdi/nvidia.yaml": trees.CDI.format('- name: "0"\n', trees.DRIVER, trees.DRIVER)}),
    Case("docker.cdi", "warning", "names GPUs that are not here: GPU-ffff", "cdi generate",
         {"/etc/cdi/nvidia.yaml": f"{TREE['/etc/cdi/nvidia.yaml']}- name: GPU-ffff\n"}),
    Case("docker.restart", "warning", "live-restore is off", "live-restore", change=engine(LiveRestoreEnabled=False)),
    Case("host.cpus", "warning", "4 CPUs (a quota, of 128) for 8 GPUs", "rent more",
         {"/sys/fs/cgroup/cpu.max": "400000 100000\n"}),
    Case("host.governor", "warning", "powersave (acpi-cpufreq)", "cpupower", {
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "acpi-cpufreq\n"}),
    Case("host.numa", "warning", "GPUs 4-7: no CPU of their node", "taskset",
         {"/proc/self/status": "Cpus_allowed_list:\t0-31\n"}),
    Case("host.numa", "warning", "node1 has processors and no memory", "slots",
         {"/sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:       0 kB\n"}),
    Case("host.memory", "warning", "32 GiB (a limit, of 2000), 32 free, and a GPU has 80", "safetensors",
         {"/sys/fs/cgroup/memory.max": f"{32 * GIB}\n"}),
    Case("host.memory", "warning", "2 free: starting an engine", "ps aux", {
        "/sys/fs/cgroup/memory.max": f"{96 * GIB}\n", "/sys/fs/cgroup/memory.current": f"{95 * GIB}\n",
        "/sys/fs/cgroup/memory.stat": f"inactive_file {GIB}\n"}),
    Case("host.memory", "warning", "30 GiB are swapped out", "ps aux",
         {"/proc/meminfo": trees.MEMINFO.format(2**31, 2**30, 2**26, 2**25 + 2**21)}),
    Case("host.limits", "warning", "256 open files", "ulimit -n", {"/proc/self/limits": trees.LIMITS.format(256, 1)}),
    Case("host.limits", "warning", "64 KiB of locked memory", "memlock", {
        "/proc/self/limits": trees.LIMITS.format(1024, 65536), "/sys/class/infiniband/mlx5_0": "dir"}),
    Case("disks.shm", "broken", "64 MiB, 64 MiB free: the default of a container", "--shm-size",
         BOX, lambda h: replace(h, room=partial(room, 2**26))),
    Case("disks.shm", "broken", "0 MiB free", "ls -lS /dev/shm", change=disk(0, "/dev/shm")),
    Case("disks.locks", "broken", "lies on nfs4", "MGPU_LOCK_DIR", {"/proc/mounts": trees.MOUNTS + NFS}),
    Case("disks.locks", "broken", "no absolute path", "unset", change=shell(MGPU_LOCK_DIR="locks")),
    Case("disks.locks", "broken", "is not a folder", "install -d -m 1777", {"/run/lock/mgpu": "a file"}),
    Case("disks.locks", "broken", "may not open gpu-x.lock", "chmod 0666",
         {"/run/lock/mgpu/gpu-x.lock": "closed"}, user=True),
    Case("disks.locks", "broken", "may not make it", "install -d",
         {"/run/lock/mgpu": None, "/run/lock": "dir"}, user=True),
    Case("disks.state", "broken", "may not write", "chown", user=True),
    Case("disks.state", "broken", "20 MiB free", "mgpu ps", change=disk(20 * 2**20, "/home")),
    Case("disks.state", "warning", "lies on nfs", "MGPU_STATE_DIR",
         {"/proc/mounts": trees.MOUNTS + "s:/h /home nfs rw 0 0\n"}),
    Case("disks.models", "warning", "9 GiB free", "HF_HOME", change=disk(9 * GIB, "/home")),
    Case("disks.images", "broken", "512 MiB free for /var/lib/docker", "image prune", change=disk(GIB // 2, "docker")),
    Case("programs.torch", "broken", "torch 2.9.0+cu130 for CUDA 13.0, and the driver is for CUDA 12.4", "whl/cu124",
         {**TORCH, "/venv/bin/python3": python('["2.9.0+cu130", "13.0", 0, "The NVIDIA driver is too old"]')}),
    Case("programs.torch", "warning", "sees 7 GPUs, and the driver has 8", "collect_env",
         {**TORCH, "/venv/bin/python3": python('["2.9.0+cu124", "12.4", 7, null]')}),
    Case("programs.torch", "broken", "cannot be imported", "import torch",
         {**TORCH, "/venv/bin/python3": "#!/bin/sh\nexit 1\n"}),
    Case("programs.torch", "ok", "sees 8 GPUs", "",
         {**TORCH, "/venv/bin/python3": python('["2.9.0+cu124", "12.4", 8, null]')}),
    Case("programs.torch", "warning", "is built without CUDA", "--force-reinstall torch",
         {"/venv/lib/python3.11/site-packages/torch-2.9.0+cpu.dist-info": "dir", "/venv/bin/python3": "#!/bin/sh\n"}),
    Case("programs.ports", "warning", "8000 (vllm", "ss -ltnp", {
        "/proc/net/tcp": trees.TCP + "   1: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000\n"}),
    Case("programs.clock", "broken", "the clock says 1970", "set-ntp", change=at(86400.0)),
    Case("programs.clock", "broken", "100 days behind", "set-ntp", change=at(NOW - 100 * 86400)),
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """The files of a healthy server; what a test changes of them is changed back."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        root = trees.grow(Path(folder) / "root", TREE)
        for place in (Path(folder), root, root / "home/me"):
            place.chmod(0o755)
        os.utime(root / "var/lib/systemd/timesync/clock", (NOW, NOW))
        yield root


@contextmanager
def host(root: Path, files: Mapping[str, str | None] = {}, change: Change = lambda host: host) -> Iterator[Host]:
    """A server of files with these in their place."""
    with tempfile.TemporaryDirectory(dir=root.parent) as folder, ExitStack() as back:
        for number, (place, text) in enumerate(files.items()):
            path, aside = root / place.lstrip("/"), Path(folder) / str(number)
            if os.path.lexists(path):
                path.rename(aside)
                back.callback(aside.rename, path)
            if text is not None:
                new = next(each for each in reversed([path, *path.parents]) if not os.path.lexists(each))
                trees.grow(root, {place: text})
                back.callback(removed, new)
            if text == "closed":
                path.chmod(0o600)
            if text and text.startswith("#!"):
                path.chmod(0o755)
        env = {"HOME": "/home/me", "PATH": str(root / "venv/bin")}
        yield change(Host(FOUND, DOCKER, CARDS, str(root), env, partial(room, 1000 * GIB), NOW))


def removed(path: Path) -> None:
    """Remove it, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def nobody(really: bool) -> Iterator[None]:
    """As another user than root, where this is root."""
    if really and os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


@pytest.mark.parametrize("title", BY_TITLE)
def test_on_a_healthy_host(title: str, server: Path) -> None:
    with host(server) as here:
        found = BY_TITLE[title].look(here)
    unknown = {"links.measured", "programs.torch"}
    assert found.verdict == ("skipped" if title in unknown else "ok"), found
    assert found.evidence
    assert not found.mend


@pytest.mark.parametrize("case", SICK, ids=lambda case: f"{case.title}: {case.words}")
def test_on_a_sick_host(case: Case, server: Path) -> None:
    with host(server, case.files, case.change) as here, nobody(case.user):
        found = BY_TITLE[case.title].look(here)
    assert (found.verdict, case.words in found.evidence) == (case.verdict, True), found
    assert case.mend in "\n".join(found.mend), found
    assert bool(found.mend) == (case.verdict in ("warning", "broken")), found


def test_every_check_has_a_sick_host() -> None:
    assert set(BY_TITLE) - {case.title for case in SICK} == {"programs.python"}


def test_an_interpreter_that_lacks_a_library(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with host(server) as here:
        found = BY_TITLE["programs.python"].look(here)
    assert found.verdict == "broken"
    assert "nvidia-ml-py missing" in found.evidence


def test_the_libraries_are_those_of_the_package() -> None:
    from mgpu.machine.checks.programs import NEEDED

    text = (Path(__file__).parents[3] / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("]")[0]
    wanted = {f'"{name}>={".".join(map(str, least))}' for name, least in NEEDED.items()}
    assert len(text.split()) == len(wanted)
    assert all(word in text for word in wanted), text
