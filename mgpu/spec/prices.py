"""The text of a price list in, Prices out; what is wrong in it is told with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mgpu.catalog.gpus import by_name, products
from mgpu.catalog.prices import Owned, Price, Prices
from mgpu.spec.document import read
from mgpu.spec.nearest import did_you_mean
from mgpu.spec.notes import BAD, Notes
from mgpu.spec.scalars import Number, Text
from mgpu.spec.shapes import Key, Made, Record, Table

DATE = Text(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day, as 2026-11-24")


def load(name: str, text: str) -> Prices:
    """The list in `text`; `name` is what errors call it. Raises SpecError with all that is wrong."""
    document = read(name, text)
    notes = Notes(document)
    prices = shape().read(document.data, (), notes)
    if prices is not BAD:
        prices = _by_product(prices, notes, name)
        if not notes.problems and not prices.gpus and not prices.owned:
            notes.add("this list has no price", (), "gpus: {h100-sxm: 2.49}, or owned: {kwh: 0.30}")
    if notes.problems:
        raise document.error(*notes.problems)
    assert isinstance(prices, Prices)
    return prices


def shape() -> Record:
    """What a price list must look like."""
    owned = {
        "kwh": Key(Number(), "USD for a kWh", required=True),
        "watts": Key(Number(), "what the host draws without its GPUs"),
        "duty": Key(Made(Number(), _share), "of their rated power, what the GPUs draw: 0 to 1"),
        "hour": Key(Number(), "USD of the host that are written off in an hour"),
    }
    return Record(
        _list,
        {
            "date": Key(DATE, "the day from which these prices are, as 2026-11-24", required=True),
            "source": Key(Text(), "who asks them"),
            "gpus": Key(Table(Number(), ".+", "the name of a GPU"), "USD per GPU and hour, by product"),
            "owned": Key(Record(Owned, owned), "a host of one's own"),
        },
    )


def _list(date: str, source: str = "", gpus: Mapping[str, float] | None = None, owned: Owned | None = None) -> Prices:
    return Prices(date, source, {name: Price(usd, date, source) for name, usd in (gpus or {}).items()}, owned)


def _share(value: float) -> float:
    if value > 1:
        raise ValueError("wants a number from 0 to 1", f"write {value / 100:g}")
    return value


def _by_product(prices: Prices, notes: Notes, name: str) -> Prices:
    """The prices by the ids of the catalogue, with the file as their source where it names none."""
    source = prices.source or name
    found: dict[str, Price] = {}
    for called, price in prices.gpus.items():
        product = by_name(called)
        if product is None:
            ids = [known.id for known in products()]
            notes.add(f"{called} is no GPU that mgpu knows", ("gpus", called), did_you_mean(called, ids), key=True)
        elif product.id in found:
            notes.add(f"{called} is {product.id}, which has a price already", ("gpus", called), key=True)
        else:
            found[product.id] = price._replace(source=source)
    return replace(prices, source=source, gpus=found)
