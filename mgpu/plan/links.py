"""How well GPUs are joined: links as ranks, groups that are joined at least so well, and the cost of a choice."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import combinations

from mgpu.values.machine import LINK_KINDS, Gpu, Machine

UNKNOWN = len(LINK_KINDS)
"""The rank of a pair whose link is not known: behind every known one."""


class Links:
    """The links of one machine, by pairs of GPU indices. Rank 0 is NVLINK; a higher rank is a longer way."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @cached_property
    def ranks(self) -> dict[tuple[int, int], int]:
        """The rank of every pair that is known, both ways round."""
        both = {}
        for link in self.machine.links:
            both[link.a, link.b] = both[link.b, link.a] = LINK_KINDS.index(link.kind)
        return both

    @cached_property
    def pairs(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For every rank the pairs that are joined at least so well."""
        ranked = [(LINK_KINDS.index(link.kind), (link.a, link.b)) for link in self.machine.links]
        return tuple(tuple(pair for found, pair in ranked if found <= rank) for rank in range(UNKNOWN))

    @cached_property
    def kinds(self) -> frozenset[int]:
        """The ranks that occur; a pair of unknown link can always occur."""
        return frozenset((*self.ranks.values(), UNKNOWN))

    @cached_property
    def lanes(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """For every GPU the GPUs it has NVLink to, with the number of lanes."""
        found: dict[int, list[tuple[int, int]]] = {}
        for link in self.machine.links:
            if link.kind == "NVLINK":
                found.setdefault(link.a, []).append((link.b, link.nvlinks or 1))
                found.setdefault(link.b, []).append((link.a, link.nvlinks or 1))
        return {index: tuple(peers) for index, peers in found.items()}

    def worst(self, chosen: Iterable[Gpu]) -> int:
        """The rank of the worst link between any two of them; -1 for a single GPU."""
        return max((self.ranks.get((a.index, b.index), UNKNOWN) for a, b in combinations(chosen, 2)), default=-1)

    def cut(self, chosen: tuple[Gpu, ...], free: frozenset[int]) -> int:
        """NVLink lanes between the chosen GPUs and free ones left behind: what later jobs lose by this choice."""
        mine = {gpu.index for gpu in chosen}
        return sum(
            lanes for index in mine for peer, lanes in self.lanes.get(index, ()) if peer in free and peer not in mine
        )

    def groups(self, gpus: tuple[Gpu, ...], rank: int) -> list[tuple[Gpu, ...]]:
        """`gpus` parted into groups that are joined through links of at most `rank`; the smallest group first."""
        leader = {gpu.index: gpu.index for gpu in gpus}

        def find(index: int) -> int:
            while leader[index] != index:
                leader[index] = index = leader[leader[index]]
            return index

        for a, b in self.pairs[rank] if rank < UNKNOWN else ():
            if a in leader and b in leader:
                leader[find(a)] = find(b)
        parts: dict[int, list[Gpu]] = {}
        for gpu in gpus:
            parts.setdefault(find(gpu.index) if rank < UNKNOWN else -1, []).append(gpu)
        return sorted((tuple(part) for part in parts.values()), key=lambda part: (len(part), part[0].index))


def words(rank: int) -> str:
    """A rank as people say it: NVLink, and the rest as nvidia-smi topo has them."""
    kind = (*LINK_KINDS, "an unknown link")[rank]
    return "NVLink" if kind == "NVLINK" else kind
