"""Show the GPUs of this host, their links, and who holds them."""

from __future__ import annotations

import argparse
import os

from mgpu.cli import source
from mgpu.plan.fitness import unusable
from mgpu.values.machine import Gpu, Machine

GIB = 2**30


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
        print("\n".join(shown(machine)))
    return 0


def shown(machine: Machine) -> list[str]:
    """The machine in lines for a person: a headline, a row a GPU, and how they are joined."""
    count = len(machine.gpus)
    facts = [f"{count} GPU{'s' * (count != 1)}" if count else "no GPU"]
    facts += [f"driver {machine.driver}"] if machine.driver else []
    facts += [f"CUDA {machine.cuda}"] if machine.cuda else []
    facts += [f"{machine.cpus} CPUs"] if machine.cpus else []
    facts += [f"{machine.memory / GIB:.0f} GiB of host memory"] if machine.memory else []
    lines = [f"{machine.name}: {', '.join(facts)}", *machine.notes]
    if count:
        lines += ["", *_gpus(machine)]
    if count > 1:
        lines += ["", *_links(machine)]
    if not count:
        lines.append("mgpu runs jobs with gpus: 0 here, and renders for other machines: --machine 2xrtx-4090")
    return lines


def _gpus(machine: Machine) -> list[str]:
    rows = [("GPU", "NAME", "FREE", "OF", "", "STATE")]
    rows += [_gpu(gpu, machine) for gpu in machine.gpus]
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    aligned = (">", "<", ">", ">", "<")
    return ["  ".join(f"{row[at]:{aligned[at]}{widths[at]}}" for at in range(5)) + "  " + row[5] for row in rows]


def _gpu(gpu: Gpu, machine: Machine) -> tuple[str, str, str, str, str, str]:
    used = f"{gpu.utilization}%" if gpu.utilization is not None else ""
    state = unusable(gpu, machine) or (
        "is free" if not gpu.processes else "is free but for " + str(gpu.processes[0].name)
    )
    name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    free, total = f"{gpu.free / GIB:.1f}", f"{gpu.memory / GIB:.1f} GiB"
    return str(gpu.index), name, free, total, used, state.removeprefix("is ")


def _links(machine: Machine) -> list[str]:
    """The links as `nvidia-smi topo -m` shows them: NV with the number of lanes, else the way over PCIe."""
    kinds = {}
    for link in machine.links:
        word = f"NV{link.nvlinks or ''}" if link.kind == "NVLINK" else link.kind
        kinds[link.a, link.b] = kinds[link.b, link.a] = word
    names = [str(gpu.index) for gpu in machine.gpus]
    rows = [["", *names]]
    for a in machine.gpus:
        rows.append([str(a.index), *("-" if a is b else kinds.get((a.index, b.index), "?") for b in machine.gpus)])
    width = max(len(cell) for row in rows for cell in row)
    return ["  ".join(f"{cell:>{width}}" for cell in row) for row in rows]
