"""What a job wrote and its exit status in, the known causes of its failure out, the likeliest first.

Standard library only: the keeper imports this too, once a job has failed.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from mgpu.catalog.signatures import RANKS, Signature, signatures
from mgpu.values.cause import Cause

BEGINNING, END = 64 * 1024, 256 * 1024
"""How much of a long log is read, in bytes: the first error is seldom in between."""
LINE = 300
"""Characters of a line that are shown as evidence."""
VAGUE = RANKS["wrapper"]
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
OPEN = frozenset(("custom", "task"))
"""Engines that may start any other."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]{0,16}[ -/]?[@-~]|[^\x20-\x7e\t\n\xa0-\U0010ffff]")
_ENDS_A_TRACEBACK = re.compile(
    r"^(?:\[rank\d{1,5}\]: )?(?:[A-Za-z_]\w{0,80}\.){0,8}[A-Z]\w{0,60}(?:Error|Exception): ?[^\n]{0,400}", re.M
)
_TELLS_NOTHING = re.compile(r"ChildFailedError|DistBackendError|gloo/transport|CalledProcessError")


class _Seen(NamedTuple):
    """A signature that a text shows, and where. What is smaller is likelier the cause: what stands for itself, what is
    first in the text, what is of the engine."""

    rank: int
    line: int
    general: bool
    order: int
    signature: Signature
    match: re.Match[str]


def read(path: str, beginning: int = BEGINNING, end: int = END) -> str:
    """The text of a log: of a long one its beginning and its end; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= beginning + end:
                return file.read(beginning + end).decode(errors="replace")
            head = file.read(beginning)
            file.seek(size - end)
            return (head + b"\n" + file.read(end)).decode(errors="replace")
    except OSError:
        return ""


def first(text: str, code: int | None, engine: str | None = None) -> Cause | None:
    """The likeliest cause; None where nothing that is known shows. As `every`."""
    return next(iter(every(text, code, engine)), None)


def every(text: str, code: int | None, engine: str | None = None) -> tuple[Cause, ...]:
    """Every known failure that `text`, the log of one attempt, shows: what stands for itself before what follows from
    others, and the first in the log before the later. `code` is the exit code (128 + n for a signal, None: not known),
    `engine` the spec's word for what ran."""
    clean = plain(text)
    known = None if engine in OPEN else engine
    seen = [
        _Seen(signature.rank, _line(clean, match), not signature.engines, order, signature, match)
        for order, signature in enumerate(signatures())
        if _concerns(signature, code, known) and (match := _match(signature, clean))
    ]
    idle = {name for one in seen for name in one.signature.over}
    seen.sort(key=lambda one: one[:4])
    return tuple(_cause(clean, one) for one in seen if one.signature.id not in idle)


def exception(text: str) -> str | None:
    """The first error of Python's own kind that ends a traceback in `text` and says something; None without one."""
    found = (match.group() for match in _ENDS_A_TRACEBACK.finditer(plain(text)))
    return next((line[:LINE].strip() for line in found if not _TELLS_NOTHING.search(line)), None)


def plain(text: str) -> str:
    """`text` without colours and other control characters; what a progress bar overwrote, each on a line of its own."""
    return _CONTROL.sub("", text.replace("\r", "\n"))


def _concerns(signature: Signature, code: int | None, engine: str | None) -> bool:
    """Whether a failure with this code, of this engine (None: not known), may be this one."""
    by_code = not signature.codes or code is None or code in signature.codes
    return by_code and (not signature.engines or engine in signature.engines)


def _match(signature: Signature, text: str) -> re.Match[str] | None:
    """Where it shows first, if it does."""
    matches = [match for pattern in signature.patterns if (match := pattern.search(text))]
    if not matches or any(pattern.search(text) for pattern in signature.unless):
        return None
    match = min(matches, key=lambda one: one.start())
    near = signature.near
    around = text[max(0, match.start() - near) : match.end() + near] if near else text
    return match if all(pattern.search(around) for pattern in signature.also) else None


def _line(text: str, match: re.Match[str]) -> int:
    """Where the line of the match begins."""
    return text.rfind("\n", 0, match.start()) + 1


def _cause(text: str, seen: _Seen) -> Cause:
    signature, match = seen.signature, seen.match
    words = {name: (value or "").strip() for name, value in match.groupdict().items()}
    shown = [match, *(found for pattern in signature.also if (found := pattern.search(text)))]
    return Cause(
        id=signature.id,
        short=signature.short,
        cause=" ".join(signature.cause.format_map(words).split()),
        hint=" ".join(signature.hint.format_map(words).split()),
        lasting=signature.lasting,
        evidence=tuple(dict.fromkeys(_shown(text, one) for one in shown)),
        source=signature.source,
        memory=signature.memory,
        vague=signature.rank == VAGUE,
        asked=_bytes(words.get("asked", "")),
    )


def _bytes(text: str) -> int | None:
    """A size as PyTorch and llama.cpp write it, in bytes; None for what is none."""
    number, _, unit = text.partition(" ")
    try:
        return int(float(number) * UNITS[unit])
    except (KeyError, ValueError):
        return None


def _shown(text: str, match: re.Match[str]) -> str:
    """The line of a match; of a long one the piece around it."""
    start = max(_line(text, match), match.start() - LINE // 2)
    end = text.find("\n", match.start())
    return text[start : min(len(text) if end < 0 else end, start + LINE)].strip()
