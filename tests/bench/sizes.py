"""The package's own source in, the sizes of its modules and functions out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.figure import Figure

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mgpu"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[Function, int]]:
    """Every function of a module, methods and inner ones too, and its lines from ``def`` to its end."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1


def sizes() -> Iterator[Figure]:
    """How large things are; the bounds are what the best codebases of this kind keep."""
    files = sorted(len(path.read_text().splitlines()) for path in modules())
    lengths = sorted(lines for path in modules() for _, lines in functions(path))
    yield _lines(f"{len(files)} modules, the median", median(files), 120)
    yield _lines("the longest module", files[-1], 300)
    yield _lines(f"{len(lengths)} functions, the median", median(lengths), 10)
    yield _lines("nine functions in ten have at most", lengths[len(lengths) * 9 // 10], 30)
    yield _lines("the longest function", lengths[-1], 60)


def _lines(name: str, lines: float, bound: int) -> Figure:
    return Figure(name, lines, lines, "lines", bound)
