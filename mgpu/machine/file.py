"""A Machine as a file: YAML or JSON in, the Machine out, and back, so that CI can compile for a box that it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mgpu.errors import UsageError
from mgpu.machine.dump import VERSION, dump, plain
from mgpu.spec.document import MAX_BYTES, read
from mgpu.spec.notes import BAD, Notes
from mgpu.spec.scalars import Choice, Flag, Integer, Number, Size, Text
from mgpu.spec.shapes import Array, Either, Key, Made, Record, Table
from mgpu.values.machine import LINK_KINDS, Docker, Gpu, Held, Link, Machine, Process
from mgpu.values.mark import Path
from mgpu.values.memory import Correction

__all__ = ["dump", "load", "plain", "resolve"]


def resolve(text: str) -> Machine:
    """The machine that ``--machine`` or a spec's ``machine:`` means: the file of that name, else a shorthand.

    Raises UsageError where it is neither, SpecError for what is wrong in the file.
    """
    from mgpu.catalog.machines import shorthand

    if os.path.exists(text):
        return load(text, _text(text))
    if os.sep in text or text.endswith((".yaml", ".yml", ".json")):
        raise UsageError(f"there is no machine file {text}", "write one on the box: mgpu machine --yaml > box.yaml")
    return shorthand(text)


def load(name: str, text: str) -> Machine:
    """The machine that `text` describes; `name` is what errors call it. Raises SpecError with all that is wrong."""
    document = read(name, text)
    notes = Notes(document)
    machine = shape().read(document.data, (), notes)
    if machine is not BAD:
        _consistent(machine, notes)
    if notes.problems:
        raise document.error(*notes.problems)
    assert isinstance(machine, Machine)
    return machine


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"the machine file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"the machine file {path} is not UTF-8 at byte {error.start}", "save it as UTF-8") from None


TEXT = Text(empty=True)
PACKAGE = r"[A-Za-z0-9][A-Za-z0-9._-]*"
BYTES = Either({int: Integer(), str: Size()}, "bytes, or an amount of memory as 80GiB")


@lru_cache(maxsize=1)
def shape() -> Record:
    """What a machine file must look like."""
    return Record(
        _machine,
        {
            "version": Key(Made(Integer(), _known), "of this format"),
            "name": Key(TEXT, "what the machine is called", required=True),
            "driver": Key(TEXT, "the NVIDIA driver's version"),
            "cuda": Key(TEXT, "the newest CUDA that the driver runs"),
            "cpus": Key(Integer(1), "CPUs that jobs may use"),
            "memory": Key(BYTES, "the host's memory"),
            "home": Key(TEXT, "the user's home folder"),
            "folder": Key(TEXT, "the spec's folder"),
            "user": Key(TEXT, "the ids of the user and the group, as '1000:1000'"),
            "docker": Key(_docker(), "what the Docker engine can do; left out: there is none"),
            "mask": Key(Array(TEXT), "ids of the GPUs that mgpu may take; left out: all"),
            "ports": Key(Array(Integer(1, 65535)), "TCP ports in use"),
            "software": Key(Table(TEXT, PACKAGE, "the name of a package"), "packages and versions"),
            "gpus": Key(Array(_gpu()), "the GPUs"),
            "links": Key(Array(_links()), "how pairs of GPUs are joined"),
            "corrections": Key(Array(_correction()), "what boot logs of this host have shown of memory"),
            "notes": Key(Array(TEXT), "what else there is to say"),
        },
    )


def _known(version: int) -> int:
    if version != VERSION:
        raise ValueError(f"is {version}, and this mgpu reads {VERSION}", "update mgpu, or write the file anew")
    return version


def _machine(links: Any = (), software: Any = None, **given: Any) -> Machine:
    given.pop("version", None)
    joined = tuple(link for group in links for link in group)
    return Machine(links=joined, software=tuple((software or {}).items()), **given)


def _docker() -> Record:
    return Record(
        Docker,
        {
            "version": Key(TEXT, "the engine's version"),
            "cdi": Key(Array(TEXT), "the NVIDIA GPUs that it lists as CDI devices, by UUID or index"),
            "gpus": Key(Flag(), "whether it can give a container GPUs; left out: not known"),
            "podman": Key(Flag(), "whether it is Podman that answers"),
            "fault": Key(TEXT, "why it cannot be used"),
        },
    )


def _gpu() -> Record:
    process = {
        "pid": Key(Integer(1), "its id"),
        "name": Key(TEXT, "its name"),
        "memory": Key(BYTES, "what it has of the GPU's memory"),
        "run": Key(TEXT, "the mgpu run that it belongs to"),
    }
    return Record(
        Gpu,
        {
            "index": Key(Integer(), "its place in the order of bus ids", required=True),
            "name": Key(TEXT, "as the driver calls it", required=True),
            "memory": Key(BYTES, "what CUDA can give out", required=True),
            "free": Key(BYTES, "what is free of it", required=True),
            "uuid": Key(TEXT, "its identity"),
            "bus_id": Key(TEXT, "its place on the PCI bus"),
            "product": Key(TEXT, "its id in the catalogue"),
            "compute_capability": Key(Made(Text(r"[0-9]+\.[0-9]+", "two numbers, as '9.0'"), _capability), "as '9.0'"),
            "numa": Key(Integer(), "the NUMA node it is next to"),
            "mig": Key(Flag(), "whether it is split by MIG"),
            "fault": Key(TEXT, "why it cannot be used"),
            "processes": Key(Array(Record(_process, process)), "what computes on it"),
            "unexplained": Key(BYTES, "in use by nothing that is seen; left out: process ids are the host's"),
            "holder": Key(TEXT, "who has leased it"),
            "shared": Key(Array(_held()), "the shares of it that runs have leased"),
            "utilization": Key(Integer(0, 100), "percent"),
            "temperature": Key(Integer(-100, 300), "degrees Celsius"),
            "power": Key(Number(), "watts"),
            "pcie_generation": Key(Integer(1), "at most"),
            "pcie_width": Key(Integer(1), "lanes in use"),
        },
    )


def _held() -> Record:
    return Record(
        Held,
        {
            "bytes": Key(BYTES, "what the run may have of the GPU's memory", required=True),
            "holder": Key(TEXT, "the run, in words", required=True),
            "start": Key(BYTES, "where its lease begins; left out: not known"),
            "run": Key(TEXT, "its id"),
        },
    )


def _process(pid: int | None = None, **given: Any) -> Process:
    return Process(pid, **given)


def _capability(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _links() -> Made:
    pair = Made(Text(r"[0-9]+-[0-9]+", "the indices of two GPUs, as 0-1"), _pair)
    keys = {
        "kind": Key(Choice(LINK_KINDS), "as in `nvidia-smi topo -m`", required=True),
        "nvlinks": Key(Integer(), "how many NVLinks"),
        "bandwidth": Key(Number(), "GB/s per direction"),
        "p2p": Key(Flag(), "whether the driver lets them read each other's memory"),
        "latency": Key(Number(), "us of a small all-reduce between the two, as measured"),
        "measured": Key(Number(), "GB/s of a large all-reduce between the two, as measured"),
        "pairs": Key(Array(pair, 1), "the pairs that are joined so, as [0-1, 0-2]", required=True),
    }
    return Made(Record(dict, keys), _group)


def _correction() -> Record:
    return Record(
        lambda version=None, **given: Correction(version=version, **given),
        {
            "engine": Key(TEXT, "whose boot log it was", required=True),
            "version": Key(TEXT, "the engine's version; left out: not known"),
            "product": Key(TEXT, "the GPU's id in the catalogue", required=True),
            "line": Key(TEXT, "the line of an estimate that it replaces", required=True),
            "bytes": Key(BYTES, "what the log says of it", required=True),
            "tensor": Key(Integer(1), "into how many parts layers were split"),
            "pipeline": Key(Integer(1), "over how many stages layers were spread"),
            "log": Key(TEXT, "the file that it was read from"),
        },
    )


def _pair(text: str) -> tuple[int, int]:
    a, b = text.split("-")
    if int(a) == int(b):
        raise ValueError(f"joins GPU {a} with itself")
    return int(a), int(b)


def _group(given: dict[str, Any]) -> tuple[Link, ...]:
    return tuple(Link(a, b, **given) for a, b in given.pop("pairs"))


def _consistent(machine: Machine, notes: Notes) -> None:
    """Note what no machine can be: a GPU that is there twice, more free memory than memory, links to nowhere."""
    for message, path in (*_doubles(machine), *_nowhere(machine)):
        notes.add(message, path)


def _doubles(machine: Machine) -> Iterator[tuple[str, Path]]:
    for at, gpu in enumerate(machine.gpus):
        before = machine.gpus[:at]
        if gpu.index in {other.index for other in before}:
            yield f"there are two GPUs with the index {gpu.index}", ("gpus", at, "index")
        elif gpu.id in {other.id for other in before}:
            yield f"there are two GPUs with the uuid {gpu.id}", ("gpus", at, "uuid")
        if gpu.free > gpu.memory:
            yield f"GPU {gpu.index} has more free memory than memory", ("gpus", at, "free")
    seen: set[frozenset[int]] = set()
    for link in machine.links:
        pair = frozenset((link.a, link.b))
        if pair in seen:
            yield f"the pair {link.a}-{link.b} is joined twice", ("links",)
        seen.add(pair)


def _nowhere(machine: Machine) -> Iterator[tuple[str, Path]]:
    indices, ids = {gpu.index for gpu in machine.gpus}, {gpu.id for gpu in machine.gpus}
    for index in sorted({end for link in machine.links for end in link[:2]} - indices):
        yield f"there is no GPU {index} to join", ("links",)
    for at, gpu in enumerate(machine.mask or ()):
        if gpu not in ids:
            yield f"there is no GPU {gpu}", ("mask", at)
