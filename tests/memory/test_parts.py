"""Parameters by part: every count of the catalogue follows from the dimensions, to the last one."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest

from mgpu.memory.parts import key, part_of, parts, tensors
from mgpu.values.model import Model
from tests.memory.known import LANGUAGE, known

SCALED = ("deepseek-v3", "deepseek-r1")
"""Rows whose total, as the hub counts it, has the scales of the blocks too."""


@pytest.mark.parametrize("model", LANGUAGE, ids=lambda model: model.id)
def test_every_count_of_the_catalogue_follows_from_the_dimensions(model: Model) -> None:
    found = parts(model)
    assert found.text == model.text_params
    assert len(found.layers) == model.layers
    if model.id not in SCALED:
        assert found.text + found.mtp + found.towers == model.params


@pytest.mark.parametrize("name", SCALED)
def test_the_scales_of_blocks_make_up_the_rest_of_deepseek(name: str) -> None:
    """684,531,386,000: the text, the layer that guesses ahead, and a scale for each 128 x 128 quantized weights."""
    model = known(name)
    found = parts(model)
    layers = [*range(len(found.layers)), len(found.layers) - 1]
    scales = sum(
        ceil(tensor.rows * (tensor.copies if tensor.role in ("attn_k_b", "attn_v_b") else 1) / 128)
        * ceil(tensor.columns / 128)
        * (tensor.copies if tensor.role.endswith("_exps") else 1)
        for index in layers
        for tensor in tensors(key(model), index)
        if part_of(tensor) not in ("small", "router")
    )
    assert abs(found.text + found.mtp + scales - (model.params or 0)) < 1e-7 * (model.params or 0)


def test_a_part_is_what_its_name_says() -> None:
    model = known("mixtral-8x7b")
    layer = parts(model).layers[0]
    assert layer.experts == 8 * 3 * 4096 * 14336
    assert layer.router == 8 * 4096
    assert layer.mlp == 0
    assert layer.attention == 2 * 4096 * 4096 + 2 * 4096 * 1024
    assert layer.small == 2 * 4096


def test_shared_experts_are_among_the_mlp_and_the_first_layers_are_dense() -> None:
    found = parts(known("deepseek-v3"))
    assert found.layers[2].experts == 0
    assert found.layers[2].mlp == 3 * 7168 * 18432
    assert found.layers[3].mlp == 3 * 7168 * 2048
    assert found.layers[3].experts == 256 * 3 * 7168 * 2048


def test_a_tied_head_is_counted_once() -> None:
    assert parts(known("llama-3.2-1b")).head == 0
    assert parts(known("llama-3.1-8b")).head == 128256 * 4096


def test_what_is_not_known_is_said_by_name() -> None:
    model = known("llama-3.1-8b")
    less = replace(model, config={k: v for k, v in model.config.items() if k != "intermediate_size"})
    with pytest.raises(ValueError, match="intermediate_size"):
        parts(less)
    with pytest.raises(ValueError, match="hidden_size, num_hidden_layers, vocab_size"):
        parts(replace(model, config={}))
