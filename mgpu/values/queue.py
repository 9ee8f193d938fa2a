"""Who waits on a machine, and for what. A resource is the id of a GPU, or ``port-<number>``."""

from __future__ import annotations

import time
from typing import NamedTuple


class Want(NamedTuple):
    """So many resources of these, at once with all else that the same waiter wants."""

    amount: int
    of: frozenset[str]


class Waiter(NamedTuple):
    """A run that waits: `since` in seconds of the epoch; `number` is its turn among those of the same `priority`, of
    which the higher goes first; `lasts` is the most seconds that it will hold what it gets, where that is known and
    `wants` is all that it asks for; `why` it waits, in its runner's words."""

    run: str
    name: str
    user: str
    since: float
    priority: int
    number: int
    wants: tuple[Want, ...] = ()
    lasts: float | None = None
    why: str = ""
    uid: int | None = None

    @property
    def place(self) -> tuple[int, int, str]:
        """What waiters are sorted by."""
        return -self.priority, self.number, self.run

    @property
    def uses(self) -> frozenset[str]:
        """Every resource that it might get."""
        return frozenset().union(*(want.of for want in self.wants))

    def __str__(self) -> str:
        return f"run {self.name} of {self.user}"

    @property
    def awaits(self) -> str:
        """What it says to somebody who comes later."""
        since = time.strftime("%H:%M on %d %b", time.localtime(self.since))
        more = f" with priority {self.priority}" if self.priority else ""
        return f"{self} has waited for it{more} since {since}"
