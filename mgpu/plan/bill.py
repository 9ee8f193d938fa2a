"""A Plan and a price list in, what it costs by the hour and by the token out."""

from __future__ import annotations

from typing import NamedTuple

from mgpu.catalog.prices import Price, Prices, per_million, together
from mgpu.plan.collective import product_of
from mgpu.values.machine import Gpu
from mgpu.values.plan import Plan


class Bill(NamedTuple):
    """What GPUs cost: their `price` together (None: `missing` names the products without one), and USD per million
    tokens that are written, where their speed is known: as expected, and at both ends of the speed's band."""

    price: Price | None
    missing: str = ""
    per_million: float | None = None
    cheapest: float | None = None
    dearest: float | None = None


def bill(plan: Plan, prices: Prices | None = None, job: str | None = None) -> Bill | None:
    """The bill of the plan, or of one job of it with all its replicas; None where it takes no GPU. Jobs that have the
    same GPU one after the other pay it once."""
    tasks = [task for task in plan.tasks if job in (None, task.job.name)]
    gpus = {gpu.id: gpu for task in tasks for gpu in task.gpus}
    if not gpus:
        return None
    price = together([sold_as(gpu) for gpu in gpus.values()], prices)
    if price is None:
        return Bill(None, ", ".join(dict.fromkeys(gpu.product or gpu.name for gpu in gpus.values())))
    chosen = [task.decision.chosen if task.decision else None for task in tasks]
    speeds = [choice.speed for choice in chosen if choice and choice.speed]
    if not speeds or len({task.job.name for task in tasks}) > 1 or len(speeds) < len(tasks):
        return Bill(price)
    usual = sum(speed.tokens_per_second for speed in speeds)
    low, high = sum(speed.low for speed in speeds), sum(speed.high for speed in speeds)
    amounts = [per_million(price, rate) if rate > 0 else None for rate in (usual, high, low)]
    return Bill(price, "", *amounts)


def sold_as(gpu: Gpu) -> str | None:
    """The id of the product that a GPU is, where the catalogue knows it."""
    product = product_of(gpu)
    return product.id if product else None
