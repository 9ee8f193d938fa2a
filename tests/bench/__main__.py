"""``python -m tests.bench``: measure mgpu, print a table of figures beside their bounds. It asserts nothing.

A figure is the best of its repetitions, or a ratio of two such; the median stands beside it. Processes that are
compared run interleaved, so that a change of the machine's mood meets them all.
"""

from __future__ import annotations

import os
import platform

from tests.bench.figure import Figure
from tests.bench.pipeline import catalogue, placement
from tests.bench.planner import planning
from tests.bench.processes import cold_start, run_of_true, run_of_true_boxed
from tests.bench.sizes import sizes


def main() -> None:
    """Measure one after the other, and print each table as soon as it is whole."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    row("", "best", "median", "bound", "")
    for measure in (cold_start, catalogue, run_of_true, run_of_true_boxed, placement, planning, sizes):
        for figure in measure():
            show(figure)


def show(figure: Figure) -> None:
    """One line of the table."""
    verdict = "" if figure.bound is None else "within" if figure.within else "OVER"
    bound = "" if figure.bound is None else f"{'>=' if figure.more_is_better else '<='} {figure.bound:g}"
    row(figure.name, f"{figure.best:.4g} {figure.unit}", f"{figure.median:.4g}", bound, verdict)


def row(name: str, best: str, median: str, bound: str, verdict: str) -> None:
    """Five columns."""
    print(f"{name:<46}{best:>14}{median:>10}{bound:>10}  {verdict}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
