"""A template and its values in, argument words out, line by line. No shell sees the text in between.

Every value is quoted as it enters the text, and the text is split back into words, so a value is always exactly one
word (a list exactly as many as it has items), whatever characters it holds.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgpu.command.options import Options
from mgpu.errors import HostError
from mgpu.resources import folder

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

NEWLINE = "\0;"
"""Stands for a line break inside a value, so that the text's own lines can be told from it; no value holds a NUL
but the marks of the home and the folder, which go on otherwise."""


def words(template: str, values: Mapping[str, Any], templates: Path | None = None) -> list[list[str]]:
    """The words of each line that the template ``<template>.sh.j2`` makes of `values`.

    Raises HostError where a folder of one's own lacks the template or its template is wrong.
    """
    source, name = templates or folder("templates"), f"{template}.sh.j2"
    if not (source / name).is_file():
        raise HostError(f"there is no template {name} in {source}", "write it, or leave out --templates")
    try:
        text = environment(source).get_template(name).render(values)
        lines = [line for line in (shlex.split(line, comments=True) for line in text.split("\n")) if line]
        if not lines:
            raise ValueError("it makes no words")
    except _wrong() as error:
        raise HostError(
            f"the template {name} in {source} fails: {error}", "mend it, or leave out --templates"
        ) from error
    return [[word.replace(NEWLINE, "\n") for word in line] for line in lines]


def _wrong() -> tuple[type[Exception], ...]:
    """What a wrong template can raise."""
    from jinja2 import TemplateError

    return TemplateError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, OSError


@lru_cache(maxsize=8)
def environment(source: Path) -> ImmutableSandboxedEnvironment:
    """The one environment that templates are rendered in."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(source), undefined=StrictUndefined, finalize=quoted, trim_blocks=True, auto_reload=False
    )


def quoted(value: Any) -> str:
    """A value as quoted words for the text. Raises ValueError for what has no word: None and truth values."""
    if isinstance(value, Options):
        return "\n".join(" ".join(_word(word) for word in option) for option in value)
    if isinstance(value, (list, tuple)):
        return " ".join(_word(word) for word in value)
    if value is None or isinstance(value, bool):
        raise ValueError(f"it prints {value!r}, which is not a word: guard it with {{% if %}}")
    return _word(str(value))


def _word(text: str) -> str:
    return shlex.quote(text).replace("\n", NEWLINE)
