"""Rows as others may publish them, without an answer: each is answered, and the answers keep to what must hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tests.reference.asking import answers, asked
from tests.reference.layout_words import sides

KNOWN = answers()
H100 = {"gpu": "H100 80GB HBM3", "total_GiB": 79.19, "util": 0.95, "max_model_len": 8192, "max_num_seqs": 1024,
        "max_num_batched_tokens": 8192, "vllm": "0.19.0"}  # fmt: skip


def given(kind: str, inputs: Mapping[str, Any], unit: str = "GiB", what: str = "", note: str | None = None) -> Any:
    """What a row of this kind is answered with."""
    row = {"id": "x", "kind": kind, "what": what, "inputs": inputs, "unit": unit, "published": 1.0, "note": note}
    return KNOWN[kind](asked(row))


def on_h100(model: str, **more: object) -> dict[str, Any]:
    return {**H100, "model": model, **more}


SIZED: tuple[tuple[Any, ...], ...] = (
    ("vllm_weights", on_h100("qwen3-8b", tp=2), "GiB"),
    ("vllm_weights", on_h100("gpt-oss-20b", vllm="0.11.0"), "MiB"),
    ("vllm_weights", on_h100("llama-4-scout-fp8", tp=4), "GiB"),
    ("vllm_weights", on_h100("Qwen2.5-7B-Instruct-GPTQ-Int4"), "GB"),
    ("vllm_activation", on_h100("gemma-2-9b (vocab 256,000; hidden size 3584)"), "GiB"),
    ("vllm_activation", on_h100("olmoe-1b-7b (vocab 50304, hidden 2048, top-8 of 64, moe intermediate 1024)"), "GiB"),
    ("vllm_activation", on_h100("mistral-small-24b (vocab 131072, hidden 5120, intermediate 32768)"), "MiB"),
    ("vllm_activation", on_h100("phi-4", vllm="0.33.0", pp=2), "GiB"),
    ("vllm_nontorch", on_h100("phi-4", tp=8), "GiB"),
    ("vllm_nontorch", {"model": "llama-2-13b", "tp": 2, "gpu": "4x RTX 3090", "vllm": "0.6.x"}, "MiB"),
    ("vllm_kv_pool", on_h100("granite-3.1-8b", vllm="0.21.0", enforce_eager=True), "GiB"),
    ("vllm_kv_pool", on_h100("llama-3.1-8b", quantization="fp8 at load", dtype="float16"), "GB"),
    ("vllm_kv_pool", {"model": "qwen3-32b-awq", "gpu": "RTX 5090", "usage": "server"}, "GiB"),
    ("vllm_kv_pool", {"model": "llama-3.1-8b", "gpu": "A10G 24GB", "vllm": "0.9.2", "max_model_len": "8k"}, "GiB"),
    ("vllm_kv_tokens", on_h100("qwen2.5-7b", kv_cache_dtype="fp8_e5m2", block_size=32), "tokens"),
    ("vllm_kv_tokens", {"kv_tokens": "1,286,464", "max_model_len": "128k"}, "x"),
    ("vllm_kv_tokens", {"model": "llama-2-13b", "gpu": "A100-80GB", "tp": 1, "vllm": "0.2.4"}, "blocks"),
    ("vllm_kv_tokens_old", {"model": "llama-3.1-8b", "gpu": "L4", "max_num_seqs": 128}, "tokens"),
    ("kv", {"model": "Llama 3.1 70B", "kv_dtype": "fp8_e4m3", "tokens": "128k"}, "GB"),
    ("kv", {"model": "opt-13b (40 layers, hidden 5120)", "kv_dtype": "fp16", "tokens": 1}, "KB"),
    ("kv", {"model": "x (40 layers, 8 KV heads x 128)", "tokens": 1024, "batch": 4}, "MiB"),
    ("gguf_weights", {"model": "R1-distill Llama 8B", "ftype": "q5_k_m"}, "GB"),
    ("gguf_weights", {"model": "qwen2.5-32b", "quant": "Q4_K"}, "bits/weight"),
    ("gguf_weights", {"model": "gpt-oss-20b", "ftype": "MXFP4"}, "GiB"),
    ("weights", {"model": "mistral-7b", "dtype": "4-bit"}, "GB"),
    ("weights", {"component": "t5", "dtype": "fp8"}, "MiB"),
    ("weights", {"model": "bert-base-cased", "dtype": "float16", "fp32_MiB": 413.18}, "MiB"),
    ("device_total", {"gpu": "Tesla P40", "nvidia_smi_MiB": 24576}, "MiB", "total"),
    ("device_total", {"gpu": "NVIDIA B200"}, "GiB", "total GPU memory"),
    ("device_total", {"gpu": "A100", "torch": "2.5, CUDA 12.4"}, "MiB", "taken by the CUDA context"),
    ("llamacpp_buffers", {"model": "llama-3.1-8b", "n_ctx": 8192, "kv_type": "q8_0"}, "GiB", "KV self size"),
    ("llamacpp_buffers", {"layers": 30, "hidden": 3072, "ctx": 512}, "MiB", "KV buffer"),
    ("llamacpp_buffers", {"hidden": 3072, "vocab": 50688, "ctx": 512}, "MiB", "CUDA_Host compute buffer"),
    ("llamacpp_buffers", {"model": "qwen3-30b-a3b", "quant": "Q6_K"}, "MiB", "model buffer"),
    ("sglang_kv", {"model": "llama-3.1-8b", "gpu": "H100 80GB", "mem_fraction_static": 0.88}, "tokens", "tokens"),
    ("sglang_kv", {"bytes_per_token": 12288, "tokens": 1000000}, "GB", "V size of the pool"),
    ("diffusion", {"model": "flux.1-dev", "precision": "bnb4"}, "GiB", "memory after loading"),
    ("diffusion", {"model": "flux.1-dev", "precision": "quanto_fp8"}, "GB", "peak"),
    ("training_states", {"params_B": 128, "dp": 64, "zero": "Pos+g"}, "GB"),
    ("training_states", {"params": 2.85e9, "gpus": 8, "zero": 3, "offload_optimizer": "cpu"}, "GiB", "per CPU"),
    ("activation_theory", {"heads": 128, "seq": 2048, "hidden": 20480}, "%", "share removed"),
    ("activation_theory", {"a": 96, "s": 2048, "h": 12288, "t": 8, "L": 96}, "GiB", "activations per GPU"),
    ("training_measured", {"model": "Llama 3.1 8B", "recipe": "qlora", "gpu": "RTX 4090"}, "GiB"),
    ("training_measured", {"model": "llama-3.1-8b", "recipe": "DoRA, 2 GPUs FSDP", "gpu": "2x A100"}, "MiB"),
    ("training_rule_of_thumb", {"params_B": "27"}, "GB", "minimum VRAM, QLoRA 4-bit"),
    ("training_rule_of_thumb", {"model": "yi-34b", "recipe": "full"}, "GB", "fine-tuning memory"),
)


@pytest.mark.parametrize("row", SIZED, ids=lambda row: f"{row[0]} {row[1].get('model')} {row[2]}")
def test_a_size_is_a_positive_number(row: tuple[Any, ...]) -> None:
    answer = given(*row)
    assert not isinstance(answer, bool)
    assert 0 < answer < math.inf


@pytest.mark.parametrize("recipe", ["pure-bf16-adamw", "qlora-r16-nf4", "bf16-autocast-fp32-sgd", "fp32-adamw"])
def test_own_runs_of_other_recipes_are_answered(recipe: str) -> None:
    sizes = [
        KNOWN["train"]({"recipe": recipe, "model": "qwen2.5-7b", "seq": seq, "micro_batch": 1, "ckpt": True})
        for seq in (512, 8192)
    ]
    assert 0 < sizes[0] <= sizes[1] < math.inf  # type: ignore[operator]


@pytest.mark.parametrize(
    ("inputs", "right"),
    [
        ({"model": "llama-2-70b", "dtype": "fp16", "gpu": "4x A10G 24GB"}, False),
        ({"model": "llama-2-70b", "dtype": "fp16", "gpu": "4x A100 80GB"}, True),
        ({"model": "llama-2-7b", "dtype": "fp16", "gpu": "1x 24GB"}, True),
        ({"model": "llama-3.1-405b", "dtype": "fp8", "gpu": "8x H100 80GB"}, True),
        ({"model": "llama-3.1-405b", "quant": "bf16", "gpu": "8x H100 80GB"}, False),
        ({"model": "llama-3.1-405b", "quant": "bf16", "gpu": "2x 8x H100 80GB"}, True),
        ({"model": "deepseek-v3", "quant": "fp8", "gpu": "8x A100 80GB"}, False),
        ({"model": "llama-4-scout", "quant": "int4", "gpu": "1x H100 80GB"}, True),
        ({"model": "llama-33b", "recipe": "qlora nf4 double quant + paged optimizer", "gpu": "1x 24GB"}, True),
        ({"model": "llama-65b", "recipe": "qlora nf4 double quant + paged optimizer", "gpu": "1x 24GB"}, False),
        ({"model": "llama-65b", "recipe": "full, 16-bit", "gpu": "8x 80GB"}, False),
        ({"model": "flux.1-dev", "dtype": "bf16", "gpu": "RTX 4090 24GB"}, False),
    ],
)
def test_what_fits_by_its_weights_alone_is_said_to(inputs: dict[str, Any], right: bool) -> None:
    assert given("fits", inputs, "fits", "runs") is right


def test_units_say_the_same() -> None:
    row = on_h100("phi-4")
    assert given("vllm_kv_pool", row, "MiB") == pytest.approx(1024 * given("vllm_kv_pool", row, "GiB"))
    tokens, blocks = (given("vllm_kv_tokens", row, unit) for unit in ("tokens", "blocks"))
    assert blocks == pytest.approx(tokens / 16)


def test_sizes_grow_with_what_they_are_made_for() -> None:
    """The pool with every GPU more, the activations with sequences and vocabulary, the cache with fewer bytes."""
    pools = [given("vllm_kv_pool", on_h100("llama-3.1-70b-fp8", tp=size)) for size in (2, 4, 8)]
    assert pools == sorted(pools)
    for name in ("qwen3-0.6b", "phi-4", "gemma-2-9b", "mixtral-8x7b"):
        peaks = [given("vllm_activation", on_h100(name, max_num_seqs=seqs)) for seqs in (64, 256, 1024)]
        assert peaks == sorted(peaks)
    full, half = (given("vllm_kv_tokens", on_h100("phi-4", kv_cache_dtype=kind), "tokens") for kind in ("auto", "fp8"))
    assert half == pytest.approx(2 * full, rel=0.01)
    files = [given("gguf_weights", {"model": "llama-3.1-8b", "ftype": kind}) for kind in ("Q2_K", "Q4_K", "Q8_0")]
    assert files == sorted(files)
    states = [given("training_states", {"params": 7.5e9, "dp": 64, "zero": stage}, "GB") for stage in (3, 2, 1, 0)]
    assert states == sorted(states)


LAYOUTS = (
    ("tp_vs_pp", "output throughput", "8x L4, llama-3.1-70b", "TP4 PP2", "TP8"),
    ("tp_vs_pp", "batch 1 latency", "HGX H200, Llama 3.1 405B", "tensor parallelism", "pipeline parallelism"),
    ("tp_vs_pp_pcie", "single-stream decode", "4x RTX 3090, 70B AWQ", "TP4", "PP4"),
    ("replicas_vs_tp", "tok/s, llama-3.1-8b", "8x L4", "8 x 1 GPU", "TP8"),
    ("replicas_vs_tp", "single-stream tok/s", "2x RTX 3090, qwen3-14b awq", "TP2", "2 replicas"),
    ("mla_dp_vs_tp", "throughput at 2048 concurrency", "8x H200, DeepSeek-R1, SGLang", "DEP8", "TEP8"),
    ("mla_dp_vs_tp", "TPOT, concurrency 1", "8x H200, DeepSeek-V3, vLLM", "TP8", "DP8 + EP"),
    ("nvlink_vs_pcie", "output throughput", "4x RTX 3090, two bridges", "TP2 on an NVLink pair", "TP2 across pairs"),
    ("nvlink_vs_pcie", "prefill, 70B", "8x H100 vs 8x H100 PCIe", "H100 SXM", "H100 PCIe"),
    ("interconnect_ab_consumer", "prefill", "8x RTX 3090, PCIe 4.0", "P2P patched driver", "stock driver"),
    ("llamacpp_split", "pp512", "4x RTX 3090, Llama-70B IQ4_XS", "split mode graph", "split mode layer"),
    ("tp_degree_pcie", "single stream, 27B INT8", "4x RTX 3090", "four cards", "two cards"),
    ("uneven_gpus", "prefill", "RTX 5090 + RTX 3090 Ti, both x8", "two RTX 5090", "measured mixed"),
)


@pytest.mark.parametrize(("kind", "what", "setup", "better", "worse"), LAYOUTS)
def test_an_ordering_that_physics_demands(kind: str, what: str, setup: str, better: str, worse: str) -> None:
    row = {"kind": kind, "what": what, "setup": setup, "better": better, "worse": worse, "source": "someone"}
    seen = asked(row)
    assert seen["options"][KNOWN[kind](seen)] == better  # type: ignore[index]


@pytest.mark.parametrize(
    ("setup", "first", "second", "gpus"),
    [
        ("A100 80GB x4", "SXM", "PCIe", (["a100-sxm4-80gb"] * 4, ["a100-pcie-80gb"] * 4)),
        ("2x A100 PCIe", "TP2", "PP2", (["a100-pcie-80gb"] * 2,) * 2),
        ("8x H100 against 8x H100 PCIe", "H100 SXM", "H100 PCIe", (["h100-sxm"] * 8, ["h100-pcie"] * 8)),
        ("RTX 4090 and RTX 3090", "4090 only", "TP2", (["rtx-4090"], ["rtx-4090", "rtx-3090"])),
    ],
)
def test_the_gpus_of_a_side(setup: str, first: str, second: str, gpus: tuple[list[str], ...]) -> None:
    found = sides({"kind": "tp_vs_pp", "setup": setup, "what": "tp throughput"}, (first, second))
    assert tuple([gpu.product for gpu in side.gpus] for side in found) == gpus
