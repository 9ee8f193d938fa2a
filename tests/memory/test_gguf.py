"""GGUF files: each kind's bits per weight as published by llama.cpp, the fallbacks, and the split by layers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgpu.catalog.formats import gguf_mix
from mgpu.catalog.models import models
from mgpu.memory.gguf import placed, stored
from mgpu.values.model import Model
from tests.memory.known import known

PUBLISHED = {
    "IQ1_S": 2.0042, "IQ1_M": 2.1460, "IQ2_XXS": 2.3824, "IQ2_XS": 2.5882, "IQ2_S": 2.7403, "IQ2_M": 2.9294,
    "IQ3_XXS": 3.2548, "IQ3_XS": 3.4977, "IQ3_S": 3.6606, "IQ3_M": 3.7628, "IQ4_XS": 4.4597, "IQ4_NL": 4.6818,
    "Q2_K_S": 2.9697, "Q2_K": 3.1593, "Q3_K_S": 3.6429, "Q3_K_M": 3.9960, "Q3_K_L": 4.2979, "Q4_K_S": 4.6672,
    "Q4_K_M": 4.8944, "Q5_K_S": 5.5704, "Q5_K_M": 5.7036, "Q6_K": 6.5633, "Q8_0": 8.5008, "F16": 16.0005,
}  # fmt: skip
"""Bits per weight of Llama-3.1-8B (ggml-org/llama.cpp tools/quantize/README.md at 311c2c9f0ebd)."""


@pytest.mark.parametrize(("mix", "bits"), PUBLISHED.items())
def test_the_published_table_comes_out(mix: str, bits: float) -> None:
    model = known("llama-3.1-8b")
    assert stored(model, mix).total * 8 / (model.params or 1) == pytest.approx(bits, abs=6e-5)


@pytest.mark.parametrize(("name", "gigabytes"), [("llama-3.1-8b", 4.9), ("llama-3.1-70b", 42.5)])
def test_larger_ones_are_as_large_as_their_files(name: str, gigabytes: float) -> None:
    assert stored(known(name), "Q4_K_M").total / 1e9 == pytest.approx(gigabytes, rel=0.01)


def test_rows_of_odd_length_fall_back() -> None:
    """Qwen2.5-72B has an MLP of 29568, which is no multiple of 256: 5.2 bits a weight, not 4.8."""
    model = known("qwen2.5-72b")
    assert stored(model, "Q4_K_M").total * 8 / (model.params or 1) == pytest.approx(5.2, abs=0.05)


def test_a_tied_embedding_is_the_head() -> None:
    found = stored(known("llama-3.2-3b"), "Q4_K_M")
    assert found.head == 0
    assert found.embedding == 128256 * 3072 * 210 // 256


def test_experts_are_a_part_of_their_layer() -> None:
    found = stored(known("qwen3-30b-a3b"), "Q4_K_M")
    assert all(0 < experts < layer for experts, layer in zip(found.experts, found.layers, strict=True))
    assert set(stored(known("llama-3.1-8b"), "Q4_K_M").experts) == {0}


def test_an_importance_matrix_changes_some_kinds() -> None:
    model = known("llama-3.1-8b")
    assert stored(model, "IQ4_XS", imatrix=True).total < stored(model, "IQ4_XS", imatrix=False).total
    assert stored(model, "Q4_K_M", imatrix=True) == stored(model, "Q4_K_M", imatrix=False)


@pytest.mark.parametrize("model", [m for m in models() if m.kind == "llm"], ids=lambda model: model.id)
def test_more_bits_take_more(model: Model) -> None:
    sizes = [stored(model, mix).total for mix in ("IQ2_XXS", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0", "F16")]
    assert sizes == sorted(sizes)


@given(st.lists(st.integers(0, 32), min_size=1, max_size=8))
def test_what_lies_on_the_devices_is_the_file_less_the_embedding(cuts: list[int]) -> None:
    found = stored(known("llama-3.1-8b"), "Q4_K_M")
    edges = [0, *sorted(cuts), 32]
    counts = tuple(b - a for a, b in pairwise(edges))
    shares = placed(found, counts)
    assert sum(share.layers + share.head for share in shares) == found.total - found.embedding
    assert sum(share.head > 0 for share in shares) == 1


@pytest.mark.parametrize(("said", "meant"), [("Q4_K", "Q4_K_M"), ("model-q5_k.gguf", "Q5_K_M"), ("Q6_K", "Q6_K")])
def test_short_names_are_those_of_the_middle_kind(said: str, meant: str) -> None:
    """llama-quantize takes them for it (tools/quantize: alias for Q4_K_M)."""
    assert gguf_mix(said) == meant


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        stored(known("llama-3.1-8b"), "Q4_K_XXL")
