"""Layers and devices in, the exact split of whole layers among uneven devices out; and llama.cpp's own rule for one.

A split keeps the order of the layers: device d has the next `counts[d]`. The head lies with the last layer. The search
is exact: the longest context for which any split fits is found by bisection, since more tokens never need less; among
the splits that fit then, the one with the least time to read all weights, by dynamic programming over prefixes whose
inner minimum runs over a sliding window.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

STEP = 256
"""Tokens by which a context grows (llama-context.cpp: GGML_PAD(n_ctx, 256))."""


class Device(NamedTuple):
    """A device: bytes for weights and cache once it is used at all, bytes less if it has the head too (its weights and
    the buffer for logits), and GB/s of its memory."""

    room: int
    head: int
    speed: float


class Load(NamedTuple):
    """What layers take: bytes of each one's `weights`, the `head`'s, and of each one's cache for so many tokens."""

    weights: Sequence[int]
    head: int
    cache: Callable[[int], Sequence[int]]


def placed(shares: Sequence[float], layers: int) -> tuple[int, ...]:
    """How many layers llama.cpp gives each device for these shares: layer i goes to the first device whose share of
    all, with those before it, exceeds i / (layers + 1); the head counts as a layer (llama-model.cpp: load_tensors)."""
    total = sum(shares) or 1.0
    upto = [part / total for part in accumulate(shares)]
    homes = [min(bisect_right(upto, index / (layers + 1)), len(shares) - 1) for index in range(layers)]
    return tuple(homes.count(device) for device in range(len(shares)))


def shares(counts: Sequence[int]) -> tuple[int, ...]:
    """The shares that make llama.cpp place exactly so many layers: the head is one more for the last that has any.
    (Counts alone would shift every border by one: see `placed`.)"""
    last = max((device for device, count in enumerate(counts) if count), default=0)
    return tuple(count + (device == last) for device, count in enumerate(counts))


def longest(load: Load, devices: Sequence[Device], most: int) -> int:
    """The longest context of up to `most` tokens for which there is a split; 0 for none."""
    steps = -(-most // STEP)
    found = bisect_left(
        range(1, steps + 1), True, key=lambda step: not _feasible(load, devices, min(most, step * STEP))
    )
    return min(most, found * STEP)


def best(load: Load, devices: Sequence[Device], most: int) -> tuple[int, ...] | None:
    """The layers of each device, or None where no context fits."""
    context = longest(load, devices, most)
    return _fastest(load, devices, context) if context else None


def _prefixes(load: Load, context: int) -> list[int]:
    both = [weight + kept for weight, kept in zip(load.weights, load.cache(context), strict=True)]
    return [0, *accumulate(both)]


def _feasible(load: Load, devices: Sequence[Device], context: int) -> bool:
    """Whether there is a split: every device takes all it can, until one can take the rest with the head."""
    upto, reached = _prefixes(load, context), 0
    for device in devices:
        if upto[-1] - upto[reached] <= device.room - device.head:
            return True
        reached = min(bisect_right(upto, upto[reached] + max(0, device.room)) - 1, len(upto) - 2)
    return False


def _fastest(load: Load, devices: Sequence[Device], context: int) -> tuple[int, ...] | None:
    """The split with the least sum of weights by speed. `times[p]` is the least for the first p layers so far."""
    upto, read, n = _prefixes(load, context), [0, *accumulate(load.weights)], len(load.weights)
    times: list[float] = [0.0] + [float("inf")] * n
    steps: list[list[int]] = []
    ends: list[tuple[float, int, int]] = []
    for number, device in enumerate(devices):
        ends += _ended(number, device, times, (upto, read), load.head)
        times, before = _taken(device, times, upto, read)
        steps.append(before)
    if not ends:
        return None
    _, last, at = min(ends)
    counts = [0] * len(devices)
    counts[last], end = n - at, at
    for number in range(last - 1, -1, -1):
        start = steps[number][end]
        counts[number], end = end - start, start
    return tuple(counts)


def _ended(
    number: int, device: Device, times: list[float], sums: tuple[list[int], list[int]], head: int
) -> list[tuple[float, int, int]]:
    """The best way to end here: (time, device, layers that lie before it)."""
    upto, read = sums
    first = bisect_left(upto, upto[-1] - (device.room - device.head))
    starts = range(max(0, first), len(times) - 1)
    found = [(times[s] + (read[-1] - read[s] + head) / device.speed, number, s) for s in starts]
    return [min(found)] if found and min(found)[0] < float("inf") and device.room >= device.head else []


def _taken(device: Device, times: list[float], upto: list[int], read: list[int]) -> tuple[list[float], list[int]]:
    """The least times once this device has taken some of the layers, and where it began for each."""
    window: deque[tuple[float, int]] = deque()
    found, before = [], []
    for end in range(len(times)):
        value = times[end] - read[end] / device.speed
        while window and window[-1][0] > value:
            window.pop()
        window.append((value, end))
        while window[0][1] < end and upto[end] - upto[window[0][1]] > device.room:
            window.popleft()
        found.append(window[0][0] + read[end] / device.speed)
        before.append(window[0][1])
    return found, before
