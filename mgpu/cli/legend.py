"""A task's estimates in, the table of their lines out: letter, name, GiB, how sure that is, and why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from mgpu.cli.bars import MORE, key, letters, lines_of
from mgpu.values.memory import GIB, Estimate, Line, Span

MARK = "\0"
"""Stands for a letter until the columns are laid out: a colour has no width."""
NARROW = 24
"""Columns that a reason gets at least; where there are fewer left it stands below."""


def legend(estimates: Sequence[Estimate], width: int | None, *, colour: bool = False) -> list[str]:
    """A table for every kind of GPU that differs from the others in its lines."""
    known = letters(estimates)
    kinds: dict[tuple[Line, ...], list[int]] = {}
    for estimate in estimates:
        kinds.setdefault(lines_of(estimate), []).append(estimate.index)
    named = {estimate.index: estimate for estimate in estimates}
    tables = [_table(named[indices[0]], indices, known, width) for indices in kinds.values()]
    lines = [line for at, table in enumerate(tables) for line in (*([""] if at else []), *table)]
    return [_keyed(line, colour) for line in lines]


def _keyed(line: str, colour: bool) -> str:
    if not line.startswith(MARK):
        return line
    return key(line[1], colour) + line[2:]


def _table(estimate: Estimate, indices: Sequence[int], known: dict[str, str], width: int | None) -> list[str]:
    rows: list[tuple[str, ...]] = [("", f"GPU {_listed(indices)}", "GiB", "RANGE", "SOURCE", "")]
    rows += [_row(line, known[line.name]) for line in lines_of(estimate)]
    rows.append(("", "sum", *_size(_sum(estimate)), "", ""))
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    return [line for row in rows for line in _lines(row, widths, width)]


def _listed(indices: Sequence[int]) -> str:
    """Numbers as people write them: 0-3, 6."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _row(line: Line, letter: str) -> tuple[str, ...]:
    why = f"beside what the engine allows itself{'; ' if line.why else ''}{line.why}" if line.outside else line.why
    source = "" if line.name == MORE else line.source
    return (letter, line.name, *_size(line.bytes), source, why)


def _size(size: Span) -> tuple[str, str]:
    """The expected size, and the span where it is one."""
    texts = [_gib(part) for part in size]
    return texts[1], f"{texts[0]}-{texts[2]}" if texts[0] != texts[2] else ""


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if abs(size) < 10 * GIB else f"{size / GIB:.1f}"


def _sum(estimate: Estimate) -> Span:
    """Of all that the table lists."""
    return estimate.taken if any(line.name == MORE for line in lines_of(estimate)) else estimate.total


def _lines(row: tuple[str, ...], widths: Sequence[int], width: int | None) -> Iterator[str]:
    """A row of the table, its reason wrapped in the last column, or below where that is too narrow."""
    letter, name, size, span, source, why = row
    start = (
        f"{letter or ' ':<1}  {name:<{widths[1]}}  {size:>{widths[2]}}  {span:>{widths[3]}}  {source:<{widths[4]}}  "
    )
    first = (MARK if letter else "") + start
    if not width:
        yield (first + why).rstrip()
        return
    room, indent = width - len(start), len(start)
    if room < NARROW and why:
        yield first.rstrip()
        yield from textwrap.wrap(why, max(NARROW, width - 5), initial_indent=" " * 5, subsequent_indent=" " * 5)
        return
    parts = textwrap.wrap(why, max(NARROW, room), break_on_hyphens=False) or [""]
    yield (first + parts[0]).rstrip()
    yield from (" " * indent + part for part in parts[1:])
