"""Who waits, and when what is held comes free, in; what somebody who comes later may not take out, and whose that is.

Higher priority goes first, then who came first. A later one takes nothing that an earlier one could use, unless both
tell how long they will hold it: then it takes what it gives back before the earlier one's turn. That is backfilling
with a reservation for everybody who waits (the conservative kind of Mu'alem and Feitelson, IEEE Transactions on
Parallel and Distributed Systems 12 (6), 2001, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mgpu.plan.matching import matched
from mgpu.values.queue import Waiter, Want

Ends = Mapping[str, "float | None"]
"""By resource: when whoever holds it will have let go of it, at the latest; None where nobody knows."""


class Slot(NamedTuple):
    """A resource is kept for a waiter from `start` to `end`, in seconds of one clock."""

    start: float
    end: float


def ahead(waiters: Iterable[Waiter], place: tuple[int, int, str]) -> list[Waiter]:
    """Those whose turn comes before `place`, in their order."""
    return [waiter for waiter in ordered(waiters) if waiter.place < place]


def ordered(waiters: Iterable[Waiter]) -> list[Waiter]:
    """Those who wait, in the order of their turns."""
    return sorted(waiters, key=lambda waiter: waiter.place)


def spoken_for(earlier: Sequence[Waiter], ends: Ends, now: float, lasts: float | None) -> dict[str, Waiter]:
    """The resources that somebody who comes after all of `earlier` may not take now, each with the first who wants it.

    `earlier` in their order, `ends` for everything that is held; `lasts` are the most seconds that the later one would
    hold what it takes, None where nobody knows. Whoever takes none of these lets everybody start when they would have.
    """
    found: dict[str, Waiter] = {}
    kept: dict[str, list[Slot]] = {}
    for waiter in earlier:
        slots = None if lasts is None else turn(waiter, ends, now, kept)
        if slots is None:
            slots = dict.fromkeys(waiter.uses, Slot(now, float("inf")))
        for resource, slot in slots.items():
            kept.setdefault(resource, []).append(slot)
            if lasts is None or slot.start < now + lasts:
                found.setdefault(resource, waiter)
    return found


def turn(waiter: Waiter, ends: Ends, now: float, kept: Mapping[str, Sequence[Slot]]) -> dict[str, Slot] | None:
    """What the waiter gets and when: the earliest time at which all that it wants is free for as long as it lasts, and
    then the first of it by name. None where that is not known."""
    if waiter.lasts is None:
        return None
    times = {now, *(end for end in ends.values() if end is not None)}
    times |= {slot.end for slots in kept.values() for slot in slots}
    for start in sorted(time for time in times if now <= time < float("inf")):
        slot = Slot(start, start + waiter.lasts)
        free = [name for name in sorted(waiter.uses) if _free(name, slot, ends, kept.get(name, ()))]
        if enough(waiter.wants, free):
            return dict.fromkeys(_first(waiter.wants, free), slot)
    return None


def _free(name: str, slot: Slot, ends: Ends, kept: Sequence[Slot]) -> bool:
    """Whether nobody has the resource during the slot."""
    end = ends.get(name, slot.start)
    return end is not None and end <= slot.start and all(k.end <= slot.start or slot.end <= k.start for k in kept)


def _first(wants: Sequence[Want], free: Sequence[str]) -> list[str]:
    """Of `free` just as many as are wanted, the first that will do."""
    left = list(free)
    for name in reversed(free):
        without = [other for other in left if other != name]
        left = without if enough(wants, without) else left
    return left


def enough(wants: Sequence[Want], free: Iterable[str]) -> bool:
    """Whether all wants can be met at once out of what is free."""
    bits = {name: 1 << at for at, name in enumerate(free)}
    return matched([(want.amount, sum(bits.get(name, 0) for name in want.of)) for want in wants])
