"""The model catalogue: every name leads to its model, no name to a wrong one, and the sizes agree with each other."""

from __future__ import annotations

import pytest

from mgpu.catalog.models import by_name, models
from mgpu.values.model import Model

LANGUAGE = [model for model in models() if model.heads]
UNLIKE = {"mla", "linear", "blocks", "global"}
"""Dimensions of models whose layers are not all attention and an MLP of one shape."""


@pytest.mark.parametrize("model", models(), ids=lambda model: model.id)
def test_every_name_leads_to_its_model(model: Model) -> None:
    for name in (model.id, model.repository, *model.aliases):
        assert by_name(name) is model
        assert by_name(name.upper()) is model


def test_no_two_models_are_called_the_same() -> None:
    names = [name.lower() for model in models() for name in (model.id, model.repository, *model.aliases)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "id_"), [
    ("meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b"),
    ("hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "llama-3.1-70b"),
    ("RedHatAI/Meta-Llama-3.1-405B-Instruct-FP8", "llama-3.1-405b"),
    ("neuralmagic/Meta-Llama-3.1-405B-Instruct-quantized.w4a16", None),
    ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "llama-3.1-8b"),
    ("bartowski/Meta-Llama-3.1-70B-Instruct-GGUF", "llama-3.1-70b"),
    ("nvidia/Llama-3.3-70B-Instruct-FP8", "llama-3.3-70b"),
    ("Qwen/Qwen2.5-32B-Instruct-AWQ", "qwen2.5-32b"),
    ("Qwen/Qwen3-8B-FP8", "qwen3-8b"),
    ("cognitivecomputations/DeepSeek-V3-AWQ", "deepseek-v3"),
    ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
    ("models/Llama-3.1-8B-Instruct/", "llama-3.1-8b"),
    ("llama3.1:70b", "llama-3.1-70b"),
    ("nvidia/Llama-3.1-Nemotron-70B-Instruct-HF", "llama-3.1-nemotron-70b"),
    ("nvidia/Llama-3.1-Nemotron-Ultra-253B-v1", None),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "deepseek-r1-distill-qwen-32b"),
    ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", None),
    ("Qwen/Qwen2.5-Coder-32B-Instruct", "qwen2.5-coder-32b"),
    ("Qwen/Qwen2.5-VL-32B-Instruct", None),
    ("nvidia/Qwen3.6-27B-NVFP4", "qwen3.6-27b"),
    ("meta-llama/Llama-3.2-11B-Vision-Instruct", None),
    ("", None),
])  # fmt: skip
def test_what_names_mean(name: str, id_: str | None) -> None:
    found = by_name(name)
    assert (found.id if found else None) == id_


@pytest.mark.parametrize("model", models(), ids=lambda model: model.id)
def test_every_row_has_its_sources(model: Model) -> None:
    assert all(model.facts.get(key) for key in ("source_config", "source_count"))


@pytest.mark.parametrize("model", LANGUAGE, ids=lambda model: model.id)
def test_the_sizes_agree(model: Model) -> None:
    assert model.heads
    assert model.kv_heads
    assert model.heads % model.kv_heads == 0
    assert model.params
    assert model.text_params
    assert model.params >= model.text_params


@pytest.mark.parametrize(
    "model", [m for m in LANGUAGE if not m.experts and not m.config.keys() & UNLIKE], ids=lambda model: model.id
)
def test_a_dense_model_has_the_parameters_that_its_dimensions_give(model: Model) -> None:
    """Embeddings, attention, a gated MLP and the norms: to within a tenth of a percent, which biases and norms are."""
    config = model.config
    hidden, layers, heads, kv = config["hidden_size"], model.layers, model.heads, model.kv_heads
    assert layers
    assert heads
    assert kv
    attention = hidden * config["head_dim"] * (2 * heads + 2 * kv)
    layer = attention + 3 * hidden * config["intermediate_size"] + 2 * hidden
    embedding = config["vocab_size"] * hidden * (1 if config["tie_word_embeddings"] else 2)
    assert model.text_params
    assert abs((layers * layer + embedding) / model.text_params - 1) < 1e-3
