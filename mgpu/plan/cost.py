"""GPUs and a speed in, USD an hour and USD per million tokens out, by whatever price list the caller has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from mgpu.plan.collective import product_of
from mgpu.values.machine import Gpu
from mgpu.values.speed import Speed

HOUR = 3600.0
MILLION = 1e6


class Priced(Protocol):
    """What a price list says of one GPU: `usd_per_hour`."""

    @property
    def usd_per_hour(self) -> float: ...


class PerMillion(NamedTuple):
    """USD for a million tokens of answers, with the band of the speed: `low` if it is as fast as it may be."""

    low: float
    expected: float
    high: float


def per_hour(gpus: Iterable[Gpu], price: Callable[[str], Priced | None]) -> float | None:
    """USD an hour for all of `gpus`, each by its product's id; None where one of them has no price."""
    prices = []
    for gpu in gpus:
        product = product_of(gpu)
        found = price(product.id) if product else None
        if found is None:
            return None
        prices.append(found.usd_per_hour)
    return sum(prices)


def per_million(usd_per_hour: float, speed: Speed) -> PerMillion | None:
    """USD for a million tokens written at this speed; None where nothing is written."""
    if speed.tokens_per_second <= 0:
        return None
    second = usd_per_hour / HOUR
    slowest, expected, fastest = speed.low, speed.tokens_per_second, speed.high
    return PerMillion(*(second / rate * MILLION for rate in (fastest, expected, slowest)))
