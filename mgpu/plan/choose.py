"""Sets of GPUs for several jobs at once: each as well joined as can be, none given twice at the same time.

What wants only a share of a GPU may have it beside others that do, as far as their shares fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb

from mgpu.plan.links import UNKNOWN, Links
from mgpu.plan.matching import Demand, matched
from mgpu.plan.shares import Sharing, at_once
from mgpu.values.machine import Gpu

Chosen = tuple[Gpu, ...]
Scored = list[tuple[int, tuple[int, ...], Chosen]]
MANY = 2_000
"""More sets than this in one group are not tried one by one: then only runs of neighbours by bus id are."""
GROUPS = 16
"""Groups whose sets are compared with each other; further ones come after them, in order."""
TOTAL = 2**63
"""More bytes than any share has."""
EFFORT = 1_000_000
"""How much the search does, after it first had to turn back, before it gives up: about a microsecond each."""


@dataclass(frozen=True)
class Wish:
    """What one task wants: `count` of the `allowed` GPUs (by bus id), joined at least by `rank`, each whole or `share`
    bytes of it; `apart` are the tasks that run at the same time."""

    task: str
    count: int
    allowed: Chosen
    rank: int = UNKNOWN
    apart: frozenset[str] = frozenset()
    share: int | None = None

    @property
    def sharing(self) -> Sharing:
        """What it takes of each of its GPUs."""
        return Sharing(self.task, self.share or 0, self.apart)


def choose(wishes: list[Wish], links: Links, left: Mapping[int, int]) -> dict[str, Chosen] | None:
    """A set for every wish, or None where there is no way. Whole GPUs come first, then the largest shares, and of equal
    wishes those with the least choice. `left` are the bytes that shares may have of each GPU, by its index."""
    wanting = [wish for wish in wishes if wish.count]
    wanting.sort(key=lambda wish: (-(wish.share or TOTAL), len(wish.allowed) - wish.count, -wish.count))
    found = _Search(wanting, links, left).found()
    return None if found is None else {wish.task: found.get(wish.task, ()) for wish in wishes}


Loads = Mapping[int, tuple[Sharing, ...]]
"""What shares of a GPU are given so far, by its index."""


class _Search:
    """Wish by wish, back where there is no way on. GPUs are bits of an int, so that hundreds of wishes cost little."""

    def __init__(self, wishes: list[Wish], links: Links, left: Mapping[int, int]) -> None:
        self.wishes, self.links, self.left = wishes, links, left
        self.effort, self.turned = EFFORT, False
        known = {gpu.index: None for wish in wishes for gpu in wish.allowed}
        self.bit = {index: 1 << at for at, index in enumerate(known)}
        self.together = _together(wishes)
        self.dead: set[tuple[object, ...]] = set()
        kinds = {wish.task: (wish.share, wish.apart | {wish.task}) for wish in wishes}
        numbers = {kind: at for at, kind in enumerate(dict.fromkeys(kinds.values()))}
        self.kind = {task: numbers[kind] for task, kind in kinds.items()}
        self.scores: dict[tuple[int, int, tuple[int, ...]], Scored] = {}

    def found(self) -> dict[str, Chosen] | None:
        """A set for every wish."""
        return self.given(tuple(self.bits(wish.allowed) for wish in self.wishes), {}, {})

    def bits(self, gpus: Chosen) -> int:
        return sum(self.bit[gpu.index] for gpu in gpus)

    def given(self, rooms: tuple[int, ...], loads: Loads, taken: dict[str, Chosen]) -> dict[str, Chosen] | None:
        """`taken`, and a set for each further wish; `rooms` are the GPUs that each of those may still have, if not all
        that is left of them is given away as a share."""
        if not rooms:
            return taken
        self.spend(10 + 2 * len(rooms))
        alike = ((index, tuple(sorted(self.kind[one.task] for one in load))) for index, load in sorted(loads.items()))
        state = (rooms, *alike)
        if state in self.dead or not self.possible(rooms, loads):
            return None
        wish, *rest = self.wishes[len(taken) :]
        still = (gpu for gpu in wish.allowed if rooms[0] & self.bit[gpu.index])
        free = tuple(gpu for gpu in still if self.spare(gpu, wish, loads) >= 0)
        for chosen in self.sets(wish, free, loads):
            kept = ~self.bits(chosen)
            left = tuple(
                room & kept if wish.task in other.apart and None in (wish.share, other.share) else room
                for other, room in zip(rest, rooms[1:], strict=True)
            )
            found = self.given(left, _loaded(loads, chosen, wish), {**taken, wish.task: chosen})
            if found is not None or self.effort < 0:
                return found
            self.turned = True
        self.dead.add(state)
        return None

    def spare(self, gpu: Gpu, wish: Wish, loads: Loads) -> int:
        """Bytes that are left of a GPU beside the wish's share and those that are given at the same time; 0 of one that
        it has whole."""
        if wish.share is None:
            return 0
        beside = [other for other in loads.get(gpu.index, ()) if other.task in wish.apart]
        return self.left[gpu.index] - wish.share - at_once(beside)

    def spend(self, effort: int) -> None:
        """Count what has been done since the search first turned back."""
        self.effort -= effort if self.turned else 0

    def possible(self, rooms: tuple[int, ...], loads: Loads) -> bool:
        """Whether the wishes that run at once could all be given enough GPUs, links aside."""
        first = len(self.wishes) - len(rooms)
        groups = ([at for at in group if at >= first] for group in self.together)
        asked = ([(self.wishes[at], rooms[at - first]) for at in group] for group in groups)
        return all(matched(_demands(group)) and (bool(loads) or self.packed(group)) for group in asked)

    def packed(self, group: list[tuple[Wish, int]]) -> bool:
        """Whether GPUs have as many places for shares of a size or more as are wanted, for every size; asked before
        the first share is given."""
        asked = [(wish, wish.share, room) for wish, room in group if wish.share is not None]
        for size in {share for _, share, _ in asked}:
            alike = [(wish, room) for wish, share, room in asked if share >= size]
            gpus = {gpu.index: None for wish, room in alike for gpu in wish.allowed if room & self.bit[gpu.index]}
            if sum(wish.count for wish, _ in alike) > sum(self.left[at] // size for at in gpus):
                return False
        return True

    def sets(self, wish: Wish, free: Chosen, loads: Loads) -> Iterator[Chosen]:
        """Sets of `wish.count` of the free GPUs: the best joined first, then those that leave the most NVLink
        together, then the lowest bus ids. Shares leave as many GPUs whole as they can, and then fill up the fullest."""
        for rank in range(wish.rank + 1) if wish.count > 1 else (UNKNOWN,):
            if rank not in self.links.kinds:
                continue
            self.spend(len(free) + len(self.links.machine.links))
            groups = [group for group in self.links.groups(free, rank) if len(group) >= wish.count]
            for start in range(0, len(groups), GROUPS):
                scored = [score for group in groups[start : start + GROUPS] for score in self.scored(group, wish, rank)]
                yield from (chosen for _, _, chosen in sorted(scored, key=lambda score: self.rated(score, wish, loads)))

    def rated(self, score: tuple[int, tuple[int, ...], Chosen], wish: Wish, loads: Loads) -> tuple[object, ...]:
        """What sets are ordered by that are joined alike."""
        if wish.share is None:
            return score[:2]
        whole = sum(not gpu.shared and gpu.index not in loads for gpu in score[2])
        return whole, sum(self.spare(gpu, wish, loads) for gpu in score[2]), *score[:2]

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


def _demands(group: list[tuple[Wish, int]]) -> list[Demand]:
    """Of wishes that run at once; shares need as many GPUs together as the one that wants the most."""
    sharing = [(wish.count, room) for wish, room in group if wish.share is not None]
    together = 0
    for _, room in sharing:
        together |= room
    whole = [(wish.count, room) for wish, room in group if wish.share is None]
    return [*whole, (max(count for count, _ in sharing), together)] if sharing else whole


def _loaded(loads: Loads, chosen: Chosen, wish: Wish) -> Loads:
    if wish.share is None:
        return loads
    return {**loads, **{gpu.index: (*loads.get(gpu.index, ()), wish.sharing) for gpu in chosen}}
