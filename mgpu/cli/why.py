"""Say why a run failed, or how it is."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mgpu.cli import show
from mgpu.errors import UsageError
from mgpu.run import runs
from mgpu.spec.nearest import did_you_mean

if TYPE_CHECKING:
    from mgpu.run.why import Reason

WIDTH = 100
INDENT = 10


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the name or the id of a run")
    parser.add_argument("task", nargs="?", metavar="TASK", help="one of its tasks; those that failed if left out")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def main(options: argparse.Namespace) -> int:
    from mgpu.run.why import reasons

    run = runs.named(options.run)
    if options.task and options.task not in run.tasks:
        raise UsageError(f"{run.name} has no task {options.task!r}", did_you_mean(options.task, list(run.tasks)))
    found = reasons(run, options.task)
    if options.json:
        import json

        told = {"version": 1, "id": run.id, "name": run.name, "state": run.state}
        print(json.dumps({**told, "tasks": [reason._asdict() for reason in found]}, indent=2))
        return 0
    many = len(run.tasks) > 1
    print("\n\n".join("\n".join(_lines(run.name, reason, many)) for reason in found))
    return 0


def _lines(run: str, reason: Reason, many: bool) -> Iterator[str]:
    """The reason as a person reads it."""
    bold, plain = ("\033[1m", "\033[0m") if show.colour(sys.stdout) else ("", "")
    name = f"{run}, {reason.task}" if many else run
    yield from _wrapped(f"{bold}{name}{plain}: {reason.how}", "")
    if reason.cause:
        yield from _part("cause", reason.cause)
    for at, change in enumerate(reason.change):
        yield from _part("" if at else "change", change)
    if reason.error:
        yield from _part("error", reason.error)
    if reason.also:
        yield from _part("also", "its log shows as well: " + "; ".join(reason.also))
    if reason.evidence or reason.tail:
        yield from _part("log", str(reason.log))
        yield from (f"{'':{INDENT}}| {line}" for line in reason.evidence or reason.tail)
    elif reason.failed:
        yield from _part("log", "it has written nothing")
    if reason.source:
        yield from _part("source", reason.source)


def _part(title: str, text: str) -> Iterator[str]:
    yield from _wrapped(text, f"  {title:<{INDENT - 2}}")


def _wrapped(text: str, head: str) -> list[str]:
    """The text after its title, in lines that a terminal holds; no word is cut."""
    rest = " " * (len(head) or 2)
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
