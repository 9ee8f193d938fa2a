"""Prices: every row of the list is a product's with its day and source; a list of one's own takes its place."""

from __future__ import annotations

import re

import pytest

from mgpu.catalog.gpus import products, rated_power
from mgpu.catalog.prices import Owned, Price, Prices, listed, per_hour, per_million, together
from mgpu.errors import SpecError
from mgpu.spec.prices import load


def test_every_row_is_a_product_with_its_day_and_its_source() -> None:
    known = {product.id for product in products()}
    for product, price in listed().gpus.items():
        assert product in known
        assert 0.05 < price.usd_per_hour < 20
        assert re.fullmatch(r"202\d-[01]\d-[0-3]\d", price.date)
        assert re.search(r"[a-z]+\.(io|com|network)", price.source)


def test_a_newer_kind_costs_more() -> None:
    order = [per_hour(product) for product in ("l4", "a100-sxm4-80gb", "h100-sxm", "h200-sxm", "b200-sxm")]
    assert sorted(price.usd_per_hour for price in order if price) == [p.usd_per_hour for p in order if p]
    assert None not in order


def test_what_has_no_row_has_no_price() -> None:
    assert per_hour("gh200-96gb") is None
    assert per_hour(None) is None
    assert together(["h100-sxm", None]) is None
    assert together([]) is None


def test_several_cost_their_sum_and_are_as_old_as_the_oldest() -> None:
    one, other = per_hour("h100-sxm"), per_hour("l4")
    assert one is not None
    assert other is not None
    both = together(["h100-sxm", "l4", "l4"])
    assert both is not None
    assert both.usd_per_hour == pytest.approx(one.usd_per_hour + 2 * other.usd_per_hour)
    assert both.date == min(one.date, other.date)
    assert both.source == f"{one.source}; {other.source}"


def test_a_million_tokens() -> None:
    assert per_million(Price(3.6, "2026-11-01", ""), 1000) == pytest.approx(1.0)


def test_a_list_of_ones_own() -> None:
    table = load("mine.yaml", "date: 2026-11-24\nsource: my cloud\ngpus: {H100: 2.49, rtx4090: 0.30}\n")
    assert per_hour("h100-sxm", table) == Price(2.49, "2026-11-24", "my cloud")
    assert per_hour("rtx-4090", table) == Price(0.30, "2026-11-24", "my cloud")
    assert per_hour("l4", table) is None


def test_json_is_a_price_list_too_and_its_file_is_its_source() -> None:
    table = load("mine.json", '{"date": "2026-11-24", "gpus": {"l4": 1}}')
    assert per_hour("l4", table) == Price(1.0, "2026-11-24", "mine.json")


def test_a_host_of_ones_own_costs_its_electricity_and_what_is_written_off() -> None:
    table = load("mine.yaml", "date: 2026-11-24\nowned: {kwh: 0.4, watts: 200, duty: 0.5, hour: 0.1}\n")
    assert table == Prices("2026-11-24", "mine.yaml", {}, Owned(0.4, 200.0, 0.5, 0.1))
    assert rated_power("rtx-3090") == 350
    alone, pair = per_hour("rtx-3090", table), together(["rtx-3090", "rtx-3090"], table)
    assert alone is not None
    assert pair is not None
    assert alone.usd_per_hour == pytest.approx(0.350 * 0.5 * 0.4)
    assert pair.usd_per_hour == pytest.approx(2 * 0.07 + 0.08 + 0.1)
    assert per_hour("no-such", table) is None


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("gpus: {l4: 1}\n", (1, 1), "date is missing"),
        ("date: today\ngpus: {l4: 1}\n", (1, 7), "date wants a day, as 2026-11-24"),
        ("date: 2026-11-24\n", (1, 1), "this list has no price"),
        ("date: 2026-11-24\ngpus: {l44: 1}\n", (2, 8), "l44 is no GPU that mgpu knows"),
        ("date: 2026-11-24\ngpus:\n  h100-sxm: 2\n  H100: 3\n", (4, 3), "H100 is h100-sxm, which has a price already"),
        ("date: 2026-11-24\ngpus: {l4: cheap}\n", (2, 12), "l4 wants a number"),
        ("date: 2026-11-24\ngpus: {l4: -1}\n", (2, 12), "l4 wants a number of at least 0"),
        ("date: 2026-11-24\nowned: {watts: 3}\n", (2, 1), "kwh is missing"),
        ("date: 2026-11-24\nowned: {kwh: 0.3, duty: 80}\n", (2, 25), "duty wants a number from 0 to 1"),
        ("date: 2026-11-24\ngpus: {l4: 1}\nprices: {l4: 1}\n", (3, 1), "unknown key 'prices'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, place: tuple[int, int], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load("mine.yaml", text)
    problem = caught.value.problems[0]
    assert message in problem.message
    assert problem.mark == place
