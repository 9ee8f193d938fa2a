"""Stop runs."""

from __future__ import annotations

import argparse
import sys

from mgpu.errors import HostError, UsageError
from mgpu.run import runs, stopping


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="the names or ids of runs")
    parser.add_argument("--all", action="store_true", help="all runs of this user")
    parser.add_argument("--now", action="store_true", help="kill them, without their grace period")


def main(options: argparse.Namespace) -> int:
    if not options.runs and not options.all:
        raise UsageError("stop which run?", "mgpu ps lists them; --all stops every one")
    chosen = [run for run in runs.found() if run.alive] if options.all else [runs.named(word) for word in options.runs]
    for run in chosen:
        if run.state == "newer":
            raise HostError(f"{run.name} was started by a newer mgpu", "stop it with that one, or update this one")
        if not run.alive:
            print(f"{run.name} does not run", file=sys.stderr)
            continue
        stopping.stop(run, options.now)
        print(f"{run.name} has stopped", file=sys.stderr)
    return 0
