"""Files of cases in Black's manner: a name, the input, a line of its own, and what must come of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

REWRITE = bool(os.environ.get("MGPU_GOLDEN"))
"""Set to write what comes out into the files, for a reviewer to read as a diff."""


class Case(NamedTuple):
    """One case of a file."""

    name: str
    text: str
    expected: str


def cases(path: Path, divider: str) -> Iterator[Case]:
    """The cases of a file: each starts with ``=== name``, and `divider` parts its input from what is expected."""
    for block in path.read_text().split("=== ")[1:]:
        name, _, rest = block.partition("\n")
        text, _, expected = rest.partition(divider + "\n")
        yield Case(name, text, expected.rstrip("\n"))


def rewrite(path: Path, divider: str, answer: Callable[[str], str]) -> None:
    """Write every case of the file anew with what `answer` makes of its input."""
    blocks = [f"=== {case.name}\n{case.text}{divider}\n{answer(case.text)}\n" for case in cases(path, divider)]
    path.write_text("\n".join(blocks))
