"""The planner against the reference rows: the bounds hold, no row gives its answer away, and wrong answers are seen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.reference.__main__ import rows_of, table
from tests.reference.asking import OWN, answers, asked, unmeasured
from tests.reference.bounds import broken, overall
from tests.reference.judging import Tally, judged, tallied

FILES = sorted(map(str, Path(__file__).with_name("rows").glob("*.json")))
ROWS = rows_of(FILES)
KNOWN = answers()
KINDS = sorted({row["kind"] for row in ROWS})


def of(*kinds: str) -> dict[str, Tally]:
    return tallied(judged(row, KNOWN) for row in ROWS if row["kind"] in kinds)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in KNOWN])
def test_the_bounds_of_every_kind_hold(kind: str) -> None:
    assert not list(broken(of(kind)))


def test_every_kind_is_answered_and_the_layouts_are_right_over_all() -> None:
    tallies = of(*KINDS)
    assert not [*broken(tallies), *overall(tallies)], table(tallies)


def numbers(value: object) -> set[float]:
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, (int, float)):
        return {float(value)}
    if isinstance(value, Mapping):
        return set().union(*map(numbers, value.values()))
    return set().union(*map(numbers, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.get("id", row["kind"]))
def test_a_row_is_asked_without_its_answer(row: dict[str, Any]) -> None:
    seen = asked(row)
    assert not seen.keys() & {"id", "published", "ratio", "values", "better", "worse", "lowest_tpot_tp"}
    assert not re.search(r"[#@]\w", seen.get("source", ""))
    for value in numbers(row.get("values")):
        assert value <= 16 or f"{value:g}" not in json.dumps(seen["options"])
    if row["kind"] == "tp_sweep_nvswitch":
        assert all(option.keys() == {"tp"} for option in seen["options"])
    elif row["kind"] in OWN:
        assert row[OWN[row["kind"]]] not in numbers(seen)
    elif "inputs" in row and not isinstance(row["published"], bool) and row["published"] != int(row["published"]):
        assert row["published"] not in numbers(seen["inputs"])


@pytest.mark.parametrize(
    ("text", "values", "plain"),
    [
        ("with bridges 76.9", {"with": 76.9}, "with bridges"),
        ("measured 74.77 tok/s", None, "measured"),
        ("no faster than two plain RTX 3090 (68.5)", {"two": 68.5}, "no faster than two plain RTX 3090"),
        ("2 x TP2", {"replicas": 741, "two": 2}, "2 x TP2"),
    ],
)
def test_what_was_measured_is_cut_from_the_words(text: str, values: dict[str, float] | None, plain: str) -> None:
    assert unmeasured(text, values) == plain


MEMORY = {"id": "a", "kind": "kv", "inputs": {}, "published": 100.0, "unit": "GiB"}
FITS = {**MEMORY, "kind": "fits", "published": False, "unit": "fits"}
LAYOUT = {"id": "b", "kind": "tp_vs_pp", "better": "TP4", "worse": "PP4", "ratio": 1.5}


@pytest.mark.parametrize(
    ("row", "given", "wrong"),
    [
        (MEMORY, 100.1, False),
        (MEMORY, 100.3, True),
        (MEMORY, None, True),
        (MEMORY, "100", True),
        ({**MEMORY, "kind": "kv_known_wrong"}, 50.0, False),
        ({**MEMORY, "kind": "kv_known_wrong"}, 100.0, True),
        (FITS, False, False),
        (FITS, True, True),
        (FITS, 0, True),
        (LAYOUT, 1, False),
        (LAYOUT, 0, True),
        (LAYOUT, "tie", True),
        ({**LAYOUT, "ratio": 1.02}, "tie", False),
        ({**LAYOUT, "ratio": None, "note": "predict a tie"}, "tie", False),
    ],
)
def test_wrong_answers_are_seen(row: dict[str, Any], given: object, wrong: bool) -> None:
    tallies = tallied([judged(row, {row["kind"]: lambda _: given})])
    assert bool([*broken(tallies), *overall(tallies)]) is wrong


def test_a_sweep_is_two_orderings() -> None:
    row = {"id": "s", "kind": "tp_sweep_nvswitch", "options": [], "lowest_tpot_tp": 8, "best_per_gpu_tp": 1}
    result = judged(row, {"tp_sweep_nvswitch": lambda _: {"lowest_tpot_tp": 8, "best_per_gpu_tp": 2}})
    assert result.verdicts == (True, False)
