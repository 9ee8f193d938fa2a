"""The facts about a host: its GPUs by UUID, how they are linked, who holds them. Unknown is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mgpu.values.memory import Correction
    from mgpu.values.model import Model

HOME = "\0HOME"
FOLDER = "\0PWD"
USER = "\0USER"
"""What stands for the home, the spec's folder and the user's ids where the machine does not say: printed as ``$HOME``,
``$PWD`` and ``$(id -u):$(id -g)``. No document can hold a NUL, so none can be mistaken for a user's text."""

CDI = "nvidia.com/gpu="
"""What goes before the name of a GPU where it is a CDI device of Docker's."""

CLAIM = "mgpu.gpus"
"""The label by which a container claims GPUs: their ids, with commas between."""

LINK_KINDS = ("NVLINK", "PIX", "PXB", "PHB", "NODE", "SYS")
"""The kinds of link, best first, in the words of ``nvidia-smi topo -m`` (NV# is NVLINK here)."""


class Process(NamedTuple):
    """A compute process on a GPU; `memory` in bytes; `run` is the id of the mgpu run it belongs to."""

    pid: int | None
    name: str | None = None
    memory: int | None = None
    run: str | None = None


class Held(NamedTuple):
    """A share of a GPU that a run has leased: `bytes` of its memory, and `holder`, the run in words. `start` is the
    first byte of the lease, which lies in one piece (None: nobody knows); `run` is the run's id."""

    bytes: int
    holder: str
    start: int | None = None
    run: str | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU. `memory` is what CUDA can give out (bytes, driver-reserved part left out), `free` what is free of it.

    `holder` has leased all of it, those of `shared` a part. To a job that shares it `budget` is what that may take
    (bytes), and `free` what is left free when it starts. `unexplained` is what is in use (bytes) and no process has
    that can be seen: None unless the machine was read inside a container with process ids of its own, where those of
    others are hidden. `awaited` says who has waited for it, and goes first; the host itself does not tell of that.
    """

    index: int
    name: str
    memory: int
    free: int
    uuid: str | None = None
    bus_id: str | None = None
    product: str | None = None
    compute_capability: tuple[int, int] | None = None
    numa: int | None = None
    mig: bool | None = None
    fault: str | None = None
    processes: tuple[Process, ...] = ()
    unexplained: int | None = None
    holder: str | None = None
    awaited: str | None = None
    shared: tuple[Held, ...] = ()
    budget: int | None = None
    utilization: int | None = None
    temperature: int | None = None
    power: float | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None

    @property
    def id(self) -> str:
        """The UUID; on a machine given in shorthand, where none is known, the index."""
        return self.uuid or str(self.index)

    @property
    def room(self) -> int:
        """Bytes that a job may take: all that is free, or no more than its share."""
        return self.free if self.budget is None else min(self.free, self.budget)


class Link(NamedTuple):
    """How two GPUs (by index) are joined. `bandwidth` in GB/s per direction; `nvlinks` counts NVLink lanes. What
    `bench links` has measured of an all-reduce between the two: `latency` of a small one in us, `measured` GB/s of a
    large one (its bytes by its time)."""

    a: int
    b: int
    kind: str
    nvlinks: int = 0
    bandwidth: float | None = None
    p2p: bool | None = None
    latency: float | None = None
    measured: float | None = None


class Docker(NamedTuple):
    """What the Docker engine says of itself. `cdi` are the names of the NVIDIA GPUs that it lists as CDI devices, UUIDs
    or indices; `gpus` whether it can give a container GPUs (None: a start will tell); `podman` that Podman answers in
    its place; `fault` why it cannot be used."""

    version: str | None = None
    cdi: tuple[str, ...] = ()
    gpus: bool | None = None
    podman: bool = False
    fault: str | None = None


@dataclass(frozen=True)
class Machine:
    """A host as a value: the second argument of compiling. GPUs without a Link are joined who knows how. `user` are the
    ids of the user and the group, ``1000:1000``; on `ports` something listens, `leased` ones are held by runs.
    `software` are the packages of the interpreter on PATH, `interpreters` those of others, by their path; `models` what
    the files of models say of their sizes, by the names that specs have for them; `corrections` what boot logs of this
    host have shown of memory."""

    name: str
    gpus: tuple[Gpu, ...] = ()
    links: tuple[Link, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    cpus: int | None = None
    memory: int | None = None
    home: str | None = None
    folder: str | None = None
    user: str | None = None
    ports: tuple[int, ...] = ()
    leased: tuple[int, ...] = ()
    software: tuple[tuple[str, str], ...] = ()
    interpreters: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    docker: Docker | None = None
    mask: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    models: tuple[tuple[str, Model], ...] = ()
    corrections: tuple[Correction, ...] = ()

    def installed(self, package: str, python: str | None = None) -> str | None:
        """The version of a Python package in the interpreter that process jobs run in, or in `python`, where known."""
        return dict(dict(self.interpreters).get(python, ()) if python else self.software).get(package)
