"""What a spec says of a model that nobody else knows in, the model out: `model_facts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mgpu.spec.scalars import Choice, Integer, Number
from mgpu.spec.shapes import Key, Made, Record

if TYPE_CHECKING:
    from mgpu.values.model import Model

MOST = 2**31 - 1
COUNT = Integer(1, MOST)
NEAR = 0.1
"""How well `parameters` must agree with the other facts."""

KEYS = {
    "layers": Key(Integer(1, 10000), "layers", True),
    "hidden": Key(COUNT, "the width of what goes from layer to layer: hidden_size", True),
    "heads": Key(COUNT, "attention heads", True),
    "kv_heads": Key(COUNT, "heads of keys and values; as many as heads if left out"),
    "head_dim": Key(COUNT, "the width of a head; hidden / heads if left out"),
    "intermediate": Key(COUNT, "the width of the MLP, or of a dense layer's where others have experts", True),
    "vocabulary": Key(COUNT, "entries of the vocabulary", True),
    "experts": Key(Integer(0, 65536), "experts of each layer; 0 if left out"),
    "experts_per_token": Key(COUNT, "experts that a token goes through"),
    "expert_intermediate": Key(COUNT, "the width of an expert; as intermediate if left out"),
    "parameters": Key(Number(1.0), "all parameters, as 8.03e9: tells whether embedding and head are one"),
    "context": Key(COUNT, "tokens of context that it was made for"),
    "dtype": Key(
        Choice(("bfloat16", "float16", "float32", "fp8", "int8", "awq-int4", "gptq-int4", "nf4", "mxfp4", "nvfp4")),
        "how its weights are stored; bfloat16 if left out",
    ),
}


def _model(**given: Any) -> Model:
    from mgpu.catalog.configs import described

    heads = given["heads"]
    if given["hidden"] % heads and "head_dim" not in given:
        raise ValueError("lacks head_dim: hidden does not divide by heads", "give head_dim")
    if heads % given.get("kv_heads", heads):
        raise ValueError(f"has {heads} heads, which do not divide by {given['kv_heads']} kv_heads", "mend kv_heads")
    config = {
        "hidden_size": given["hidden"],
        "num_hidden_layers": given["layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": given.get("kv_heads", heads),
        "head_dim": given.get("head_dim", given["hidden"] // heads),
        "intermediate_size": given["intermediate"],
        "vocab_size": given["vocabulary"],
        "tie_word_embeddings": False,
        "max_position_embeddings": given.get("context"),
    }
    if given.get("experts", 0) > 1:
        config["moe"] = {
            "num_experts": given["experts"],
            "top_k": given.get("experts_per_token", 1),
            "intermediate": given.get("expert_intermediate", given["intermediate"]),
        }
    dtype = {"fp8": "float8_e4m3fn"}.get(given.get("dtype", ""), given.get("dtype", "bfloat16"))
    return _counted(described("model_facts", config, dtype, "the spec"), given.get("parameters"))


def _counted(model: Model, said: float | None) -> Model:
    """The model with its parameters counted. Raises ValueError where the spec says another number."""
    from dataclasses import replace

    from mgpu.memory.parts import parts

    ways = [replace(model, config={**model.config, "tie_word_embeddings": tied}) for tied in (False, True)]
    counts = [parts(way).text for way in ways]
    if said is None:
        return replace(ways[0], params=counts[0], text_params=counts[0])
    near = min((0, 1), key=lambda way: abs(counts[way] - said))
    if abs(counts[near] / said - 1) > NEAR:
        message = f"says {said / 1e9:.4g}e9 parameters, and its other facts make {counts[near] / 1e9:.4g}e9"
        raise ValueError(message, "mend what is wrong, or leave parameters out")
    return replace(ways[near], params=int(said), text_params=int(said))


FACTS = Made(Record(dict, KEYS), lambda given: _model(**given))
