"""Show the GPUs of this host, their links, and who holds them."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator

from mgpu.cli import show, source
from mgpu.plan.fitness import unusable
from mgpu.plan.shares import left
from mgpu.values.machine import Docker, Gpu, Link, Machine

GIB = 2**30
MATRIX = 16
"""More GPUs than this have their links summed up rather than drawn."""
TIED = "\0"
"""A space at which no line is broken."""
GREEN, YELLOW, RED = "\033[32m", "\033[33m", "\033[31m"


def add(parser: argparse.ArgumentParser) -> None:
    source.add_machine(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--yaml", action="store_true", help="print it as a machine file, for --machine and for CI")


def main(options: argparse.Namespace) -> int:
    from mgpu.machine import file, snapshot

    machine = file.resolve(options.machine) if options.machine else snapshot.read(os.getcwd())
    if options.json:
        import json

        print(json.dumps(file.plain(machine), indent=2, ensure_ascii=False))
    elif options.yaml:
        print(file.dump(machine), end="")
    else:
        print("\n".join(shown(machine, _width(), colour=show.colour(sys.stdout))))
    return 0


def _width() -> int | None:
    """The columns to fit in; None where no person sits in front of them."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def shown(machine: Machine, width: int | None = None, *, colour: bool = False) -> list[str]:
    """The machine in lines for a person: a headline, what is to be said of it, a row a GPU, and how they are joined."""
    lines = [line for text in (_headline(machine), *machine.notes) for line in _fitted(text, width, 2)]
    if machine.gpus:
        lines += ["", *_gpus(machine, width, colour)]
    else:
        hint = "jobs with gpus: 0 run here; to plan for another machine give it: --machine 2xrtx-4090"
        lines += _fitted(hint, width, 2)
    return lines + (["", *_links(machine, width)] if len(machine.gpus) > 1 else [])


def _headline(machine: Machine) -> str:
    count = len(machine.gpus)
    facts = [f"{count} GPU{'s' * (count != 1)}" if count else "no GPU"]
    facts += [f"driver {machine.driver}"] if machine.driver else []
    facts += [f"CUDA {machine.cuda}"] if machine.cuda else []
    facts += [f"{machine.cpus} CPU{'s' * (machine.cpus != 1)}"] if machine.cpus else []
    facts += [f"{machine.memory / GIB:.0f} GiB of memory"] if machine.memory else []
    facts += [f"{package} {version}" for package, version in machine.software]
    facts += [_docker(machine.docker)] if machine.docker and machine.docker.version else []
    return f"{machine.name}: {', '.join(facts)}"


def _docker(docker: Docker) -> str:
    """The engine, and how it gives containers GPUs where it does."""
    how = "GPUs by CDI" if docker.cdi else "with GPUs" if docker.gpus else "without GPUs"
    return f"{'Podman' if docker.podman else 'Docker'} {docker.version} ({how})"


def _fitted(text: str, width: int | None, indent: int) -> list[str]:
    """`text` on lines of at most `width` columns, all but the first indented; nothing in it moves the cursor."""
    import textwrap

    clean = "".join(char if char.isprintable() or char == TIED else "\N{REPLACEMENT CHARACTER}" for char in text)
    if not width:
        return [clean]
    indented = textwrap.TextWrapper(max(width, indent + 24), subsequent_indent=" " * indent, break_on_hyphens=False)
    return indented.wrap(clean) or [""]


def _gpus(machine: Machine, width: int | None, colour: bool) -> list[str]:
    rows = [("GPU", "NAME", "UUID", "FREE", "OF GiB", "LOAD", "TEMP", "POWER"), *(_facts(gpu) for gpu in machine.gpus)]
    told = [at for at in range(8) if any(row[at] for row in rows[1:])]
    kept = [at for at in told if at < 5 or (width or 120) >= 100]
    widths = [max(len(row[at]) for row in rows) for at in kept]
    starts = [
        "  ".join(f"{row[at]:{'<' if at in (1, 2) else '>'}{size}}" for at, size in zip(kept, widths, strict=True))
        + "  "
        for row in rows
    ]
    lines = [starts[0] + "STATE"]
    for gpu, start in zip(machine.gpus, starts[1:], strict=True):
        state, paint = _state(gpu, machine)
        first, *more = _fitted(start.replace(" ", TIED) + state, width, len(start))
        text = first.replace(TIED, " ")
        lines += [text[: len(start)] + (f"{paint}{text[len(start) :]}\033[0m" if colour else text[len(start) :]), *more]
    return lines


def _facts(gpu: Gpu) -> tuple[str, ...]:
    name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    uuid = (gpu.uuid or "").removeprefix("GPU-")[:8]
    load = f"{gpu.utilization}%" if gpu.utilization is not None else ""
    heat = f"{gpu.temperature} C" if gpu.temperature is not None else ""
    power = f"{gpu.power:.0f} W" if gpu.power is not None else ""
    free, whole = (f"{gpu.free / GIB:.1f}", f"{gpu.memory / GIB:.1f}") if gpu.memory else ("-", "-")
    return str(gpu.index), name, uuid, free, whole, load, heat, power


def _state(gpu: Gpu, machine: Machine) -> tuple[str, str]:
    """Whether a job could have it, in words and in colour: what the planner would say."""
    why = unusable(gpu, machine)
    if why is None:
        return "free", GREEN
    if gpu.shared and why.startswith("is shared by "):
        return f"{why.removeprefix('is ')}, {left(gpu) / GIB:.1f} GiB left", YELLOW
    others = len([process for process in gpu.processes if process.run is None]) - 1
    more = f" and {others} more" if why.startswith("is in use by ") and others > 0 else ""
    return why.removeprefix("is ") + more, RED if gpu.fault else YELLOW


def _links(machine: Machine, width: int | None) -> list[str]:
    """The links as `nvidia-smi topo -m` draws them, and what each kind carries."""
    many = len(machine.gpus) > MATRIX
    legend = [line for text in _legend(machine.links, many) for line in _fitted(text, width, 2)]
    return legend if many else [*_matrix(machine), *legend]


def _word(link: Link) -> str:
    return f"NV{link.nvlinks or ''}" if link.kind == "NVLINK" else link.kind


def _matrix(machine: Machine) -> list[str]:
    kinds = {(link.a, link.b): _word(link) for link in machine.links}
    kinds |= {(b, a): word for (a, b), word in kinds.items()}
    indices = [gpu.index for gpu in machine.gpus]
    rows = [["", *(str(index) for index in indices)]]
    rows += [[str(a), *("-" if a == b else kinds.get((a, b), "?") for b in indices)] for a in indices]
    size = max(len(cell) for row in rows for cell in row)
    return [f"{row[0]:>3}  " + "  ".join(f"{cell:>{size}}" for cell in row[1:]) for row in rows]


def _legend(links: tuple[Link, ...], many: bool) -> Iterator[str]:
    kinds = Counter((_word(link), link.bandwidth, link.p2p) for link in links)
    for (word, bandwidth, p2p), count in kinds.items():
        facts = [f"{bandwidth:g} GB/s per direction"] if bandwidth else []
        facts += [{True: "P2P", False: "no P2P", None: "P2P not known"}[p2p]]
        yield f"{word}: " + (f"{count:,} pairs, " if many else "") + ", ".join(facts)
