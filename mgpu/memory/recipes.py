"""What a training job says of itself in its engine's own words in, a Recipe out.

Settings are plain data by the names that Hugging Face's Trainer and those around it share. What `recipe:` says in the
spec wins over all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mgpu.values.flag import plain
from mgpu.values.recipe import MATRICES, Precision, Recipe, Sharding
from mgpu.values.spec import Job

Settings = Mapping[str, Any]
OPTIMIZERS = {
    "adamw_torch": "adamw", "adamw": "adamw", "adamw_torch_fused": "adamw-fused", "fusedadam": "adamw-fused",
    "adam": "adamw-fused", "adamw_bnb_8bit": "adamw-8bit", "adamw_8bit": "adamw-8bit", "adamw8bit": "adamw-8bit",
    "ademamix_8bit": "adamw-8bit", "paged_adamw_32bit": "paged-adamw", "paged_adamw": "paged-adamw",
    "paged_adamw_8bit": "paged-adamw-8bit", "pagedadamw8bit": "paged-adamw-8bit", "adafactor": "adafactor",
    "lion_32bit": "lion", "lion": "lion", "lion_8bit": "lion-8bit", "lion8bit": "lion-8bit", "sgd": "sgd",
}  # fmt: skip
"""Optimizers by the names of transformers 5.17 (OptimizerNames), DeepSpeed and Kohya, in small letters."""
UNUSUAL = "adamw"
"""What a name that is not among them is taken for: two states of each weight are the most that usual ones keep."""


def finished(recipe: Recipe, job: Job) -> Recipe:
    """With what the spec's `recipe` says in its place."""
    return replace(recipe, **job.recipe)


def optimizer(name: Any, otherwise: str = "adamw-fused") -> str:
    """An optimizer by its name; nothing said is `otherwise`: transformers 5 takes the fused AdamW."""
    return OPTIMIZERS.get(str(name).lower(), UNUSUAL) if name else otherwise


def targets(named: Any, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """The matrices that a list, a text with commas, or a word for all of them names."""
    words = named.split(",") if isinstance(named, str) else list(named or ())
    if any(str(word).strip() in ("all", "all-linear") for word in words):
        return MATRICES
    known = tuple(name for name in MATRICES if any(plain(str(word)).strip() == f"{name}-proj" for word in words))
    return known or otherwise


def number(value: Any, otherwise: int) -> int:
    """A whole number of at least one, or what stands for it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else otherwise


def on(value: Any) -> bool:
    """Whether a switch is on: true, or a word that means it."""
    return value is True or str(value).lower() in ("true", "auto", "1", "yes", "unsloth", "offload")


def alone(job_ranks: int) -> Sharding:
    """Without sharding: Hugging Face's launchers wrap a model with DDP only where there are several ranks."""
    return "ddp" if job_ranks > 1 else "none"


def of_deepspeed(recipe: Recipe, config: Settings) -> Recipe:
    """With what DeepSpeed's own config says: stage, offload, precision, micro batch (deepspeed 0.19.8)."""
    zero = _section(config, "zero_optimization")
    stage = number(zero.get("stage"), 0)
    half = any(on(_section(config, name).get("enabled")) for name in ("bf16", "bfloat16", "fp16"))
    named = _section(config, "optimizer").get("type")
    return replace(
        recipe,
        precision="amp" if half else recipe.precision,
        native=half,
        sharding=_stage(stage),
        optimizer=optimizer(named, recipe.optimizer),
        micro_batch=number(config.get("train_micro_batch_size_per_gpu"), recipe.micro_batch),
        accumulation=number(config.get("gradient_accumulation_steps"), recipe.accumulation),
        bucket=number(zero.get("reduce_bucket_size"), recipe.bucket),
        overlap=on(zero.get("overlap_comm", stage == 3)),
        offload_optimizer=_away(_section(zero, "offload_optimizer").get("device")),
        offload_parameters=_away(_section(zero, "offload_param").get("device")),
    )


def of_accelerate(recipe: Recipe, config: Settings, flags: Settings) -> Recipe:
    """With what accelerate's config file, or its flags by their plain names, say of sharding (accelerate 1.15.0)."""
    mixed = str(flags.get("mixed-precision") or config.get("mixed_precision") or "no")
    precision: Precision = "amp" if mixed in ("bf16", "fp16", "fp8") else recipe.precision
    recipe = replace(recipe, precision=precision)
    deepspeed = _section(config, "deepspeed_config")
    if deepspeed or on(flags.get("use-deepspeed")):
        given = {plain(str(name)): value for name, value in {**flags, **deepspeed}.items()}
        return replace(
            recipe,
            native=precision == "amp",
            sharding=_stage(number(given.get("zero-stage"), 2)),
            offload_optimizer=_away(given.get("offload-optimizer-device")),
            offload_parameters=_away(given.get("offload-param-device")),
            accumulation=number(given.get("gradient-accumulation-steps"), recipe.accumulation),
        )
    if "fsdp_config" in config or on(flags.get("use-fsdp")):
        return of_fsdp(recipe, {**flags, **_section(config, "fsdp_config")})
    return recipe


def of_fsdp(recipe: Recipe, section: Settings) -> Recipe:
    """With what a section on FSDP says, with or without `fsdp_` before its names."""
    given = {plain(str(name)).removeprefix("fsdp-"): value for name, value in section.items()}
    kept = given.get("reshard-after-forward", True)
    words = f"{given.get('sharding-strategy', '')} {kept}".upper()
    away = on(given.get("offload-params"))
    return replace(
        recipe,
        sharding="shard-grad-op" if "SHARD_GRAD_OP" in words or kept is False or "NO_SHARD" in words else "fsdp",
        offload_parameters=away,
        offload_optimizer=away,
        checkpointing=recipe.checkpointing or on(given.get("activation-checkpointing")),
    )


def of_file(recipe: Recipe, name: Any) -> Recipe:
    """With what the name of a DeepSpeed config or of a preset tells: zero1, zero2, zero3_offload, fsdp2."""
    if isinstance(name, Mapping):
        return of_deepspeed(recipe, name)
    text = str(name or "").lower()
    if found := re.search(r"z(?:ero)?[-_]?([0-3])", text):
        away = "offload" in text
        parameters = away and found[1] == "3"
        sharding = _stage(int(found[1]))
        return replace(
            recipe,
            precision="amp",
            native=True,
            sharding=sharding,
            offload_optimizer=away,
            offload_parameters=parameters,
        )
    return replace(recipe, sharding="fsdp") if "fsdp" in text else recipe


def of_trainer(given: Settings, ranks: int, **defaults: Any) -> Recipe:
    """What Hugging Face's TrainingArguments say (transformers 5.17), with an engine's `defaults` where they are
    silent."""
    recipe = Recipe(sharding=alone(ranks), optimizer=optimizer(given.get("optim")), **defaults)
    precision: Precision = recipe.precision
    for name in ("bf16", "fp16"):
        if on(given.get(name)):
            precision = "bf16" if precision == "bf16" else "amp"
    return replace(
        recipe,
        precision=precision,
        micro_batch=number(given.get("per_device_train_batch_size"), recipe.micro_batch),
        accumulation=number(given.get("gradient_accumulation_steps"), recipe.accumulation),
        checkpointing=on(given.get("gradient_checkpointing", recipe.checkpointing)),
        loss="fused" if on(given.get("use_liger_kernel")) else recipe.loss,
        compile=on(given.get("torch_compile")),
        backward_step=on(given.get("optimizer_in_backward")),
        attention="eager" if given.get("attn_implementation") == "eager" else "flash",
    )


def _stage(stage: int) -> Sharding:
    found: tuple[Sharding, ...] = ("none", "zero-1", "zero-2", "zero-3")
    return found[min(stage, 3)]


def _away(device: Any) -> bool:
    return device in ("cpu", "nvme")


def _section(config: Settings, name: str) -> Settings:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}
