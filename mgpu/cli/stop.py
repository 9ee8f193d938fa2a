"""Stop runs."""

from __future__ import annotations

import argparse
import sys

from mgpu.cli import show
from mgpu.errors import HostError, UsageError
from mgpu.run import runs, stopping


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="the names or ids of runs")
    parser.add_argument("--all", action="store_true", help="all runs of this user")
    parser.add_argument(
        "--reap", action="store_true", help="also end what `ps` names as holding the GPUs of a run that is over"
    )
    parser.add_argument("--now", action="store_true", help="kill them, without their grace period")


def main(options: argparse.Namespace) -> int:
    if not options.runs and not options.all:
        raise UsageError("stop which run?", "mgpu ps lists them; --all stops every one")
    chosen = [run for run in runs.found() if run.alive] if options.all else [runs.named(word) for word in options.runs]
    codes = [_stopped(run, options) for run in chosen]
    return max(codes, default=0)


def _stopped(run: runs.Run, options: argparse.Namespace) -> int:
    """Stop the run; what stands in the way is printed, so that the others are stopped as well."""
    if not run.alive and run.state != "newer":
        print(f"{run.name} does not run", file=sys.stderr)
        return 0
    try:
        if run.state == "newer":
            raise HostError(f"{run.name} was started by a newer mgpu", "stop it with that one, or update this one")
        stopping.stop(run, options.now, options.reap)
    except HostError as error:
        return show.failed(error)
    print(f"{run.name} has stopped", file=sys.stderr)
    return 0
