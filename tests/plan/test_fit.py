"""What fits where: every machine that is named holds the model, more bits need more GPUs, and a guide is held to it."""

from __future__ import annotations

import pytest

from mgpu.catalog.machines import shorthand
from mgpu.catalog.models import models
from mgpu.plan import guide
from mgpu.plan.fit import COUNTS, WAYS, Wanted, Way, best, everywhere, tried

ORDER = [way.format for way in WAYS]


def test_of_every_product_more_gpus_are_named_only_for_more_bits() -> None:
    found = everywhere(Wanted("llama-3.1-70b"))
    by_product: dict[str, list[tuple[int, int]]] = {}
    for one in found:
        assert one.verdict in ("fits", "tight")
        gpu = one.task.gpus[0]
        by_product.setdefault(gpu.product or "", []).append((len(one.task.gpus), ORDER.index(one.way.format)))
    assert len(by_product) > 20
    for rows in by_product.values():
        assert rows == sorted(rows)
        assert [bits for _, bits in rows] == sorted({bits for _, bits in rows}, reverse=True)


@pytest.mark.parametrize("context", [2048, 32768])
def test_a_longer_context_never_fits_where_a_shorter_one_does_not(context: int) -> None:
    for product in ("rtx-4090", "a100-sxm4-80gb", "l40s"):
        for count in COUNTS:
            machine = shorthand(f"{count}x{product}")
            long, short = (
                tried(Wanted("llama-3.1-70b", n), machine, Way("vllm", "awq-int4")) for n in (2 * context, context)
            )
            assert long
            assert short
            assert long.verdict == "does not fit" or short.verdict != "does not fit"


def test_what_does_not_fit_is_told_with_what_it_lacks() -> None:
    found = best(Wanted("llama-3.1-405b"), shorthand("1xrtx-3090"))
    assert found
    assert found.verdict == "does not fit"


def test_an_unknown_model_fits_nowhere_rather_than_somewhere() -> None:
    assert everywhere(Wanted("nobody/knows-this-7b")) == []


def test_the_guides_wrong_rows_are_named_and_no_others() -> None:
    rows = guide.checked(8192)
    wrong = {(row.model, row.machine) for row in rows if row.wrong}
    assert wrong == {
        ("llama-3.1-70b", "1xa100-sxm4-40gb"),
        ("qwen3-235b-a22b", "4xa100-sxm4-80gb"),
        ("llama-3.1-405b", "8xa100-sxm4-80gb"),
        ("deepseek-v3", "8xa100-sxm4-80gb"),
    }
    assert all(row.instead for row in rows if row.wrong)
    assert all(row.verdict != "not known" for row in rows)


def test_every_language_model_of_the_catalogue_can_be_asked_for() -> None:
    for model in models():
        if model.kind == "llm" and not model.facts.get("calibrate"):
            assert best(Wanted(model.id, 1024), shorthand("8xb300-sxm")), model.id
