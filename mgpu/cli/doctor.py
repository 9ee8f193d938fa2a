"""Look for what is wrong with this host, and say with which command it is mended; nothing is changed."""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mgpu.cli import show

if TYPE_CHECKING:
    from mgpu.machine.checks.host import Host
    from mgpu.run.checkup import Row

MARKS = {"ok": ("ok", "\033[32m"), "skipped": ("-", "\033[2m"), "warning": ("warning", "\033[33m")}
MARKS["broken"] = ("BROKEN", "\033[31m")
NARROW = 60
"""Columns of evidence below which lines are not broken any further."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checks", nargs="*", metavar="CHECK", help="only these groups or checks: gpus, links.direct, xid"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def main(options: argparse.Namespace) -> int:
    from mgpu.machine.checks import survey
    from mgpu.run import checkup

    began = time.monotonic()
    which = checkup.chosen(options.checks)
    host = survey.host()
    rows = checkup.examine(which, host)
    seconds = time.monotonic() - began
    if options.json:
        import json

        print(json.dumps(plain(host, rows, seconds), indent=2, ensure_ascii=False))
    else:
        import shutil

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(shown(host, rows, width, colour=show.colour(sys.stdout))))
        print(f"{len(rows)} checks in {seconds:.1f} s", file=sys.stderr)
    return 1 if any(row.finding.verdict == "broken" for row in rows) else 0


def plain(host: Host, rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """All of it, JSON-ready."""
    checks = [
        {
            "group": row.check.group,
            "name": row.check.name,
            "verdict": row.finding.verdict,
            "evidence": row.finding.evidence,
            "mend": list(row.finding.mend),
        }
        for row in rows
    ]
    broken = any(row.finding.verdict == "broken" for row in rows)
    return {"version": 1, "ok": not broken, "container": host.container, "seconds": round(seconds, 3), "checks": checks}


def shown(host: Host, rows: Sequence[Row], width: int | None = None, *, colour: bool = False) -> list[str]:
    """A line a check, by groups; under those that are not well what mends them; last what is to be done."""
    lines = [headline(host)]
    label = max((len(row.check.name) for row in rows), default=0)
    group = None
    for row in rows:
        if row.check.group != group:
            group = row.check.group
            lines += ["", group]
        lines += _lines(row, label, width, colour)
    return [*lines, "", *_summary(rows)]


def headline(host: Host) -> str:
    """What kind of machine this is."""
    count = len(host.gpus)
    kind = host.container or ("a virtual machine" if host.virtual else "a machine of its own")
    facts = [kind, host.release.get("PRETTY_NAME", ""), f"{count} GPU{'s' * (count != 1)}" if count else "no GPU"]
    names = Counter(gpu.name.removeprefix("NVIDIA ") for gpu in host.gpus)
    return ", ".join(filter(None, [*facts, *(f"{count} x {name}" for name, count in names.items())]))


def _lines(row: Row, label: int, width: int | None, colour: bool) -> Iterator[str]:
    mark, paint = MARKS[row.finding.verdict]
    start = f"  {mark:<7}  {row.check.name:<{label}}  "
    first, *more = _fitted(row.finding.evidence, len(start), width)
    yield (start.replace(mark, f"{paint}{mark}\033[0m", 1) if colour else start) + first
    yield from (" " * len(start) + line for line in more)
    for words in row.finding.mend:
        first, *more = _fitted(words, len(start) + 2, width)
        yield f"{'':{len(start)}}> {first}"
        yield from (f"{'':{len(start)}}  {line}" for line in more)


def _fitted(text: str, indent: int, width: int | None) -> list[str]:
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    if not width:
        return [clean]
    return textwrap.wrap(clean, max(NARROW, width - indent), break_on_hyphens=False, break_long_words=False) or [""]


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    by = Counter(row.finding.verdict for row in rows)
    yield f"{by['ok']} ok, {by['skipped']} skipped, {by['warning']} to look at, {by['broken']} broken"
    for verdict, words in (("broken", "broken"), ("warning", "to look at")):
        if by[verdict]:  # type: ignore[index]
            yield f"{words}: {', '.join(row.check.title for row in rows if row.finding.verdict == verdict)}"
