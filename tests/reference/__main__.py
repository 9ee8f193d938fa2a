"""Files of reference rows in, a table of how well the planner answers them out: ``python -m tests.reference FILE...``.

A row is asked without its answer, by its kind, of ANSWERS in sizes.py, serving.py, training.py and layouts.py.
Exits 1 where a bound of `bounds.py` is broken.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.reference.asking import answers
from tests.reference.bounds import broken, overall
from tests.reference.judging import Tally, judged, tallied

Row = Mapping[str, Any]


def rows_of(files: Iterable[str]) -> list[Row]:
    """All rows of the files."""
    return [row for file in files for row in json.loads(Path(file).read_text("utf-8"))["rows"]]


def table(tallies: Mapping[str, Tally]) -> str:
    """A line a kind: rows, rows answered, mean and worst error in percent, verdicts right."""
    lines = [f"{'kind':26} {'rows':>4} {'answered':>8} {'mean %':>8} {'worst %':>8} {'right':>7}"]
    for kind, tally in sorted(tallies.items()):
        mean, worst = ("-", "-") if not tally.errors else (f"{100 * tally.mean:.3f}", f"{100 * tally.worst:.3f}")
        right = f"{tally.right}/{tally.verdicts}" if tally.verdicts else "-"
        lines.append(f"{kind:26} {tally.rows:4} {tally.answered:8} {mean:>8} {worst:>8} {right:>7}")
    return "\n".join(lines)


def main(files: list[str], verbose: bool) -> int:
    """Print the table, what is broken, and each row where `verbose`; 1 where a bound is broken."""
    known = answers()
    results = [judged(row, known) for row in rows_of(files)]
    if verbose:
        print("\n".join(result.line for result in results))
    tallies = tallied(results)
    print(table(tallies))
    failures = [*broken(tallies), *overall(tallies)]
    print("\n".join(failures) or "every bound holds")
    return 1 if failures else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    paths = [word for word in words if not word.startswith("-")]
    sys.exit(main(paths or sorted(map(str, Path(__file__).with_name("rows").glob("*.json"))), "-v" in words))
