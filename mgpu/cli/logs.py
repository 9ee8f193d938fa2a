"""Print what a run has written."""

from __future__ import annotations

import argparse
import functools
import re
import sys
from typing import Any

from mgpu.errors import UsageError
from mgpu.run import follow, runs
from mgpu.spec.nearest import did_you_mean


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the name or the id of a run")
    parser.add_argument("task", nargs="?", metavar="TASK", help="one of its tasks; all of them if left out")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run is over")
    parser.add_argument("--tail", type=_lines, metavar="N", help="begin with the last N lines of each log")


def _lines(word: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", word):
        raise argparse.ArgumentTypeError(f"a number of lines is 0 or more, not {word!r}")
    return int(word)


def main(options: argparse.Namespace) -> int:
    run = runs.named(options.run)
    tasks = list(run.tasks)
    if options.task and options.task not in tasks:
        raise UsageError(f"{run.name} has no task {options.task!r}", did_you_mean(options.task, tasks))
    wanted = [options.task] if options.task else tasks
    if options.follow and run.alive:
        lives = functools.partial(runs.lives, run.id)
        follow.follow(run.folder, wanted, sys.stdout.buffer, _silent, lives, options.tail)
        return 0
    for tail in follow.tails(run.folder, wanted, options.tail):
        while tail.copy(sys.stdout.buffer):
            pass
        tail.close(sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def _silent(_: dict[str, Any]) -> None:
    """Events are for `mgpu run`; here only what was written is printed."""
