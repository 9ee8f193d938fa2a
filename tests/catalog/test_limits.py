"""What a model is not made for is told before anything is rented."""

from __future__ import annotations

import pytest

from mgpu.spec.check import check
from mgpu.spec.document import read

MISTRAL = "kind: inference\nname: a\nengine: {}\nmodel: mistralai/Mistral-7B-Instruct-v0.3\ncontext_length: {}\n"


def told(text: str) -> list[str]:
    return [f"{problem.message}; {problem.hint}" for problem in check(read("a", text)).warnings]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_more_context_than_the_model_is_made_for(engine: str) -> None:
    assert told(MISTRAL.format(engine, 32768)) == []
    (words,) = told(MISTRAL.format(engine, 200000))
    assert "context_length is 200,000, and mistral-7b-v0.3 is made for 32,768" in words
    assert "context_length: 32768" in words


def test_whoever_stretches_the_model_knows_why() -> None:
    long = MISTRAL.format("vllm", 65536)
    assert told(long + "env: {VLLM_ALLOW_LONG_MAX_MODEL_LEN: '1'}\n") == []
    assert told(long + "args: {hf-overrides: '{}'}\n") == []
    assert told(MISTRAL.format("llamacpp", 65536)) == []
