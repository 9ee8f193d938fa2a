"""Sets of GPUs for several jobs at once: each as well joined as can be, none given twice at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

from mgpu.plan.links import UNKNOWN, Links
from mgpu.values.machine import Gpu

Chosen = tuple[Gpu, ...]
MANY = 2_000
"""More sets than this in one group are not tried one by one: then only runs of neighbours by bus id are."""
GROUPS = 16
"""Groups whose sets are compared with each other; further ones come after them, in order."""
STEPS = 20_000
"""How many sets are tried in all before the search gives up."""


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
    order = sorted(wishes, key=lambda wish: (len(wish.allowed) - wish.count, -wish.count))
    return _search(order, {}, links, [STEPS])


def _search(wishes: list[Wish], taken: dict[str, Chosen], links: Links, steps: list[int]) -> dict[str, Chosen] | None:
    if not wishes:
        return taken
    wish, rest = wishes[0], wishes[1:]
    free = left(wish, taken)
    for chosen in sets(wish, free, links):
        steps[0] -= 1
        if steps[0] < 0:
            return None
        now = {**taken, wish.task: chosen}
        if possible(rest, now, links):
            found = _search(rest, now, links, steps)
            if found is not None:
                return found
    return None


def left(wish: Wish, taken: dict[str, Chosen]) -> Chosen:
    """The GPUs that `wish` may still have."""
    gone = {gpu.index for task, gpus in taken.items() if task in wish.apart for gpu in gpus}
    return tuple(gpu for gpu in wish.allowed if gpu.index not in gone)


def possible(wishes: list[Wish], taken: dict[str, Chosen], links: Links) -> bool:
    """Whether the wishes could still be granted: each by itself with its link, and those that run at once all together.

    Together by a matching between wishes and GPUs, grown by augmenting paths (Kuhn): where it holds, and no link is
    asked for, the search never has to turn back.
    """
    holder: dict[int, str] = {}
    byname = {wish.task: wish for wish in wishes}
    room = {wish.task: {gpu.index for gpu in left(wish, taken)} for wish in wishes}

    def grow(task: str, seen: set[int]) -> bool:
        for index in room[task]:
            if index not in seen:
                seen.add(index)
                if index not in holder or grow(holder[index], seen):
                    holder[index] = task
                    return True
        return False

    together: list[str] = []
    for wish in wishes:
        if wish.count > len(room[wish.task]):
            return False
        if wish.rank < UNKNOWN and next(sets(wish, left(wish, taken), links), None) is None:
            return False
        if all(other in wish.apart for other in together):
            together.append(wish.task)
    return all(grow(task, set()) for task in together for _ in range(byname[task].count))


def sets(wish: Wish, free: Chosen, links: Links) -> Iterator[Chosen]:
    """Sets of `wish.count` of the free GPUs: the best joined first, then those that leave the most NVLink together,
    then the lowest bus ids."""
    if wish.count == 0:
        yield ()
        return
    indices = frozenset(gpu.index for gpu in free)
    for rank in range(0 if wish.count > 1 else UNKNOWN, wish.rank + 1):
        if rank not in links.kinds:
            continue
        groups = [group for group in links.groups(free, rank) if len(group) >= wish.count]
        for start in range(0, len(groups), GROUPS):
            scored = [
                (links.cut(chosen, indices), tuple(gpu.index for gpu in chosen), chosen)
                for group in groups[start : start + GROUPS]
                for chosen in _of_one_group(group, wish.count)
                if wish.count == 1 or links.worst(chosen) == rank
            ]
            yield from (chosen for _, _, chosen in sorted(scored, key=lambda score: score[:2]))


def _of_one_group(group: Chosen, count: int) -> Iterator[Chosen]:
    if comb(len(group), count) <= MANY:
        return combinations(group, count)
    return (group[at : at + count] for at in range(len(group) - count + 1))
