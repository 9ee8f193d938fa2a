"""Copies and the GPUs each may have in, a task for each out: on the best joined GPUs that have the memory it needs.

To a task that has a share of a GPU this is a smaller one: see `as_shared`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mgpu.engines import engine_named
from mgpu.plan.choose import Chosen, Wish, choose
from mgpu.plan.copies import Copy, started
from mgpu.plan.links import UNKNOWN
from mgpu.plan.shares import GIB, at_once, holders, left
from mgpu.plan.sums import verdict
from mgpu.plan.tasks import Site, tasked
from mgpu.spec.between import before
from mgpu.values.machine import LINK_KINDS, Gpu
from mgpu.values.plan import Task

Allowed = Mapping[str, Chosen]
"""The GPUs that a copy may have, by its name."""
Tasks = dict[str, Task]


def wishes(copies: Sequence[Copy], allowed: Allowed, counts: Mapping[str, int]) -> list[Wish]:
    """What every copy wants; `counts` are those of the copies whose number of GPUs the spec leaves open."""
    over = before({copy.job.name: copy.job for copy in copies}.values())
    return [_wish(copy, allowed[copy.name], counts, _apart(copy, copies, over)) for copy in copies]


def _wish(copy: Copy, allowed: Chosen, counts: Mapping[str, int], apart: frozenset[str]) -> Wish:
    wanted = copy.job.gpus
    count = max(1, len(allowed)) if wanted.count is None else wanted.count
    rank = LINK_KINDS.index(wanted.link) if wanted.link else UNKNOWN
    return Wish(copy.name, counts.get(copy.name, count), allowed, rank, apart, wanted.share)


def _apart(copy: Copy, copies: Sequence[Copy], over: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The other copies that run at the same time: `over` holds for every job those that are over before it starts."""
    mine = copy.job.name
    return frozenset(
        other.name
        for other in copies
        if other.name != copy.name and other.job.name not in over[mine] and mine not in over[other.job.name]
    )


def seated(site: Site, copies: Sequence[Copy], allowed: Allowed, counts: Mapping[str, int]) -> Tasks | None:
    """A task for each of `copies`, or None where there is no way to place them.

    Where a task cannot run on what it got, or does not fit there, it is tried without the oldest of these GPUs, or the
    one with the least free memory, and so on: another free GPU never takes the place of one that would do. Where
    nothing helps, it is the first way tried.
    """
    first: Tasks | None = None
    rooms = {gpu.index: left(gpu) for gpu in site.machine.gpus}
    order = {name: at for at, name in enumerate(started(copies))}
    for _ in range(TRIES):
        asked = wishes(copies, allowed, counts)
        chosen = choose(asked, site.links, rooms)
        if chosen is None:
            return first
        tasks = {
            copy.name: _told(tasked(site, copy, as_shared(wish, asked, chosen, rooms, order)), wish, asked, chosen)
            for copy, wish in zip(copies, asked, strict=True)
        }
        first = first or tasks
        short = next((wish for wish in asked if refused(tasks[wish.task]) or not fits(tasks[wish.task])), None)
        if short is None:
            return tasks
        if len(short.allowed) <= short.count or len({_kind(gpu) for gpu in short.allowed}) == 1:
            return first
        allowed = {**allowed, short.task: _without_the_least(short, tasks[short.task])}
    return first


TRIES = 64
"""GPUs that are tried without, one after the other, before it is given up."""


def _without_the_least(wish: Wish, task: Task) -> Chosen:
    """What a task may have, less the oldest of the GPUs that its engine refuses, or the smallest that it got."""
    old = refused(task)
    least = min(task.gpus, key=lambda gpu: (gpu.compute_capability or (0, 0) if old else (0, 0), gpu.free, -gpu.index))
    return tuple(gpu for gpu in wish.allowed if gpu.index != least.index)


def as_shared(
    wish: Wish, wishes: Sequence[Wish], chosen: Mapping[str, Chosen], rooms: Mapping[int, int], order: Mapping[str, int]
) -> Chosen:
    """The GPUs of a task as it finds them: with its share for a budget, and free what others have left when it starts.

    Those of other runs are taken to have filled their shares, and so are the tasks of this one that start before it.
    """
    if wish.share is None:
        return chosen[wish.task]
    before = [one for one in wishes if one.task in wish.apart and order[one.task] < order[wish.task]]

    def seen(gpu: Gpu) -> Gpu:
        taken = at_once(one.sharing for one in before if gpu in chosen[one.task])
        return replace(gpu, budget=wish.share, free=rooms[gpu.index] - taken)

    return tuple(seen(gpu) for gpu in chosen[wish.task])


def _told(task: Task, wish: Wish, wishes: Sequence[Wish], chosen: Mapping[str, Chosen]) -> Task:
    """The task, where it has shares with the reason that says beside whom."""
    if wish.share is None:
        return task
    mine = chosen[wish.task]
    others = [one for one in wishes if one.task in wish.apart and set(mine) & set(chosen[one.task])]
    beside = [f"{one.task} ({(one.share or 0) / GIB:.1f} GiB)" for one in others]
    beside += dict.fromkeys(holders(gpu) for gpu in mine if gpu.shared)
    who = f", beside {' and '.join(beside)}" if beside else ", and the rest is for others"
    of = " and ".join(dict.fromkeys(f"{gpu.memory / GIB:.1f}" for gpu in mine))
    each = " on each GPU" if len(mine) > 1 else ""
    return replace(task, because=(f"share: {wish.share / GIB:.1f} of {of} GiB{each}{who}", *task.because))


def _kind(gpu: Gpu) -> tuple[str, tuple[int, int] | None, int]:
    return gpu.name, gpu.compute_capability, gpu.free


def refused(task: Task) -> bool:
    """Whether its engine cannot run it on the GPUs that it has, in this layout."""
    return bool(task.gpus) and any(not one.warning for one in engine_named(task.job.engine).fits(task))


def fits(task: Task) -> bool:
    """Whether nothing that is known of its memory says otherwise."""
    return verdict(task) != "does not fit"
