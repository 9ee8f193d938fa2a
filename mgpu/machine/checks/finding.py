"""What a check has found: a verdict, the evidence in words, and the commands that mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from mgpu.machine.checks.host import Host

Verdict = Literal["ok", "skipped", "warning", "broken"]
WORST: tuple[Verdict, ...] = ("broken", "warning", "ok", "skipped")
"""Broken: some job fails, or is refused. Warning: a job may be slow, or fail later. Skipped: nothing to look at."""


class Finding(NamedTuple):
    """One answer; `mend` are commands or sentences in the order of carrying them out, which mgpu never does itself."""

    verdict: Verdict
    evidence: str
    mend: tuple[str, ...] = ()


class Check(NamedTuple):
    """A question to a host: the `group` that it belongs to, its `name`, and how many seconds an answer may take."""

    group: str
    name: str
    look: Callable[[Host], Finding]
    within: float = 5.0

    @property
    def title(self) -> str:
        """What a person calls it by: ``gpus.xid``."""
        return f"{self.group}.{self.name}"


def ok(evidence: str) -> Finding:
    """All is well, and why that is known."""
    return Finding("ok", evidence)


def skipped(why: str) -> Finding:
    """There is nothing to look at here."""
    return Finding("skipped", why)


def warning(evidence: str, *mend: str) -> Finding:
    """Jobs run, and may be slow or fail later."""
    return Finding("warning", evidence, mend)


def broken(evidence: str, *mend: str) -> Finding:
    """Jobs fail, or are refused."""
    return Finding("broken", evidence, mend)


def worst(found: Iterable[Finding], otherwise: Finding) -> Finding:
    """One finding of several: the gravest verdict, the evidence of all that have it, and what mends them."""
    rows = list(found)
    verdict = next((each for each in WORST if any(row.verdict == each for row in rows)), None)
    alike = [row for row in rows if row.verdict == verdict]
    if verdict is None:
        return otherwise
    mend = dict.fromkeys(line for row in rows if row.verdict in ("broken", "warning") for line in row.mend)
    return Finding(verdict, "; ".join(dict.fromkeys(row.evidence for row in alike)), tuple(mend))


def gpus(indices: Iterable[int]) -> str:
    """GPUs in words: ``GPU 3``, ``GPUs 0-2,5``."""
    rows = sorted(set(indices))
    starts = [index for index in rows if index - 1 not in rows]
    ends = [index for index in rows if index + 1 not in rows]
    words = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
    return f"GPU{'s' * (len(rows) > 1)} {words}"
