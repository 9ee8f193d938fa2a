"""Shares of GPUs in, bytes out: what is left of a GPU for one more, and what several take that overlap in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mgpu.values.machine import Gpu, Held

GIB, MIB = 2**30, 2**20


class Sharing(NamedTuple):
    """A task that takes `share` bytes of a GPU; `apart` are the tasks that run at the same time."""

    task: str
    share: int
    apart: frozenset[str]


def left(gpu: Gpu) -> int:
    """Bytes of the GPU that one more share may have: less what is leased, what runs have beyond their leases, and what
    is in use by nobody known. A lease lies in one piece, so it is no more than the largest gap between them."""
    used = max(0, gpu.memory - gpu.free)
    known = sorted(((held, _has(gpu, held)) for held in gpu.shared), key=lambda pair: pair[1] is None)
    theirs = taken = 0
    for held, has in known:
        mine = min(held.bytes, max(0, used - theirs)) if has is None else has
        theirs += mine
        taken += max(held.bytes, mine)
    return max(0, min(gpu.memory - taken - max(0, used - theirs), _gap(gpu)))


def _has(gpu: Gpu, held: Held) -> int | None:
    """What the processes of the run that holds the share have of the GPU; None where that is not known: the driver does
    not say, or they are hidden (`unexplained`)."""
    sizes = [process.memory for process in gpu.processes if process.run is not None and process.run == held.run]
    if held.run is None or None in sizes or (not sizes and gpu.unexplained):
        return None
    return sum(size or 0 for size in sizes)


def _gap(gpu: Gpu) -> int:
    """The largest piece between the leases."""
    end, widest = 0, 0
    for held in sorted(gpu.shared, key=lambda held: held.start or 0):
        if held.start is None:
            return gpu.memory
        widest, end = max(widest, held.start - end), max(end, held.start + held.bytes)
    return max(widest, gpu.memory // MIB * MIB - end)


def at_once(sharing: Iterable[Sharing]) -> int:
    """The most bytes that some of these take at the same time: the heaviest set of which each is apart from all others.

    Tasks that exclude each other make groups, whose bytes add up; within a group a task is taken or left.
    """
    known: dict[frozenset[str], int] = {}

    def most(tasks: Iterable[Sharing]) -> int:
        return sum(of_group(names, group) for names, group in _groups(tasks))

    def of_group(names: frozenset[str], group: list[Sharing]) -> int:
        if all(names.isdisjoint(one.apart) for one in group):
            return max(one.share for one in group)
        if names not in known:
            first, *rest = group
            beside = [other for other in rest if other.task in first.apart]
            known[names] = max(first.share + most(beside), most(rest))
        return known[names]

    return most(sharing)


def _groups(tasks: Iterable[Sharing]) -> list[tuple[frozenset[str], list[Sharing]]]:
    """The tasks and their names, parted so that those of different groups all run at the same time."""
    groups: list[tuple[frozenset[str], list[Sharing]]] = []
    for one in tasks:
        near = [group for group in groups if not group[0] <= one.apart]
        groups = [group for group in groups if group[0] <= one.apart]
        names = frozenset((one.task,)).union(*(names for names, _ in near))
        groups.append((names, [*(other for _, group in near for other in group), one]))
    return groups


def holders(gpu: Gpu) -> str:
    """Who holds shares of the GPU, in words."""
    return " and ".join(f"{held.holder} ({held.bytes / GIB:.1f} GiB)" for held in gpu.shared)


def leased(placed: Mapping[str, Sequence[Gpu]], sharing: Mapping[str, Sharing]) -> tuple[tuple[str, int], ...]:
    """The GPUs (by id) that only tasks with shares were given, each with the bytes that these take at once."""
    on: dict[str, list[str]] = {}
    for task, gpus in placed.items():
        for gpu in gpus:
            on.setdefault(gpu.id, []).append(task)
    parts = {gpu: [sharing[task] for task in tasks] for gpu, tasks in on.items() if sharing.keys() >= set(tasks)}
    return tuple((gpu, at_once(part)) for gpu, part in parts.items())
