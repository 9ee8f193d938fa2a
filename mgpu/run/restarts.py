"""A restart policy, the ends before and the last one in; out whether the task is started anew, and when, or why not.

Pure: it asks no clock, and starts nothing. Standard library only: the keeper imports this.
"""

from __future__ import annotations

from typing import NamedTuple

FIRST, FACTOR, LONGEST = 1.0, 2.0, 60.0
"""Seconds before the first restart of a row, how much longer before each next one, and the longest of all."""
HEALTHY = 600.0
"""Seconds as ready after which a row of restarts is over (as the kubelet's back-off is, which resets after ten minutes:
Kubernetes, Pod Lifecycle, "How Pods handle problems with containers")."""
SHORT = 60.0
"""Two lives as ready that were shorter, in seconds, and ended of one cause: a third would end of it as well."""


class Policy(NamedTuple):
    """`policy` is no, on-failure or always; at most `max` restarts within any `within` seconds, or in a row where that
    is None."""

    policy: str = "no"
    max: int = 3
    within: float | None = None


class End(NamedTuple):
    """How one life of a task ended: at which second, after how many as ready, with which code and whether that is a
    failure. `helpless` says in words why no restart can help; `cause` is the id of a known cause and `words` what it
    is, `lasting` where the next life would end of it too."""

    at: float
    life: float
    code: int
    failed: bool = True
    helpless: str = ""
    cause: str = ""
    words: str = ""
    lasting: bool = False


class Again(NamedTuple):
    """It is started anew after so many seconds, for the `nth` time of `most`."""

    after: float
    nth: int
    most: int


class Over(NamedTuple):
    """It is not started anew though its policy is to, and why."""

    why: str


def judged(policy: Policy, before: tuple[End, ...], end: End) -> Again | Over | None:
    """What follows from `end`, after those `before` that were each followed by a restart; None where the policy has
    nothing to say of such an end."""
    if policy.policy == "no" or (policy.policy == "on-failure" and not end.failed):
        return None
    why = _hopeless(before, end)
    if why:
        return Over(why)
    done = _counted(policy, before, end)
    if done >= policy.max:
        return Over(f"it was restarted {_times(done)}{_span(policy)}, and {policy.max} is the most")
    return Again(delay(_row(before, end)), done + 1, policy.max)


def delay(row: int) -> float:
    """Seconds before a restart that `row` others in a row went before."""
    return min(LONGEST, FIRST * FACTOR ** min(row, 64))


def _hopeless(before: tuple[End, ...], end: End) -> str:
    """Why another life would end as this one did."""
    if not end.failed:
        return ""
    if end.helpless:
        return end.helpless
    if end.lasting:
        return f"{end.words}: that would be so again"
    last = before[-1] if before else None
    if end.cause and last and last.cause == end.cause and max(last.life, end.life) < SHORT:
        return f"{end.words}, twice in a row"
    return ""


def _counted(policy: Policy, before: tuple[End, ...], end: End) -> int:
    """The restarts that count towards the most."""
    if policy.within is None:
        return _row(before, end)
    return sum(end.at - other.at < policy.within for other in before)


def _row(before: tuple[End, ...], end: End) -> int:
    """How many restarts there were since it was last well for long."""
    lives = [end.life, *(other.life for other in reversed(before))]
    return next((row for row, life in enumerate(lives) if life >= HEALTHY), len(before))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _span(policy: Policy) -> str:
    return f" within {policy.within:g} s" if policy.within else ""
