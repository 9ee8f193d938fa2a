"""Whole layers on uneven devices: the search against trying all, and llama.cpp's own rule with its shares."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from mgpu.memory.layers import STEP, Device, Load, best, longest, placed, shares

counts_of = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)


def llama(split: Sequence[int], layers: int) -> list[int]:
    """Where llama.cpp puts each layer, written out from llama-model.cpp in single steps: shares are summed up, each is
    divided by the last, and a layer goes to the first that is greater than its own share of layers and head."""
    upto, total = [], 0.0
    for share in split:
        total += share
        upto.append(total)
    upto = [value / total for value in upto]
    return [next(d for d, value in enumerate(upto) if value > layer / (layers + 1)) for layer in range(layers + 1)]


@given(counts_of)
def test_the_shares_place_exactly_so_many_layers_and_the_head_with_the_last(counts: list[int]) -> None:
    homes = llama(shares(counts), sum(counts))
    assert [homes[:-1].count(device) for device in range(len(counts))] == counts
    assert homes[-1] == max(device for device, count in enumerate(counts) if count)
    assert placed(shares(counts), sum(counts)) == tuple(counts)


def test_the_counts_alone_would_shift_the_borders() -> None:
    assert placed((10, 10), 20) == (11, 9)
    assert placed(shares((10, 10)), 20) == (10, 10)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(1, 130))
def test_every_layer_has_a_place(given_shares: list[int], layers: int) -> None:
    assert sum(placed(given_shares, layers)) == layers


def every(layers: int, devices: int) -> Iterator[tuple[int, ...]]:
    """Every way to give consecutive layers to the devices."""
    if devices == 1:
        yield (layers,)
        return
    for first in range(layers + 1):
        yield from ((first, *rest) for rest in every(layers - first, devices - 1))


def fits(counts: Sequence[int], load: Load, devices: Sequence[Device], context: int) -> bool:
    kept, first = load.cache(context), 0
    last = max(device for device, count in enumerate(counts) if count)
    for number, (count, device) in enumerate(zip(counts, devices, strict=True)):
        mine = range(first, first + count)
        need = sum(load.weights[i] + kept[i] for i in mine) + (device.head if number == last else 0)
        if count and need > device.room:
            return False
        first += count
    return True


def seconds(counts: Sequence[int], load: Load, devices: Sequence[Device]) -> float:
    total, first = 0.0, 0
    last = max(device for device, count in enumerate(counts) if count)
    for number, (count, device) in enumerate(zip(counts, devices, strict=True)):
        read = sum(load.weights[first : first + count]) + (load.head if number == last else 0)
        total, first = total + read / device.speed, first + count
    return total


small_devices = st.lists(
    st.builds(Device, st.integers(0, 60), st.integers(1, 6), st.sampled_from([1.0, 2.0, 3.0])), min_size=1, max_size=3
)
small_weights = st.lists(st.integers(1, 9), min_size=1, max_size=7)


@given(small_weights, small_devices, st.integers(1, 5), st.integers(1, 6))
def test_no_other_split_is_longer_or_faster(weights: list[int], devices: list[Device], head: int, steps: int) -> None:
    load = Load(weights, head, lambda context: [context // STEP + i % 2 for i in range(len(weights))])
    most = steps * STEP
    all_ = list(every(len(weights), len(devices)))
    feasible = [c for c in range(STEP, most + 1, STEP) if any(fits(one, load, devices, c) for one in all_)]
    found = best(load, devices, most)
    assert longest(load, devices, most) == max(feasible, default=0)
    if not feasible:
        assert found is None
        return
    assert found is not None
    assert sum(found) == len(weights)
    assert fits(found, load, devices, max(feasible))
    fastest = min(seconds(one, load, devices) for one in all_ if fits(one, load, devices, max(feasible)))
    assert abs(seconds(found, load, devices) - fastest) < 1e-9


def test_a_hundred_and_thirty_layers_on_eight_devices_take_no_time() -> None:
    load = Load([2**30 + i for i in range(130)], 2**30, lambda context: [context * 4096] * 130)
    devices = [Device((24 + 3 * i) * 2**30, 2**31, 900.0 - 50 * i) for i in range(8)]
    best(load, devices, 131072)
    begun = time.perf_counter()
    assert sum(best(load, devices, 131072) or ()) == 130
    assert time.perf_counter() - begun < 0.02
