"""The YAML parser's complaint in, the same in words for people out, with its place and the change that mends it."""

from __future__ import annotations

import re
from typing import Any, Union

from mgpu.values.mark import Mark

PLAINER = (
    ("cannot start any token", "a value cannot start with this character", "put quotes around the value"),
    ("expected alphabetic or numeric", "& and * name other values here", "put quotes around the value"),
    ("expected a comment or a line break", "| and > begin a text on the lines below", "put quotes around the value"),
    ("expected chomping", "| and > begin a text on the lines below", "put quotes around the value"),
    ("mapping keys are not allowed", "a question mark makes a key here", "put quotes around the value"),
    ("sequence entries are not allowed", "a list cannot start on this line", "start it on a line of its own"),
    ("expected the node content", "a value is missing here", "give one, or remove what stands before it"),
    ("expected ',' or", "a comma is missing here, or the bracket is closed too early", "write [a, b] or {a: x, b: y}"),
    ("unknown escape character", "this is no escape of double quotes", "use single quotes, where \\ is a letter"),
    ("expected escape sequence", "this escape is not complete", "use single quotes, where \\ is a letter"),
)
"""Words of the parser's, what a person would say, and what to do."""


Words = tuple[str, Mark, Union[str, None]]


def plainly(error: Any, text: str) -> Words:
    """What a MarkedYAMLError of ruamel's means: (message, mark, hint)."""
    problem, context = str(error.problem or error.context or "this is not YAML"), str(error.context or "")
    mark = _mark(error.problem_mark) or _mark(error.context_mark) or Mark(1, 1)
    lines = text.split("\n")
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    if "\\t" in problem or "\t" in line[: mark.column]:
        return "a tab stands here; YAML is indented with spaces", mark, "replace the tab with spaces"
    found = _unfinished(problem, context, _mark(error.context_mark) or mark) or _misplaced(problem, line, mark)
    plain = ((message, mark, hint) for words, message, hint in PLAINER if words in problem)
    return found or next(plain, (problem, mark, None))


def _unfinished(problem: str, context: str, start: Mark) -> Words | None:
    """What the end of the text came too soon for."""
    if "unexpected end of stream" in problem and "quoted" in context:
        return "this quote is never closed", start, "close it on the same line"
    if "<stream end>" in problem and "flow" in context:
        return "this bracket is never closed", start, "close it, or write one item a line"
    if "could not find expected ':'" in problem:
        return "a colon is missing after this key", start, "write key: value"
    return None


def _misplaced(problem: str, line: str, mark: Mark) -> Words | None:
    """What stands in the wrong column, or where nothing may stand any more."""
    if "mapping values are not allowed" in problem:
        if re.match(r"\s+[\w.-]+:(\s|$)", line):
            return "this line is indented more than the one it follows", mark, "line it up with the keys above"
        return "a colon makes a second key on this line", mark, "put quotes around the value, or start a new line"
    if "expected <block end>" not in problem and "expected '<document start>'" not in problem:
        return None
    if line[: mark.column - 1].strip():
        return "the value before this is at its end", mark, "put quotes around the whole value"
    return "this line is indented differently from the ones it belongs to", mark, "line its first letter up with them"


def _mark(mark: Any) -> Mark | None:
    return Mark(mark.line + 1, mark.column + 1) if mark else None
