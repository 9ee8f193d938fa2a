"""Measure this host, and keep what plans need to know of it: how fast each two GPUs reduce between them."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgpu.machine.measured import LinkFigure
    from mgpu.run.linkbench import Trouble
    from mgpu.values.machine import Machine


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=("links",), help="links: an all-reduce of 8 KiB and of 64 MiB on each free pair"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def main(options: argparse.Namespace) -> int:
    from mgpu.machine import measured, snapshot
    from mgpu.run import linkbench

    machine = snapshot.read(os.getcwd())
    found = list(linkbench.measured(machine, lambda words: print(f"measuring {words}", file=sys.stderr)))
    figures = [row for row in found if isinstance(row, measured.LinkFigure)]
    troubles = [row for row in found if isinstance(row, linkbench.Trouble)]
    if figures:
        measured.keep_links(figures)
    if options.json:
        import json

        print(json.dumps(plain(figures, troubles), indent=2))
    else:
        print("\n".join(shown(machine, figures, troubles)))
        print(f"{len(figures)} pairs kept in {measured.path()}", file=sys.stderr)
    return 125 if troubles else 0


def plain(figures: list[LinkFigure], troubles: list[Trouble]) -> dict[str, Any]:
    """What was found, JSON-ready."""
    return {"links": [row._asdict() for row in figures], "failed": [row._asdict() for row in troubles]}


def shown(machine: Machine, figures: list[LinkFigure], troubles: list[Trouble]) -> list[str]:
    """A row a pair, with what joins it."""
    index = {gpu.id: gpu.index for gpu in machine.gpus}
    kinds = {frozenset((link.a, link.b)): link.kind for link in machine.links}
    lines = ["PAIR     KIND    LATENCY us  64 MiB GB/s"] if figures else []
    for row in figures:
        a, b = index[row.a_uuid], index[row.b_uuid]
        kind = kinds.get(frozenset((a, b)), "?")
        lines.append(f"{f'{a}-{b}':<7}  {kind:<6}  {row.latency_us:>10.1f}  {row.GBps:>11.1f}")
    return lines + [f"{index[row.a]}-{index[row.b]}: {row.why}" for row in troubles]
