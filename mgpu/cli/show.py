"""Errors in, words for people or machines out: text with the source line and a caret, JSON, GitHub annotations."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from mgpu.errors import MgpuError, Problem, SpecError
from mgpu.values.document import Document
from mgpu.values.mark import Mark
from mgpu.values.secrets import masked

WIDTH = 160
"""A source line longer than this is shown around its mark only."""


def failed(error: MgpuError) -> int:
    """Print `error` on stderr and return its exit code."""
    if isinstance(error, SpecError):
        print(spec_error(error, sys.stderr), file=sys.stderr)
    else:
        print(f"mgpu: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
    return error.exit_code


def crashed(error: Exception, argv: Sequence[str]) -> int:
    """A bug in mgpu: write what happened to a file, name it, and return 3."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="mgpu-crash-", suffix=".log", delete=False) as log:
        log.write(f"verb: {argv[0] if argv else ''}\npython: {sys.version}\n\n")
        log.write("".join(traceback.format_exception(error)))
    print(f"mgpu: this is a bug in mgpu: {type(error).__name__}\n  hint: report it with {log.name}", file=sys.stderr)
    return 3


def spec_error(error: SpecError, stream: TextIO) -> str:
    """Every problem of a document as ``file:line:column: message``, its source line, a caret, and the hint."""
    bold, plain = ("\033[1m", "\033[0m") if colour(stream) else ("", "")
    lines = error.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(_problem(error.name, lines, problem, bold, plain) for problem in error.problems)


def warn(document: Document, warnings: Iterable[Problem]) -> None:
    """Print the warnings about a document on stderr, in the form of errors."""
    if problems := [problem._replace(message=f"warning: {problem.message}") for problem in warnings]:
        print(spec_error(document.error(*problems), sys.stderr), file=sys.stderr)


def _problem(name: str, lines: list[str], problem: Problem, bold: str, plain: str) -> str:
    mark = problem.mark or Mark(1, 1)
    source = lines[mark.line - 1] if mark.line <= len(lines) else ""
    start = max(0, mark.column - WIDTH // 2) if len(source) > WIDTH else 0
    part = _visible(masked(source)[start : start + WIDTH])
    gutter = f"{mark.line:>5} | "
    text = [
        f"{bold}{_visible(name)}:{mark.line}:{mark.column}: {_visible(masked(problem.message))}{plain}",
        gutter + part,
    ]
    text.append(" " * (len(gutter) - 2) + "| " + " " * (mark.column - 1 - start) + "^")
    return "\n".join(text + ([f"{'':>5} = {_visible(problem.hint)}"] if problem.hint else []))


def _visible(text: str) -> str:
    """`text` with control characters and lone surrogates written out, so that no document can move the cursor."""
    clean = "".join(char if char.isprintable() or char == " " else "\N{REPLACEMENT CHARACTER}" for char in text)
    return clean.encode("utf-8", "replace").decode()


def colour(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def problem_data(error: SpecError) -> list[dict[str, Any]]:
    """The problems of a document as JSON-ready data."""
    return [
        {
            "file": error.name,
            "line": (problem.mark or Mark(1, 1)).line,
            "column": (problem.mark or Mark(1, 1)).column,
            "path": ".".join(str(part) for part in problem.path),
            "message": masked(problem.message),
            "hint": problem.hint,
        }
        for problem in error.problems
    ]


def github(error: SpecError, level: str = "error") -> str:
    """The problems as GitHub's workflow commands, one a line; `level` is error or warning."""
    rows = problem_data(error)
    return "\n".join(
        f"::{level} file={_property(row['file'])},line={row['line']},col={row['column']},title=mgpu::"
        + _escaped(row["message"] + (f" ({row['hint']})" if row["hint"] else ""))
        for row in rows
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
