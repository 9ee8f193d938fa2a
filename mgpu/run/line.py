"""A spec and the machine in, its run's place in the machine's queue out: what it may take, and why it waits."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING

from mgpu.errors import NoRoom
from mgpu.machine import watch
from mgpu.machine.leases import Share
from mgpu.machine.tickets import Queue, Ticket, join
from mgpu.plan import hopes, turn
from mgpu.plan.shares import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from mgpu.values.machine import Machine
    from mgpu.values.queue import Waiter, Want
    from mgpu.values.spec import Spec

TICK = 0.04
"""Seconds between looks of whoever is next; who is so many places behind looks so many times more rarely."""
RAREST = 2.0
NEAR, OFTEN = 4, 8
"""Who is so many places behind at most looks each time whether those before it live, all others one time in so many:
the tickets of the dead are cleared away by who is near."""
LOOK = 2.0
"""Seconds after which one that is next looks at the whole machine again, though no lock has come free: a stranger may
have ended, a container that nobody keeps, a server on a port."""
MOST_HOLDERS = 3
"""Holders that a reason names."""


class Overtaking(NoRoom):
    """What was chosen is free, and somebody has waited for it."""


class Line:
    """One run's view of the queue. It stands in it once it has joined; else it comes after all of its priority."""

    def __init__(self, spec: Spec, run: str, priority: int = 0) -> None:
        self.spec, self.run, self.priority = spec, run, priority
        self.lasts = hopes.holds(spec)
        self.queue = Queue()
        self.ticket: Ticket | None = None
        self.machine: Machine | None = None
        self.wants: tuple[Want, ...] = ()
        self.free: Mapping[str, int] = {}
        self.may: frozenset[str] = frozenset()
        self.strange: frozenset[str] = frozenset()

    def glance(self) -> None:
        """Remember which locks are free before the machine is looked at: what comes free meanwhile is seen after it."""
        self.free = self.frees(self.uses)

    def look(self, machine: Machine, wait: bool) -> Machine:
        """The machine as it is left to this run by those before it; with `wait` it joins them."""
        self.machine, self.wants = machine, hopes.wants_of(self.spec, machine)
        if wait and not self.ticket:
            lasts = self.lasts if hopes.plain(self.spec) else None
            self.ticket = join(self.run, self.spec.name, self.priority, self.wants, lasts)
        if self.lasts is not None:
            self.strange = hopes.busy(machine) - watch.noted(gpu.id for gpu in machine.gpus).keys()
        spoken = self.spoken_for()
        self.may = self.uses - spoken.keys()
        return hopes.left_by(machine, spoken)

    @property
    def uses(self) -> frozenset[str]:
        """Every resource that it may ever get."""
        return frozenset().union(*(want.of for want in self.wants))

    def frees(self, resources: Iterable[str]) -> dict[str, int]:
        """Those that locks do not keep it from taking; of a GPU that is shared, where there is room for a share. As
        `watch.free`."""
        least, gpus = hopes.least_share(self.spec), self.machine.gpus if self.machine else ()
        shares = {gpu.id: Share(least // MIB, gpu.memory // MIB) for gpu in gpus if least}
        return watch.free(resources, shares)

    @property
    def until(self) -> float | None:
        """When it will have let go of what it takes now, in seconds since the boot."""
        return None if self.lasts is None else _now() + self.lasts

    def ahead(self, closely: bool = True) -> list[Waiter]:
        """Those who go first; `closely` as in `Queue.waiters`."""
        place = self.ticket.waiter.place if self.ticket else (-self.priority, 2**63, "")
        return turn.ahead(self.queue.waiters(closely=closely), place)

    def spoken_for(self, mine: Collection[str] = ()) -> dict[str, Waiter]:
        """What it may not take now; it has the locks of `mine` already."""
        return self._spoken_for(self.ahead(), mine)

    def _spoken_for(self, earlier: list[Waiter], mine: Collection[str] = ()) -> dict[str, Waiter]:
        if not earlier:
            return {}
        return turn.spoken_for(earlier, {} if self.lasts is None else self.ends(mine), _now(), self.lasts)

    def ends(self, mine: Collection[str]) -> dict[str, float | None]:
        """When what is held comes free. What has been held too long already may be held for ever."""
        gpus = self.machine.gpus if self.machine else ()
        found: dict[str, float | None] = dict.fromkeys(self.strange)
        for name, notes in watch.noted({gpu.id for gpu in gpus} | self.uses).items():
            others = [note for note in notes if note.run != self.run]
            times = [note.until for note in others if note.until is not None and note.until > _now()]
            found[name] = max(times) if times and len(times) == len(others) else None
            if name in mine and not others:
                del found[name]
        return found

    def check(self, taken: Iterable[str]) -> None:
        """Raise Overtaking where something that it has just locked is spoken for: so nobody who joined before is passed
        by, and who joins later comes later."""
        names = set(taken)
        spoken = self.spoken_for(names)
        if name := next((name for name in sorted(names) if name in spoken), None):
            hint = "wait for your turn with --wait, or go first with a higher --priority; mgpu ps shows who waits"
            raise Overtaking(f"{self.called(name)} is free, and {spoken[name].awaits}", hint)

    def called(self, resource: str) -> str:
        """A resource in words."""
        gpus = self.machine.gpus if self.machine else ()
        indices = {gpu.id: gpu.index for gpu in gpus}
        return f"GPU {indices[resource]}" if resource in indices else resource.replace("-", " ", 1)

    def until_turn(self, tell: Callable[[str], None], refusal: str) -> None:
        """Wait until it may be next and enough has come free, or until it is time to look at the machine again; `tell`
        is told why it waits: for whom, or where no run is in the way, the `refusal` of the last look.

        Looking at locks costs next to nothing, at the machine much: only who is next does it.
        """
        from random import uniform

        deadline = time.monotonic() + LOOK * uniform(0.5, 1)
        behind = 0
        for at in count():
            time.sleep(min(RAREST, TICK * (1 + behind)) * uniform(0.75, 1.25))
            earlier = self.ahead(behind <= NEAR or at % OFTEN == 0)
            before = [waiter for waiter in earlier if waiter.uses & self.uses]
            behind = len(before)
            may = self.uses - self._spoken_for(earlier).keys() if before else self.uses
            if not _could(self.wants, may):
                tell(f"behind {before[-1]}")
                continue
            free = self.frees(may)
            if not _could(self.wants, free):
                tell(self.held(may - free.keys()))
            elif may - self.may or free.items() - self.free.items() or time.monotonic() > deadline:
                return
            else:
                tell(refusal)

    def held(self, resources: Iterable[str]) -> str:
        """What is waited for, and who has it."""
        names = {name: sorted({str(n) for n in notes}) for name, notes in watch.noted(resources).items()}
        by: dict[str, list[str]] = {}
        for name in sorted(names, key=self.called):
            by.setdefault(" and ".join(names[name]) or "a run that left no name", []).append(self.called(name))
        words = [f"{_joined(what)}, held by {who}" for who, what in by.items()]
        more = f" and {len(words) - MOST_HOLDERS} others" if len(words) > MOST_HOLDERS else ""
        return "for " + "; ".join(words[:MOST_HOLDERS]) + more if words else "for what is just being let go of"

    def record(self, taken: float) -> dict[str, float]:
        """What a run keeps of its turn: its place, and when it took what it got, in seconds since the boot."""
        place = {"number": self.ticket.waiter.number} if self.ticket else {}
        return {"priority": self.priority, **place, "taken": taken}

    def leave(self) -> None:
        """Give up the place in the queue, for it has started or never will."""
        if self.ticket:
            self.ticket.leave()


def _joined(names: list[str]) -> str:
    """GPUs by their numbers, after one word."""
    numbers = [name.removeprefix("GPU ") for name in names if name.startswith("GPU ")]
    others = [name for name in names if not name.startswith("GPU ")]
    return ", ".join([f"GPU{'s' if len(numbers) > 1 else ''} {','.join(numbers)}", *others] if numbers else others)


def _could(wants: Iterable[Want], free: Iterable[str]) -> bool:
    """Whether each want by itself could be met: tasks that run one after the other share what they get."""
    names = frozenset(free)
    return all(want.amount <= len(want.of & names) for want in wants)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
