"""GPUs as a test wants them in, the environment of a process that sees just those through a stub NVML out."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
BUILD = Path(__file__).parents[3] / ".build" / "nvml"
MIB = 2**20

LOST, UNKNOWN, DRIVER_NOT_LOADED, MISMATCH = 15, 999, 9, 18
"""Codes of nvmlReturn_t: GPU_IS_LOST, UNKNOWN, DRIVER_NOT_LOADED, LIB_RM_VERSION_MISMATCH."""
SWITCH, HIDDEN = -1, -2
"""What an NVLink leads to if not to a GPU: a switch, or in a virtual machine one that cannot be seen."""


@dataclass(frozen=True)
class FakeGpu:
    """What NVML says of one GPU; None is NOT_SUPPORTED. Sizes in bytes, power in milliwatts, `links` by lane,
    `ancestors` (nvmlGpuTopologyLevel_t) and `p2p` (nvmlGpuP2PStatus_t) by the peer's NVML index. `handle` is the error
    of getting the handle, `calls` that of every other call."""

    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str | None = None
    bus: str | None = None
    total: int | None = 81559 * MIB
    reserved: int = 469 * MIB
    used: int = 0
    memory_version: int = 2
    cc_major: int = 9
    cc_minor: int = 0
    numa: int | None = 0
    mig: int | None = 0
    utilization: int | None = 0
    temperature: int | None = 35
    power: int | None = 70_000
    pcie_generation: int | None = 5
    pcie_width: int | None = 16
    pcie_now: int | None = 5
    pcie_card: int | None = 5
    pcie_most: int | None = 16
    pstate: int | None = 0
    throttled: int | None = 0
    persistence: int | None = 1
    ecc: int | None = None
    retired: int | None = None
    remapped: tuple[int, int, int, int] | None = None
    handle: int = 0
    calls: int = 0
    processes: tuple[tuple[int, int], ...] = ()
    graphics: tuple[tuple[int, int], ...] = ()
    links: Mapping[int, int] = field(default_factory=dict)
    ancestors: Mapping[int, int] = field(default_factory=dict)
    p2p: Mapping[int, int] = field(default_factory=dict)


def uuid(index: int) -> str:
    """The UUID of a fake GPU that was given none."""
    return f"GPU-{index:08x}-0000-4000-8000-{index:012x}"


def bus(index: int) -> str:
    """The bus id of a fake GPU that was given none."""
    return f"00000000:{0x10 + index:02X}:00.0"


class Stub:
    """A folder with a stub's configuration; `env` is what a process needs to see it instead of a driver."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "nvml.conf"
        found = os.environ.get("LD_LIBRARY_PATH")
        path = f"{library().parent}:{found}" if found else str(library().parent)
        self.env = {"LD_LIBRARY_PATH": path, "FAKE_NVML_CONF": str(self.file)}

    def write(
        self,
        gpus: Iterable[FakeGpu] = (),
        *,
        driver: str = "550.90.07",
        cuda: int = 12040,
        init: int = 0,
        hang: int = 0,
    ) -> Stub:
        """Show these GPUs from now on, also to processes that run already. `hang` seconds pass before each answer."""
        lines = [f"driver {driver}", f"cuda {cuda}", f"init {init}", *([f"hang {hang}"] if hang else [])]
        for index, gpu in enumerate(gpus):
            lines += [f"gpu {index}", *_facts(index, gpu)]
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.file)
        return self


def stub_nvml(folder: Path, gpus: Iterable[FakeGpu] = (), **driver: int) -> dict[str, str]:
    """The variables under which a process sees `gpus`; `driver` as in Stub.write."""
    return Stub(folder).write(gpus, **driver).env  # type: ignore[arg-type]


def no_nvml(folder: Path) -> dict[str, str]:
    """The variables under which a process finds no NVML at all, whatever this machine has."""
    (folder / "libnvidia-ml.so.1").write_text("not a library\n")
    return {"LD_LIBRARY_PATH": str(folder)}


def library() -> Path:
    """The stub, compiled where it has not been from this very source."""
    source = SOURCE.read_bytes()
    built = BUILD / hashlib.sha256(source).hexdigest()[:12] / "libnvidia-ml.so.1"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        new = built.with_suffix(f".{os.getpid()}")
        flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", f"-Wl,-soname,{built.name}"]
        subprocess.run(["gcc", *flags, "-o", new, SOURCE], check=True)
        new.replace(built)
    return built


def _facts(index: int, gpu: FakeGpu) -> list[str]:
    rows: dict[str, object] = {**vars(gpu), "uuid": gpu.uuid or uuid(index), "bus": gpu.bus or bus(index)}
    many = {key: rows.pop(key) for key in ("processes", "graphics", "links", "ancestors", "p2p", "remapped")}
    facts = [f"{key} {value}" for key, value in rows.items() if value is not None]
    facts += [f"process {pid} {memory}" for pid, memory in gpu.processes]
    facts += [f"graphics {pid} {memory}" for pid, memory in gpu.graphics]
    facts += [f"remapped {' '.join(map(str, gpu.remapped))}"] if gpu.remapped else []
    for word, key in (("link", "links"), ("ancestor", "ancestors"), ("p2p", "p2p")):
        table = many[key]
        assert isinstance(table, Mapping)
        facts += [f"{word} {at} {what}" for at, what in table.items()]
    return facts
