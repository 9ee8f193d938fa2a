"""Bytes of weights: of checkpoints as published, and the laws of sharing them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgpu.catalog.formats import formats
from mgpu.memory.weights import checkpoint, format_of, nominal, on_gpu, rotary, stages
from mgpu.values.model import Model, Stored
from tests.memory.known import LANGUAGE, known

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "quantization", "form"),
    [
        ("meta-llama/Llama-3.1-8B", None, "bf16"),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", None, "awq-int4"),
        ("x/Llama-3.1-8B-Instruct-GPTQ-Int4", None, "gptq-int4"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", None, "nf4"),
        ("RedHatAI/Llama-3.1-8B-FP8-dynamic", None, "fp8"),
        ("nvidia/Llama-3.1-8B-Instruct-NVFP4", None, "nvfp4"),
        ("models/Llama-3.1-8B-Q4_K_M.gguf", None, "Q4_K_M"),
        ("bartowski/Llama-3.1-8B-GGUF", "IQ4_XS", "IQ4_XS"),
        ("llama3.1:8b-instruct-q4_K_M", None, "Q4_K_M"),
        ("Llama-3.1-8B-F16.gguf", None, "F16"),
        ("Llama-3.1-8B-bf16", None, "bf16"),
        ("x/Llama-3.1-8B-AWQ", "fp8", "fp8"),
        ("meta-llama/Llama-3.1-8B", "awq-int4", "awq-int4"),
    ],
)
def test_the_format_is_what_the_spec_or_the_name_says(name: str, quantization: str | None, form: str) -> None:
    assert format_of(name, quantization, known("llama-3.1-8b")) == form


@pytest.mark.parametrize(
    ("name", "form"),
    [("deepseek-v3", "fp8-block"), ("gpt-oss-120b", "mxfp4"), ("llama-2-7b", "fp16"), ("kimi-k2.5", "int4-experts")],
)
def test_else_it_is_as_published(name: str, form: str) -> None:
    assert format_of(None, None, known(name)) == form
    assert format_of("x/model-FP8", "fp8", known("deepseek-v3")) == "fp8-block"


@pytest.mark.parametrize(
    ("name", "form", "size"),
    [
        ("deepseek-v3", "fp8-block", 688.57e9),
        ("llama-3.1-8b", "bf16", 2 * 8030261248),
        ("gpt-oss-120b", "mxfp4", 65.25e9),
        ("gpt-oss-20b", "mxfp4", 13.76e9),
        ("kimi-k2.5", "int4-experts", 595e9),
    ],
)
def test_checkpoints_are_as_large_as_published(name: str, form: str, size: float) -> None:
    """DeepSeek-V3's from the dtypes of its files; gpt-oss's: 60.8 and 12.8 GiB (arXiv 2508.10925, table 1)."""
    assert checkpoint(known(name), form) == pytest.approx(size, rel=2e-3)


def test_a_nominal_size_has_no_scales() -> None:
    assert nominal(405853388800, "awq-int4") == 405853388800 / 2


def test_a_checkpoint_that_was_read_is_exact() -> None:
    model = known("llama-3.1-8b")
    read = replace(model, stored=Stored("Q4_K_M", 10, 20, (30,) * 32, (0,) * 32, 5))
    assert checkpoint(read, "Q4_K_M") == 10 + 20 + 30 * 32 + 5
    assert checkpoint(read, "bf16") == checkpoint(model, "bf16")


def test_a_gpu_has_its_share_of_what_was_read() -> None:
    model = known("llama-3.1-8b")
    whole = checkpoint(model, "bf16")
    read = replace(model, stored=Stored("bf16", whole // 16, whole // 16, (whole * 14 // 16 // 32,) * 32, (0,) * 32))
    assert on_gpu(read, "bf16", 2) == pytest.approx(on_gpu(model, "bf16", 2), rel=1e-3)


@pytest.mark.parametrize("text", ["", "int3", "Q9_K"])
def test_a_format_that_there_is_not(text: str) -> None:
    with pytest.raises(ValueError, match="no format"):
        checkpoint(known("llama-3.1-8b"), text)


@given(
    model=st.sampled_from(LANGUAGE),
    form=st.sampled_from([*formats(), "Q4_K_M"]),
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.sampled_from([1, 2, 3]),
)
def test_all_gpus_together_hold_the_whole_text(model: Model, form: str, tensor: int, pipeline: int) -> None:
    """And one GPU of more never holds more."""
    text = replace(model, config={k: v for k, v in model.config.items() if k not in ("tower_params", "mtp_layers")})
    each = [on_gpu(text, form, tensor, pipeline, stage) for stage in range(pipeline)]
    assert tensor * sum(each) >= checkpoint(text, form) - pipeline * tensor
    more = [on_gpu(text, form, 2 * tensor, pipeline, stage) for stage in range(pipeline)]
    assert all(a <= b for a, b in zip(more, each, strict=True))


@given(layers=st.integers(1, 130), pipeline=st.integers(1, 16))
def test_stages_share_all_layers_as_evenly_as_can_be(layers: int, pipeline: int) -> None:
    counts = stages(layers, pipeline)
    assert sum(counts) == layers
    assert len(counts) == pipeline
    assert max(counts) - min(counts) <= 2


def test_left_over_layers_go_to_the_middle() -> None:
    assert stages(61, 8) == (7, 7, 8, 8, 8, 8, 8, 7)
    assert stages(32, 4) == (8, 8, 8, 8)


def test_experts_that_are_shared_out_whole() -> None:
    model = known("qwen3-30b-a3b")
    assert on_gpu(model, "bf16", 4, expert=4) == pytest.approx(on_gpu(model, "bf16", 4), rel=1e-3)
    assert on_gpu(model, "bf16", 1, expert=4) > on_gpu(model, "bf16", 4)


def test_the_table_of_rotations() -> None:
    assert rotary(known("llama-3.1-8b")) == 32 * 2**20
    assert rotary(known("deepseek-v3")) == 163840 * 64 * 2


def test_the_experts_of_gpt_oss_are_wider_on_a_gpu() -> None:
    """The gate's 2880 inputs become 3072, the 1440 outputs that each of two GPUs has become 1472."""
    model, each = known("gpt-oss-120b"), 36 * 128
    parts_ = 2 * 1472 * (3072 / 2 + 2880 / 32) + 2880 * (1536 / 2 + 1472 / 32)
    dense = on_gpu(
        replace(model, config={**model.config, "moe": {**model.config["moe"], "num_experts": 0}}), "mxfp4", 2
    )
    assert on_gpu(model, "mxfp4", 2) - dense == pytest.approx(each * parts_, rel=5e-3)
    assert on_gpu(model, "mxfp4", 1) / GIB == pytest.approx(64.33, abs=0.01)
