"""What a job wrote and its exit status in, the known causes of its failure out, the likeliest first.

Standard library only: the keeper imports this too, once a job has failed.
"""

from __future__ import annotations

import os
import re

from mgpu.catalog.signatures import Signature, signatures
from mgpu.values.cause import Cause

BEGINNING, END = 64 * 1024, 256 * 1024
"""How much of a long log is read, in bytes: the first error is seldom in between."""
LINE = 300
"""Characters of a line that are shown as evidence."""
OPEN = frozenset(("custom", "task"))
"""Engines that may start any other."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]{0,16}[ -/]?[@-~]|[^\x20-\x7e\t\n\xa0-\U0010ffff]")


def read(path: str) -> str:
    """The text of a log: of a long one its beginning and its end; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= BEGINNING + END:
                return file.read(BEGINNING + END).decode(errors="replace")
            head = file.read(BEGINNING)
            file.seek(size - END)
            return (head + b"\n" + file.read(END)).decode(errors="replace")
    except OSError:
        return ""


def first(text: str, code: int | None, engine: str | None = None) -> Cause | None:
    """The likeliest cause; None where nothing that is known shows. As `every`."""
    return next(iter(every(text, code, engine)), None)


def every(text: str, code: int | None, engine: str | None = None) -> tuple[Cause, ...]:
    """Every known failure that `text`, the log of one attempt, shows: what stands for itself before what follows from
    others, and the first in the log before the later. `code` is the exit code (128 + n for a signal, None: not known),
    `engine` the spec's word for what ran."""
    clean = _CONTROL.sub("", text.replace("\r", "\n"))
    known = None if engine in OPEN else engine
    found = []
    for at, signature in enumerate(signatures()):
        if signature.codes and code is not None and code not in signature.codes:
            continue
        if signature.engines and known is not None and known not in signature.engines:
            continue
        match = _match(signature, clean)
        if match:
            of_engine = not (signature.engines and known)
            found.append((signature.rank, _line(clean, match), of_engine, at, signature, match))
    found.sort(key=lambda one: one[:4])
    return tuple(_cause(clean, signature, match) for *_, signature, match in found)


def _match(signature: Signature, text: str) -> re.Match[str] | None:
    """Where it shows first, if it does."""
    matches = [match for pattern in signature.patterns if (match := pattern.search(text))]
    if not matches:
        return None
    match = min(matches, key=lambda one: one.start())
    around = text
    if signature.near:
        around = text[max(0, match.start() - signature.near) : match.end() + signature.near]
    if all(pattern.search(around) for pattern in signature.also):
        return match if not any(pattern.search(text) for pattern in signature.unless) else None
    return None


def _line(text: str, match: re.Match[str]) -> int:
    """Where the line of the match begins."""
    return text.rfind("\n", 0, match.start()) + 1


def _cause(text: str, signature: Signature, match: re.Match[str]) -> Cause:
    words = {name: (value or "").strip() for name, value in match.groupdict().items()}
    shown = [match, *(found for pattern in signature.also if (found := pattern.search(text)))]
    return Cause(
        id=signature.id,
        short=signature.short,
        cause=signature.cause.format_map(words),
        hint=signature.hint.format_map(words),
        lasting=signature.lasting,
        evidence=tuple(dict.fromkeys(_shown(text, one) for one in shown)),
        source=signature.source,
        memory=signature.memory,
    )


def _shown(text: str, match: re.Match[str]) -> str:
    """The line of a match; of a long one the piece around it."""
    start = max(_line(text, match), match.start() - LINE // 2)
    end = text.find("\n", match.start())
    return text[start : min(len(text) if end < 0 else end, start + LINE)].strip()
