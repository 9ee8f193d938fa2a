"""Answers about training: what is asked of a published row's recipe is put to the planner's own functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mgpu.memory.training import CONTEXT, allocated, prefill
from mgpu.memory.zero import Rule, host_states, korthikanti, scores, zero_states
from mgpu.values.model import Model
from mgpu.values.recipe import MATRICES, Recipe
from tests.reference.reading import UNITS, count_of, known, model_named, nearest, params_of, unit_of

Row = Mapping[str, Any]


def _model(row: Row) -> Model:
    return model_named(str(row["model"]))


def _params(given: Row) -> float:
    said = given.get("params") or 1e9 * float(given.get("params_B") or 0)
    return float(said or model_named(given["model"]).params or 0)


STAGES = ("none|^dp|baseline", "os$|pos$|optimizer", r"g$|gradient", r"p$|parameter")
"""How a stage of ZeRO is called where it has no number: what is shared, the last of these."""


def _stage(said: object) -> int:
    text = str(said if said is not None else 0).lower()
    if number := re.search(r"[0-3]", text):
        return int(number[0])
    return max((at for at, words in enumerate(STAGES) if re.search(words, text)), default=0)


def states(row: Row) -> float:
    """Model states on a GPU."""
    given = row["inputs"]
    text, what = f"{given.get('rule', '')} {given.get('bytes', '')}", str(row.get("what", "")).lower()
    stage = _stage(given.get("zero"))
    by_paper = "2+2+12" in text or stage < 2 or ("dp" in given and not given.get("rule"))
    rule: Rule = "page" if "4P" in text else "paper" if by_paper else "code"
    optimizer, parameters = (given.get(key) in ("cpu", "nvme", True) for key in ("offload_optimizer", "offload_param"))
    gpus = int(given.get("gpus") or given.get("dp") or 1) * int(given.get("nodes") or 1)
    params = _params(given)
    if re.search(r"\b(per )?(cpu|host)( memory| ram)?\b(?! offload)", what) and "gpu" not in what:
        return host_states(params, gpus, stage, optimizer, parameters) / unit_of(row)
    largest = float(given.get("largest_layer") or 0)
    return zero_states(params, gpus, stage, rule, optimizer, parameters, largest) / unit_of(row)


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
    method = method_of(text)
    ranks = int((re.search(r"(\d+) ?x", str(given.get("gpu", ""))) or re.search(r"(\d+) gpus", text) or ["", "1"])[1])
    single = method == "full" and ranks == 1
    offload = "cpu offload" in text
    rank, adapted = TUNE.get((method, _model(given).id), (8, MATRICES))
    recipe = Recipe(
        method=method,  # type: ignore[arg-type]
        precision="bf16",
        optimizer="paged-adamw-8bit" if single else "adamw-fused",
        sharding="fsdp" if ranks > 1 else "none",
        micro_batch=int(given.get("batch") or 2),
        sequence=count_of(given.get("seq") or 2048),
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
    return allocated(_model(row["inputs"]), recipe, ranks) / unit_of(row)


def rule_of_thumb(row: Row) -> float:
    """What authors print without a recipe: the states of a full training in bf16 with AdamW, or 16- or 4-bit weights
    and what a micro batch of one takes at 2048 tokens with checkpointing, of the nearest model of the catalogue."""
    given = row["inputs"]
    text = f"{given.get('recipe', '')} {given.get('method', '')} {row.get('what', '')}".lower()
    method = method_of(text)
    recipe = Recipe(
        method=method,  # type: ignore[arg-type]
        precision="bf16",
        optimizer="adamw-8bit",
        sharding="none",
        checkpointing=True,
        loss="fused",
    )
    model = known(given["model"]) if "model" in given else None
    wanted = float(model.params or 0) if model else _params_said(given)
    model = model or nearest(wanted)
    return allocated(model, recipe) * wanted / (model.params or 1) / unit_of(row)


def _params_said(given: Row) -> float:
    return float(given.get("params") or 1e9 * float(given.get("params_B") or 0) or params_of(str(given.get("model"))))


def method_of(text: str) -> str:
    """How a text says that a model is trained."""
    plainly = text.lower()
    four = re.search(r"qlora|qdora|\b4[- ]?bit|nf4", plainly)
    return "qlora" if four else "lora" if re.search(r"lora|dora|adapter", plainly) else "full"


def theory(row: Row) -> float:
    """Megatron's activations: the share that selective recompute removes, or the term of the scores."""
    given = row["inputs"]
    names = (("s", "seq", "sequence"), ("h", "hidden", "hidden_size"), ("a", "heads", "attention_heads"))
    sizes = tuple(next(int(given[name]) for name in some if name in given) for some in names)
    if row["unit"] in UNITS:
        tensor = int(given.get("t") or 1)
        layers = int(given.get("L") or 1)
        size = korthikanti(*sizes, int(given.get("b") or 1), tensor, bool(given.get("sequence_parallel")))
        return size * layers / unit_of(row)
    whole, part = korthikanti(*sizes), korthikanti(*sizes, recompute="selective")
    return 100 * (1 - part / whole) if row["unit"] in ("percent", "%") else scores(*sizes)


def _precision(text: str) -> str:
    """What a run of one's own computes in, by the words of its name: ``bf16-autocast-fp32-adamw``, ``pure-bf16``."""
    return "amp" if re.search(r"autocast|amp", text) else "bf16" if re.search(r"bf16|lora", text) else "fp32"


OPTIMIZERS = (
    (r"paged.*8-?bit", "paged-adamw-8bit"), (r"8-?bit", "adamw-8bit"), (r"fused", "adamw-fused"),
    (r"adafactor", "adafactor"), (r"momentum", "sgd-momentum"), (r"sgd", "sgd"), (r"", "adamw"),
)  # fmt: skip
"""The optimizer that a name names, the first that fits."""


def trained(row: Row) -> int:
    """The peak of a run of one's own with transformers on one GPU, in bytes."""
    name = str(row["recipe"]).lower()
    rank = re.search(r"-r(\d+)", name)
    recipe = Recipe(
        method=method_of(name),  # type: ignore[arg-type]
        precision=_precision(name),  # type: ignore[arg-type]
        optimizer=next(optimizer for pattern, optimizer in OPTIMIZERS if re.search(pattern, name)),
        sharding="none",
        micro_batch=int(row.get("micro_batch") or 1),
        sequence=int(row["seq"]),
        checkpointing=bool(row.get("ckpt")),
        lora_rank=int(rank[1]) if rank else 16,
    )
    return allocated(_model(row), recipe)


def inferred(row: Row) -> int:
    """The peak of a forward pass with transformers, in bytes."""
    return prefill(_model(row), int(row["seq"]) * int(row.get("micro_batch") or 1))


ANSWERS: dict[str, Callable[[Row], object]] = {
    "training_states": states,
    "training_measured": measured,
    "training_rule_of_thumb": rule_of_thumb,
    "activation_theory": theory,
    "train": trained,
    "infer": inferred,
    "context": lambda _: CONTEXT,
}
