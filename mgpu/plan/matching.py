"""Demands for GPUs that must all be met at once in, whether they can be out. GPUs are bits of an int."""

from __future__ import annotations

Demand = tuple[int, int]
"""How many GPUs, and out of which."""


def matched(demands: list[Demand]) -> bool:
    """Whether every demand can be given its count of GPUs, none twice: a flow, grown by shortest augmenting paths."""
    held = [0] * len(demands)
    taken = 0
    for at, (count, room) in enumerate(demands):
        held[at] = _lowest(room & ~taken, count)
        taken |= held[at]
    for at, (count, _) in enumerate(demands):
        for _ in range(count - held[at].bit_count()):
            if not _grown(at, demands, held):
                return False
    return True


def _lowest(bits: int, count: int) -> int:
    """The `count` lowest of `bits`, or all of them where there are no more."""
    if bits.bit_count() <= count:
        return bits
    rest = bits
    for _ in range(count):
        rest &= rest - 1
    return bits & ~rest


def _grown(start: int, demands: list[Demand], held: list[int]) -> bool:
    """Give one more GPU to the demand `start`, by way of others who let go of one and take another."""
    free = ~sum(held)
    came: dict[int, tuple[int, int]] = {}
    queue = [start]
    for at in queue:
        if bit := _lowest(demands[at][1] & free, 1):
            while at != start:
                before, given = came[at]
                held[at] += bit - given
                at, bit = before, given  # noqa: PLW2901
            held[start] += bit
            return True
        for other, bits in enumerate(held):
            shared = bits & demands[at][1]
            if shared and other != start and other not in came:
                came[other] = (at, _lowest(shared, 1))
                queue.append(other)
    return False
