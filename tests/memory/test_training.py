"""What a training takes: laws that hold for every recipe, and runs on one H100 whose peaks were read from torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mgpu.catalog.models import by_name
from mgpu.memory.states import host_bytes
from mgpu.memory.training import allocated, lines, moments, peak, prefill
from mgpu.memory.zero import host_states, korthikanti, zero_states
from mgpu.values.model import Model
from mgpu.values.recipe import LOSSES, METHODS, OPTIMIZERS, PRECISIONS, SHARDINGS, Recipe


def named(name: str) -> Model:
    """A model of the catalogue."""
    model = by_name(name)
    assert model
    return model


MODELS = some.sampled_from(
    ("llama-3.2-1b", "llama-3.1-8b", "llama-3.1-70b", "qwen2.5-1.5b", "qwen3-8b", "qwen3-30b-a3b")
)
RECIPES = some.builds(
    Recipe,
    method=some.sampled_from(METHODS),
    precision=some.sampled_from(PRECISIONS),
    optimizer=some.sampled_from(OPTIMIZERS),
    sharding=some.sampled_from(SHARDINGS),
    micro_batch=some.integers(1, 16),
    sequence=some.integers(1, 16384),
    checkpointing=some.booleans(),
    accumulation=some.integers(1, 2),
    loss=some.sampled_from(LOSSES),
    offload_optimizer=some.booleans(),
    offload_parameters=some.booleans(),
    backward_step=some.booleans(),
    compile=some.booleans(),
    adapters_in_fp32=some.booleans(),
    split_ends=some.booleans(),
)
RANKS = some.integers(2, 64)


@given(MODELS, RECIPES, RANKS)
def test_a_higher_stage_of_zero_never_takes_more(name: str, recipe: Recipe, ranks: int) -> None:
    plain = replace(recipe, native=True, offload_optimizer=False, offload_parameters=False)
    stages = [replace(plain, sharding=sharding) for sharding in ("none", "zero-1", "zero-2", "zero-3")]
    sizes = [allocated(named(name), each, ranks) for each in stages]
    assert sizes == sorted(sizes, reverse=True)


def test_the_first_stage_of_zero_keeps_gradients_where_none_does() -> None:
    """Only from the second on are they reduced as they come, beside the embedding's own."""
    plain = Recipe(precision="fp32", optimizer="paged-adamw", sequence=1, native=True)
    none, first = (allocated(named("llama-3.1-8b"), replace(plain, sharding=each), 2) for each in ("none", "zero-1"))
    assert first == none


@given(MODELS, RECIPES, RANKS)
def test_checkpointing_never_takes_more(name: str, recipe: Recipe, ranks: int) -> None:
    on, off = (allocated(named(name), replace(recipe, checkpointing=each), ranks) for each in (True, False))
    assert on <= off


@given(MODELS, RECIPES, RANKS)
def test_more_ranks_never_take_more_each(name: str, recipe: Recipe, ranks: int) -> None:
    assert allocated(named(name), recipe, ranks + 1) <= allocated(named(name), recipe, ranks)


@given(MODELS, RECIPES, RANKS)
def test_longer_samples_and_larger_batches_never_take_less(name: str, recipe: Recipe, ranks: int) -> None:
    less = allocated(named(name), recipe, ranks)
    assert allocated(named(name), replace(recipe, sequence=recipe.sequence + 1), ranks) >= less
    assert allocated(named(name), replace(recipe, micro_batch=recipe.micro_batch + 1), ranks) >= less


@given(MODELS, RECIPES, RANKS)
def test_the_lines_are_those_of_the_peak(name: str, recipe: Recipe, ranks: int) -> None:
    found = lines(named(name), recipe, ranks)
    outside = {"allocator slack", "NCCL", "CUDA context", "kernels"}
    inside = sum(line.bytes.expected for line in found if line.name not in outside)
    total = peak(named(name), recipe, ranks).total
    assert abs(inside - total) <= len(found)
    assert total == max(moment.total for moment in moments(named(name), recipe, ranks))
    assert all(0 <= line.bytes.low <= line.bytes.expected <= line.bytes.high for line in found)
    assert len({line.name for line in found}) == len(found)


@given(MODELS, RECIPES, RANKS)
def test_what_is_offloaded_is_in_the_hosts_memory(name: str, recipe: Recipe, ranks: int) -> None:
    away = replace(recipe, sharding="zero-3", offload_optimizer=True, offload_parameters=True, native=True)
    here = replace(away, offload_optimizer=False, offload_parameters=False)
    assert host_bytes(named(name), away, ranks) > host_bytes(named(name), here, ranks)
    assert allocated(named(name), away, ranks) <= allocated(named(name), here, ranks)


AMP, BF16, LORA = (
    Recipe(sharding="none"),
    Recipe(precision="bf16", sharding="none"),
    Recipe("lora", "bf16", sharding="none"),
)


@pytest.mark.parametrize(
    ("model", "recipe", "published"),
    [
        ("qwen2.5-1.5b", replace(BF16, micro_batch=4), 48_112_811_008),
        ("qwen2.5-1.5b", replace(BF16, micro_batch=4, checkpointing=True), 25_074_142_208),
        ("llama-3.2-3b", replace(BF16, micro_batch=4, checkpointing=True), 33_563_987_968),
        ("llama-3.2-1b", BF16, 14_231_459_840),
        ("llama-3.2-1b", replace(BF16, optimizer="adamw-fused"), 14_232_583_168),
        ("llama-3.2-3b", replace(AMP, checkpointing=True), 64_327_366_144),
        ("qwen2.5-1.5b", replace(AMP, micro_batch=4), 64_054_001_664),
        ("llama-3.2-1b", replace(AMP, micro_batch=4, sharding="ddp", checkpointing=True), 34_216_232_960),
        ("llama-3.2-1b", replace(AMP, sharding="ddp"), 29_740_050_432),
        ("llama-3.2-1b", replace(AMP, optimizer="adamw-fused", checkpointing=True), 20_907_682_816),
        ("qwen2.5-1.5b", replace(LORA, micro_batch=4), 51_900_376_064),
        ("llama-3.1-8b", replace(LORA, micro_batch=2, checkpointing=True), 24_076_953_600),
    ],
)
def test_runs_on_one_h100(model: str, recipe: Recipe, published: int) -> None:
    """torch 2.11.0, transformers 5.17.0, random weights, three steps: max_memory_allocated (measure_training.py)."""
    assert allocated(named(model), recipe) == pytest.approx(published, rel=0.002)


@pytest.mark.parametrize(
    ("model", "tokens", "published"), [("qwen2.5-1.5b", 8192, 3_902_304_256), ("llama-3.2-3b", 8192, 8_003_689_472)]
)
def test_a_prefill_on_one_h100(model: str, tokens: int, published: int) -> None:
    assert prefill(named(model), tokens) == pytest.approx(published, rel=0.002)


def test_states_by_the_paper() -> None:
    """ZeRO, figure 1: 7.5 billion parameters, 64 GPUs."""
    sizes = [zero_states(7.5e9, 64, stage) / 1e9 for stage in range(4)]
    assert sizes == pytest.approx([120, 31.4, 16.6, 1.88], rel=0.005)


def test_states_as_deepspeed_estimates_them() -> None:
    assert zero_states(1e9, 8, 2, "code") == 2e9 + 18e9 / 8
    assert zero_states(1e9, 8, 2, "page") == 4e9 + 16e9 / 8
    assert zero_states(1e9, 8, 3, "code", largest_layer=1e8) == 18e9 / 8 + 4e8
    assert host_states(1e9, 8, 3, True, True) == 32e9 * 1.5


def test_activations_by_korthikanti() -> None:
    """Table 2: full recomputation keeps the input; sequence parallelism divides everything."""
    whole = korthikanti(2048, 12288, 96)
    assert korthikanti(2048, 12288, 96, tensor=8, parallel_sequence=True) == whole / 8
    assert korthikanti(2048, 12288, 96, recompute="full") == 2 * 2048 * 12288
