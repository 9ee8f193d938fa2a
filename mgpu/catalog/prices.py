"""What GPUs cost: a product's id in, USD per hour out, by the dated list (prices.json) or by one of the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Price(NamedTuple):
    """USD per hour; `date` is the day from which it is (``2026-11-09``), `source` who asks it."""

    usd_per_hour: float
    date: str
    source: str


class Owned(NamedTuple):
    """What a host of one's own costs: USD for a `kwh`, the `watts` of all but its GPUs, the `duty` at which these run
    (of their rated power), and what is written off of it, in USD per `hour`."""

    kwh: float
    watts: float = 0.0
    duty: float = 1.0
    hour: float = 0.0


@dataclass(frozen=True)
class Prices:
    """A price list: rented GPUs by their product's id, or a host that is `owned`."""

    date: str
    source: str
    gpus: Mapping[str, Price] = field(default_factory=dict)
    owned: Owned | None = None


@cache
def listed() -> Prices:
    """The list that comes with mgpu; its date is that of its latest row."""
    rows = json.loads(Path(__file__).with_name("prices.json").read_text("utf-8"))["gpus"]
    gpus = {row["id"]: Price(row["usd_per_hour"], row["date"], row["source"]) for row in rows}
    return Prices(max(price.date for price in gpus.values()), "the list that comes with mgpu", gpus)


def per_hour(product: str | None, table: Prices | None = None) -> Price | None:
    """One GPU of this product for an hour, by `table` or else the list; None where that is not known. On a host of
    one's own it is the GPU's electricity: duty x rated power x price of a kWh."""
    from mgpu.catalog.gpus import rated_power

    known = table or listed()
    if product and product in known.gpus:
        return known.gpus[product]
    watts = rated_power(product) if known.owned else None
    if known.owned is None or watts is None:
        return None
    return Price(watts * known.owned.duty * known.owned.kwh / 1000, known.date, known.source)


def together(products: Sequence[str | None], table: Prices | None = None) -> Price | None:
    """GPUs of these products for an hour, with the rest of a host of one's own; None where one has no price. It is as
    old as its oldest part."""
    prices = [per_hour(product, table) for product in products]
    known = [price for price in prices if price]
    if not known or len(known) < len(prices):
        return None
    owned = table.owned if table else None
    host = owned.watts * owned.kwh / 1000 + owned.hour if owned else 0.0
    sources = dict.fromkeys(price.source for price in known)
    oldest = min(price.date for price in known)
    return Price(sum(price.usd_per_hour for price in known) + host, oldest, "; ".join(sources))


def per_million(price: Price, tokens_per_second: float) -> float:
    """USD for a million tokens at this speed."""
    return price.usd_per_hour / (tokens_per_second * 3600) * 1e6
