"""Sets of GPUs for several jobs at once: each as well joined as can be, none given twice at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

from mgpu.plan.links import UNKNOWN, Links
from mgpu.plan.matching import matched
from mgpu.values.machine import Gpu

Chosen = tuple[Gpu, ...]
Scored = list[tuple[int, tuple[int, ...], Chosen]]
MANY = 2_000
"""More sets than this in one group are not tried one by one: then only runs of neighbours by bus id are."""
GROUPS = 16
"""Groups whose sets are compared with each other; further ones come after them, in order."""
EFFORT = 1_000_000
"""How much the search does, after it first had to turn back, before it gives up: about a microsecond each."""


@dataclass(frozen=True)
class Wish:
    """What one task wants: `count` of the `allowed` GPUs (by bus id), joined at least by `rank`; `apart` are the
    tasks that run at the same time."""

    task: str
    count: int
    allowed: Chosen
    rank: int = UNKNOWN
    apart: frozenset[str] = frozenset()


def choose(wishes: list[Wish], links: Links) -> dict[str, Chosen] | None:
    """A set for every wish, or None where there is no way. The wishes with the least choice come first."""
    wanting = [wish for wish in wishes if wish.count]
    found = _Search(sorted(wanting, key=lambda wish: (len(wish.allowed) - wish.count, -wish.count)), links).found()
    return None if found is None else {wish.task: found.get(wish.task, ()) for wish in wishes}


class _Search:
    """Wish by wish, back where there is no way on. GPUs are bits of an int, so that hundreds of wishes cost little."""

    def __init__(self, wishes: list[Wish], links: Links) -> None:
        self.wishes, self.links = wishes, links
        self.effort, self.turned = EFFORT, False
        known = {gpu.index: None for wish in wishes for gpu in wish.allowed}
        self.bit = {index: 1 << at for at, index in enumerate(known)}
        self.together = _together(wishes)
        self.dead: set[tuple[int, ...]] = set()
        self.scores: dict[tuple[int, int, tuple[int, ...]], Scored] = {}

    def found(self) -> dict[str, Chosen] | None:
        """A set for every wish."""
        return self.given(tuple(self.bits(wish.allowed) for wish in self.wishes), {})

    def bits(self, gpus: Chosen) -> int:
        return sum(self.bit[gpu.index] for gpu in gpus)

    def given(self, rooms: tuple[int, ...], taken: dict[str, Chosen]) -> dict[str, Chosen] | None:
        """`taken`, and a set for each further wish; `rooms` are the GPUs that each of those may still have."""
        if not rooms:
            return taken
        self.spend(10 + 2 * len(rooms))
        if rooms in self.dead or not self.possible(rooms):
            return None
        (wish, *rest), others = self.wishes[len(taken) :], rooms[1:]
        for chosen in self.sets(wish, tuple(gpu for gpu in wish.allowed if rooms[0] & self.bit[gpu.index])):
            kept = ~self.bits(chosen)
            left = (room & kept if wish.task in other.apart else room for other, room in zip(rest, others, strict=True))
            found = self.given(tuple(left), {**taken, wish.task: chosen})
            if found is not None or self.effort < 0:
                return found
            self.turned = True
        self.dead.add(rooms)
        return None

    def spend(self, effort: int) -> None:
        """Count what has been done since the search first turned back."""
        self.effort -= effort if self.turned else 0

    def possible(self, rooms: tuple[int, ...]) -> bool:
        """Whether the wishes that run at once could all be given enough GPUs, links aside."""
        first = len(self.wishes) - len(rooms)
        groups = ([at for at in group if at >= first] for group in self.together)
        return all(matched([(self.wishes[at].count, rooms[at - first]) for at in group]) for group in groups)

    def sets(self, wish: Wish, free: Chosen) -> Iterator[Chosen]:
        """Sets of `wish.count` of the free GPUs: the best joined first, then those that leave the most NVLink
        together, then the lowest bus ids."""
        for rank in range(wish.rank + 1) if wish.count > 1 else (UNKNOWN,):
            if rank not in self.links.kinds:
                continue
            self.spend(len(free) + len(self.links.machine.links))
            groups = [group for group in self.links.groups(free, rank) if len(group) >= wish.count]
            for start in range(0, len(groups), GROUPS):
                scored = [score for group in groups[start : start + GROUPS] for score in self.scored(group, wish, rank)]
                yield from (chosen for _, _, chosen in sorted(scored, key=lambda score: score[:2]))

    def scored(self, group: Chosen, wish: Wish, rank: int) -> Scored:
        """The sets of one group that are joined by `rank` at worst. A group holds all that its GPUs have NVLink to."""
        indices = tuple(gpu.index for gpu in group)
        key = (wish.count, rank, indices)
        if key not in self.scores:
            peers = frozenset(indices)
            sets = [chosen for chosen in _of_one_group(group, wish.count) if self.joined(chosen, rank)]
            self.scores[key] = [
                (self.links.cut(chosen, peers), tuple(gpu.index for gpu in chosen), chosen) for chosen in sets
            ]
        return self.scores[key]

    def joined(self, chosen: Chosen, rank: int) -> bool:
        """Whether the worst link is `rank`; where any will do, those better joined have come before."""
        self.spend(3 + len(chosen) ** 2 // 4)
        return rank == UNKNOWN or self.links.worst(chosen) == rank


def _together(wishes: list[Wish]) -> list[list[int]]:
    """Groups of wishes that all run at once, by position; every wish is in at least one."""
    groups: list[list[int]] = []
    for seed in range(len(wishes)):
        if any(seed in group for group in groups):
            continue
        group, common = [seed], wishes[seed].apart
        for at, wish in enumerate(wishes):
            if wish.task in common:
                group.append(at)
                common &= wish.apart
        groups.append(group)
    return groups


def _of_one_group(group: Chosen, count: int) -> Iterator[Chosen]:
    if comb(len(group), count) <= MANY:
        return combinations(group, count)
    return (group[at : at + count] for at in range(len(group) - count + 1))
