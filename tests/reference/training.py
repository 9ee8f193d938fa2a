"""Answers about training: what is asked of a published row's recipe is put to the planner's own functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mgpu.catalog.models import by_name
from mgpu.memory.training import CONTEXT, allocated, prefill
from mgpu.memory.zero import Rule, korthikanti, scores, zero_states
from mgpu.values.memory import GIB, MIB
from mgpu.values.model import Model
from mgpu.values.recipe import MATRICES, Recipe

UNITS = {"GiB": GIB, "MiB": MIB, "GB": 1e9, "MB": 1e6, "bytes": 1, "B": 1}
Row = Mapping[str, Any]


def _model(row: Row) -> Model:
    name = row["model"]
    model = by_name(name)
    if model is None:
        raise ValueError(f"{name} is not in the catalogue")
    return model


def states(row: Row) -> float:
    """Model states on a GPU."""
    given = row["inputs"]
    text = f"{given.get('rule', '')} {given.get('bytes', '')}"
    rule: Rule = "page" if "4P" in text else "paper" if "2+2+12" in text else "code"
    optimizer, parameters = (given.get(key) in ("cpu", "nvme", True) for key in ("offload_optimizer", "offload_param"))
    gpus = int(given.get("gpus") or given.get("dp") or 1)
    size = zero_states(
        given["params"], gpus, int(given["zero"]), rule, optimizer, parameters, given.get("largest_layer") or 0
    )
    return size / UNITS[row["unit"]]


TUNE = {
    ("lora", "llama-3.1-8b"): (8, ("q", "v")),
    ("lora", "llama-3.1-70b"): (16, ("q", "k", "v")),
    ("qlora", "llama-3.1-8b"): (8, MATRICES),
    ("qlora", "llama-3.1-405b"): (16, MATRICES),
}
"""Rank and adapted matrices of torchtune's recipes when its table was made (pytorch/torchtune at 30b8519e,
recipes/configs/llama3_1)."""


def tuned(row: Row) -> tuple[Recipe, int]:
    """The recipe of torchtune that a row names, with what its config at 30b8519e sets and the row does not say, and the
    number of GPUs: checkpointing unless it is said to be off; chunked cross-entropy; bf16 throughout; 8-bit paged AdamW
    within the backward pass for a full single-device run, else the fused one."""
    given = row["inputs"]
    text = f"{given['recipe']} {row.get('note', '')}".lower()
    method = "qlora" if "qlora" in text else "lora" if "lora" in text else "full"
    ranks = int((re.search(r"(\d+) ?x", str(given.get("gpu", ""))) or re.search(r"(\d+) gpus", text) or ["", "1"])[1])
    single = method == "full" and ranks == 1
    offload = "cpu offload" in text
    rank, adapted = TUNE.get((method, given["model"]), (8, MATRICES))
    recipe = Recipe(
        method=method,  # type: ignore[arg-type]
        precision="bf16",
        optimizer="paged-adamw-8bit" if single else "adamw-fused",
        sharding="fsdp" if ranks > 1 else "none",
        micro_batch=int(given["batch"]),
        sequence=int(given["seq"]),
        checkpointing=not re.search(r"checkpointing off|no memory tricks", text),
        lora_rank=rank,
        adapted=adapted,
        offload_optimizer=offload,
        offload_parameters=offload,
        loss="chunked",
        backward_step=single,
        compile=bool(given.get("compile")),
        expanded=True,
        adapters_in_fp32=False,
        split_ends=method == "full",
    )
    return recipe, ranks


def measured(row: Row) -> float:
    """The published peak of a training, on a GPU."""
    recipe, ranks = tuned(row)
    return allocated(_model(row["inputs"]), recipe, ranks) / UNITS[row["unit"]]


def rule_of_thumb(row: Row) -> float:
    """What authors print without a recipe: the states of a full training in bf16 with AdamW, or 16- or 4-bit weights
    and what a micro batch of one takes at 2048 tokens with checkpointing, of the nearest model of the catalogue."""
    given = row["inputs"]
    text = f"{given.get('recipe', '')} {row.get('what', '')}".lower()
    method = "qlora" if "qlora" in text else "lora" if "lora" in text else "full"
    recipe = Recipe(
        method=method,  # type: ignore[arg-type]
        precision="bf16",
        optimizer="adamw-8bit",
        sharding="none",
        checkpointing=True,
        loss="fused",
    )
    model = by_name(given["model"]) if "model" in given else None
    model = model or _nearest(float(given["params_B"]) * 1e9)
    size = allocated(model, recipe) * (
        float(given["params_B"]) * 1e9 / (model.params or 1) if "params_B" in given else 1
    )
    return size / UNITS[row["unit"]]


def _nearest(params: float) -> Model:
    from mgpu.catalog.models import models

    dense = [model for model in models() if model.kind == "llm" and not model.experts and model.params]
    return min(dense, key=lambda model: abs((model.params or 0) / params - 1))


def theory(row: Row) -> float:
    """Megatron's activations: the share that selective recompute removes, or the term of the scores."""
    given = row["inputs"]
    sizes = (int(given["s"]), int(given["h"]), int(given["a"]))
    if row["unit"] in UNITS:
        tensor = int(given.get("t") or 1)
        layers = int(given.get("L") or 1)
        size = korthikanti(*sizes, int(given.get("b") or 1), tensor, bool(given.get("sequence_parallel")))
        return size * layers / UNITS[row["unit"]]
    whole, part = korthikanti(*sizes), korthikanti(*sizes, recompute="selective")
    return 100 * (1 - part / whole) if row["unit"] == "percent" else scores(*sizes)


RECIPES = {"bf16-autocast-fp32": ("full", "amp"), "pure-bf16": ("full", "bf16"), "lora": ("lora", "bf16")}
"""How runs of one's own name theirs, by how the name begins."""


def trained(row: Row) -> int:
    """The peak of a run of one's own with transformers on one GPU, in bytes."""
    method, precision = next(known for start, known in RECIPES.items() if row["recipe"].startswith(start))
    rank = re.search(r"-r(\d+)", row["recipe"])
    recipe = Recipe(
        method=method,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        sharding="none",
        micro_batch=int(row["micro_batch"]),
        sequence=int(row["seq"]),
        checkpointing=bool(row["ckpt"]),
        lora_rank=int(rank[1]) if rank else 16,
    )
    return allocated(_model(row), recipe)


def inferred(row: Row) -> int:
    """The peak of a forward pass with transformers, in bytes."""
    return prefill(_model(row), int(row["seq"]) * int(row["micro_batch"]))


ANSWERS: dict[str, Callable[[Row], object]] = {
    "training_states": states,
    "training_measured": measured,
    "training_rule_of_thumb": rule_of_thumb,
    "activation_theory": theory,
    "train": trained,
    "infer": inferred,
    "context": lambda _: CONTEXT,
}
