"""A verdict's words: the sum of a GPU's lines, and what there is of its memory."""

from __future__ import annotations

from mgpu.plan import sums
from mgpu.values.memory import GIB, Estimate, Line, exactly

WEIGHTS = Line("weights", exactly(12 * GIB), "exact", "")
CONTEXT = Line("CUDA context", exactly(GIB // 2), "exact", "", outside=True)


def test_what_is_beside_the_budget_is_named_where_there_is_any() -> None:
    inside, beside = (Estimate(0, lines, 24 * GIB, 20 * GIB) for lines in ((WEIGHTS,), (WEIGHTS, CONTEXT)))
    assert sums.words(inside) == "the engine fills 20.0 GiB, and GPU 0 has 24.0 free"
    assert sums.words(beside) == "the engine fills 20.0 GiB, beside it CUDA context 0.50, and GPU 0 has 24.0 free"
