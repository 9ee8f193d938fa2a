"""Bytes of the cache of keys and values: published figures, every kind of attention, and its laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgpu.memory.cache import cached
from mgpu.values.model import Model
from tests.memory.known import LANGUAGE, known

GIB, MIB = 2**30, 2**20


@pytest.mark.parametrize(
    ("name", "tokens", "element", "size"),
    [
        ("llama-3.1-8b", 16000, 2.0, 16000 * 131072),
        ("llama-3.1-70b", 1024, 2.0, 320 * MIB),
        ("llama-3.1-405b", 1024, 2.0, 504 * MIB),
        ("qwen3-30b-a3b", 4096, 2.0, 384 * MIB),
        ("command-r-35b", 4096, 2.0, 5120 * MIB),
        ("command-r-35b", 4096, 34 / 32, 2720 * MIB),
        ("llama-3.1-8b", 16000, 1.0, 16000 * 65536),
        ("deepseek-v3", 1000, 2.0, 1000 * 61 * 576 * 2),
        ("deepseek-v3.2", 1000, 2.0, 1000 * 61 * (576 * 2 + 132)),
    ],
)
def test_one_sequence(name: str, tokens: int, element: float, size: int) -> None:
    assert cached(known(name), tokens, element) == size


def test_heads_are_copied_beyond_their_number() -> None:
    model = known("llama-3.1-8b")
    assert cached(model, 100, tensor=8) == cached(model, 100) // 8
    assert cached(model, 100, tensor=16) == cached(model, 100, tensor=8)
    assert cached(known("deepseek-v3"), 100, tensor=8) == cached(known("deepseek-v3"), 100)


def test_layers_with_a_window_hold_no_more_than_it() -> None:
    model = known("gpt-oss-20b")
    layer = 2 * 8 * 64 * 2
    assert cached(model, 8192) == layer * (12 * 8192 + 12 * 128)
    assert cached(model, 8192, window=512) == layer * (12 * 8192 + 12 * 640)
    assert cached(model, 100) == layer * 24 * 100


def test_every_sixth_layer_of_gemma_3_is_full() -> None:
    layer = 2 * 16 * 128 * 2
    assert cached(known("gemma-3-27b"), 32768) == layer * (10 * 32768 + 52 * 1024)


def test_chunks_of_llama_4() -> None:
    layer = 2 * 8 * 128 * 2
    assert cached(known("llama-4-scout"), 100000) == layer * (12 * 100000 + 36 * 8192)


def test_layers_of_gemma_4_that_share_keys_and_values() -> None:
    """The full layers have 2 heads of 512 whose keys are the values; the others 8 of 256."""
    assert cached(known("gemma-4-26b-a4b"), 4096) == 2 * (5 * 4096 * 2 * 512 + 25 * 1024 * 8 * 256 * 2)


def test_only_the_full_layers_of_a_hybrid_grow() -> None:
    model = known("qwen3.6-27b")
    assert cached(model, 2000) - cached(model, 1000) == 1000 * 16 * 2 * 4 * 256 * 2
    state = cached(model, 0)
    assert state == 48 * (2 * (2 * 16 * 128 + 48 * 128) * 3 + 4 * 48 * 128 * 128)
    assert cached(model, 0, tensor=2) == state // 2


def test_mamba_layers_hold_a_state_and_mlps_nothing() -> None:
    model = known("nemotron-h-56b")
    assert cached(model, 2000) - cached(model, 1000) == 1000 * 10 * 2 * 8 * 128 * 2
    assert cached(model, 0) == 54 * (2 * (256 * 64 + 2 * 8 * 256) * 3 + 4 * 256 * 64 * 256)


@given(
    model=st.sampled_from(LANGUAGE),
    tokens=st.integers(0, 200000),
    more=st.integers(0, 200000),
    tensor=st.sampled_from([1, 2, 4, 8]),
)
def test_more_tokens_never_take_less_and_more_gpus_never_more(
    model: Model, tokens: int, more: int, tensor: int
) -> None:
    assert cached(model, tokens, tensor=tensor) <= cached(model, tokens + more, tensor=tensor)
    assert cached(model, tokens, tensor=2 * tensor) <= cached(model, tokens, tensor=tensor)
    count = model.layers or 0
    halves = [cached(model, tokens, layers=part) for part in (range(count // 2), range(count // 2, count))]
    assert sum(halves) == pytest.approx(cached(model, tokens), abs=2)
