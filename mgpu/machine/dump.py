"""A Machine in, the text of its file out: YAML for people, or the same as plain data for JSON."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from mgpu.spec.document import scalar
from mgpu.values.machine import Docker, Gpu, Link, Machine
from mgpu.values.memory import Correction

VERSION = 1
"""Of the format. A file of another version is refused."""
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9 ._/+-]*(?<! )")
WIDTH = 100


def plain(machine: Machine) -> dict[str, Any]:
    """The machine as plain data, ready for JSON: sizes in bytes, what is unknown left out."""
    return {
        "version": VERSION,
        **_known(machine, "name", "driver", "cuda", "cpus", "memory", "home", "folder", "user"),
        **({"docker": _docker(machine.docker)} if machine.docker else {}),
        **({"mask": list(machine.mask)} if machine.mask is not None else {}),
        **({"ports": list(machine.ports)} if machine.ports else {}),
        **({"software": dict(machine.software)} if machine.software else {}),
        "gpus": [_gpu(gpu) for gpu in machine.gpus],
        **({"links": _links(machine.links)} if machine.links else {}),
        **({"corrections": [_correction(line) for line in machine.corrections]} if machine.corrections else {}),
        **({"notes": list(machine.notes)} if machine.notes else {}),
    }


def dump(machine: Machine) -> str:
    """The machine as YAML; `mgpu.machine.file.load` reads back the very same value."""
    lines: list[str] = []
    for key, value in plain(machine).items():
        if isinstance(value, (dict, list)) and value and key not in ("ports", "docker"):
            lines += [f"{key}:", *_block(value)]
        else:
            lines.append(f"{key}: {_flow(_size(key, value))}")
    return "\n".join(lines) + "\n"


def _known(value: Any, *names: str) -> dict[str, Any]:
    """Those of the named fields that are known."""
    return {name: getattr(value, name) for name in names if getattr(value, name) is not None}


def _docker(docker: Docker) -> dict[str, Any]:
    known = _known(docker, "version", "gpus", "fault")
    return {
        **known,
        **({"cdi": list(docker.cdi)} if docker.cdi else {}),
        **({"podman": True} if docker.podman else {}),
    }


def _gpu(gpu: Gpu) -> dict[str, Any]:
    names = ("index", "name", "product", "uuid", "bus_id", "memory", "free", "compute_capability", "mig", "numa")
    more = ("pcie_generation", "pcie_width", "utilization", "temperature", "power", "fault", "holder", "unexplained")
    known = _known(gpu, *names, *more)
    if gpu.compute_capability:
        known["compute_capability"] = "{}.{}".format(*gpu.compute_capability)
    if gpu.shared:
        known["shared"] = [_known(held, *held._fields) for held in gpu.shared]
    if gpu.processes:
        known["processes"] = [_known(process, *process._fields) for process in gpu.processes]
    return known


def _links(links: tuple[Link, ...]) -> list[dict[str, Any]]:
    """Links that follow each other and differ only in their pair are written as one."""
    groups = groupby(links, key=lambda link: link[2:])
    return [_group([*group]) for _, group in groups]


def _group(links: list[Link]) -> dict[str, Any]:
    lanes = ("nvlinks",) if links[0].nvlinks else ()
    known = _known(links[0], "kind", *lanes, "bandwidth", "p2p", "latency", "measured")
    return {**known, "pairs": [f"{link.a}-{link.b}" for link in links]}


def _correction(correction: Correction) -> dict[str, Any]:
    """A correction, without what it has by default."""
    usual = Correction._field_defaults
    return {name: value for name, value in _known(correction, *correction._fields).items() if value != usual.get(name)}


def _block(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"  {name}: {_flow(item)}" for name, item in value.items()]
    return [line for item in value for line in (_item(item) if isinstance(item, dict) else [f"- {_flow(item)}"])]


def _item(item: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in item.items():
        if name in ("processes", "shared"):
            rows = [{key: _size(key, part) for key, part in row.items()} for row in value]
            lines += [f"{name}:", *(f"- {_flow(row)}" for row in rows)]
        else:
            lines.append(f"{name}: {_flow(_size(name, value))}")
    inner = "\n".join(lines).split("\n")
    return [f"{'- ' if at == 0 else '  '}{line}" for at, line in enumerate(inner)]


def _size(key: str, value: Any) -> Any:
    """Bytes with a unit where that is exact."""
    if key not in ("memory", "free", "unexplained", "bytes", "start") or value % 2**20 or not value:
        return value
    return f"{value // 2**30}GiB" if value % 2**30 == 0 else f"{value // 2**20}MiB"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return _wrapped("[" + ", ".join(_flow(item) for item in value) + "]")
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _wrapped(text: str) -> str:
    """A list of short words on as many lines as it needs."""
    import textwrap

    if '"' in text:
        return text
    return "\n  ".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def _quoted(text: str) -> str:
    if re.fullmatch(r"[0-9]+-[0-9]+|[0-9]+[MG]iB", text) or (PLAIN.fullmatch(text) and scalar(text) == text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'
