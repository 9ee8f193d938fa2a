"""`model_facts`: a model that only the spec knows, and what is wrong with what it says."""

from __future__ import annotations

import pytest

from mgpu.errors import SpecError
from mgpu.memory.parts import parts
from mgpu.plan.models import model_of
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import Machine
from mgpu.values.model import Model
from mgpu.values.spec import Job

LLAMA = "layers: 32, hidden: 4096, heads: 32, kv_heads: 8, intermediate: 14336, vocabulary: 128256"


def job(facts: str, model: str = "acme/secret-8b") -> Job:
    text = f"kind: inference\nengine: vllm\nmodel: {model}\nmodel_facts: {{{facts}}}\n"
    return check(read("spec.yaml", text)).jobs[0]


def told(facts: str) -> Model:
    model = job(facts).model_facts
    assert model
    return model


def test_a_model_that_only_the_spec_knows() -> None:
    model = told(LLAMA + ", parameters: 8.03e9, dtype: bfloat16, context: 8192")
    assert (model.origin, model.params, model.context) == ("the spec", 8030000000, 8192)
    assert parts(model).text == 8030261248
    assert told(LLAMA).params == 8030261248


def test_the_parameters_tell_whether_head_and_embedding_are_one() -> None:
    tied = told("layers: 16, hidden: 2048, heads: 32, kv_heads: 8, head_dim: 64, intermediate: 8192, "
                "vocabulary: 128256, parameters: 1.24e9")  # fmt: skip
    assert tied.config["tie_word_embeddings"]
    assert parts(tied).head == 0
    assert not told(LLAMA + ", parameters: 8e9").config["tie_word_embeddings"]


def test_experts() -> None:
    model = told("layers: 32, hidden: 4096, heads: 32, kv_heads: 8, intermediate: 14336, vocabulary: 32000, "
                 "experts: 8, experts_per_token: 2, parameters: 46.7e9")  # fmt: skip
    assert model.experts == 8
    assert parts(model).text == 46702792704


@pytest.mark.parametrize(
    ("facts", "column", "words"),
    [
        (LLAMA.replace("hidden: 4096, ", ""), 1, "hidden is missing"),
        (LLAMA + ", layer: 3", 106, "unknown key 'layer'"),
        (LLAMA.replace("32,", "0,", 1), 23, "layers"),
        (LLAMA + ", parameters: 70e9", 14, "says 70e9 parameters, and its other facts make 8.03e9"),
        (LLAMA + ", parameters: 0", 118, "at least 1"),
        (LLAMA.replace("heads: 32", "heads: 33", 1), 14, "head_dim"),
        (LLAMA.replace("kv_heads: 8", "kv_heads: 5"), 14, "do not divide by 5 kv_heads"),
        (LLAMA + ", dtype: int3", 113, "dtype"),
    ],
)
def test_what_is_wrong_is_pointed_at(facts: str, column: int, words: str) -> None:
    with pytest.raises(SpecError) as raised:
        job(facts)
    (problem,) = raised.value.problems
    assert words in problem.message
    assert problem.mark
    assert (problem.mark.line, problem.mark.column) == (4, column)


def test_who_knows_a_model_best() -> None:
    known = "meta-llama/Llama-3.1-8B"
    catalogue = model_of(plain(known), Machine("here"))
    assert catalogue
    assert catalogue.origin == "the catalogue"
    own = Model(known, known, origin="safetensors headers")
    assert model_of(plain(known), Machine("here", models=((known, own),))) is own
    spec = job(LLAMA, known)
    assert model_of(spec, Machine("here", models=((known, own),))) is spec.model_facts
    assert model_of(plain("acme/unheard-of"), Machine("here")) is None


def plain(model: str) -> Job:
    return check(read("spec.yaml", f"kind: inference\nengine: vllm\nmodel: {model}\n")).jobs[0]
