"""Names of checks in, what they find of this host out: every check is asked apart from the others, with a deadline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from mgpu.errors import UsageError
from mgpu.machine import checks
from mgpu.machine.checks.apart import Failed, Late, answers
from mgpu.machine.checks.finding import Check, Finding, broken
from mgpu.machine.checks.host import Host
from mgpu.run import leftovers

CHECKS: tuple[Check, ...] = (*checks.CHECKS, *leftovers.CHECKS)


class Row(NamedTuple):
    """A check with what it has found."""

    check: Check
    finding: Finding


def chosen(words: Iterable[str]) -> tuple[Check, ...]:
    """The checks of these groups and names (``gpus``, ``gpus.xid``, ``xid``); all where there is no word. Raises
    UsageError for a word that is none."""
    from mgpu.spec.nearest import did_you_mean

    wanted = set(words)
    known = {word for check in CHECKS for word in _names(check)}
    for word in sorted(wanted - known):
        groups = ", ".join(dict.fromkeys(check.group for check in CHECKS))
        raise UsageError(f"there is no check {word!r}", did_you_mean(word, known) or f"the groups are {groups}")
    return tuple(check for check in CHECKS if not wanted or wanted.intersection(_names(check)))


def _names(check: Check) -> tuple[str, str, str]:
    return check.group, check.title, check.name


def examine(which: Sequence[Check], host: Host) -> list[Row]:
    """What each check finds of the host, in the order of the checks. Never hangs, whatever hangs on the host."""
    said = answers([(partial(check.look, host), check.within) for check in which])
    return [Row(check, _finding(check, answer)) for check, answer in zip(which, said, strict=True)]


def _finding(check: Check, answer: object) -> Finding:
    if isinstance(answer, Late):
        return broken(f"no answer within {answer.seconds:g} s: something hangs", "sudo dmesg | tail -50")
    if isinstance(answer, Failed):
        return broken(f"the check itself failed: {answer.why}", f"report it: mgpu doctor {check.title} --json")
    assert isinstance(answer, Finding)
    return answer
