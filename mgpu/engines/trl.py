"""TRL's trainers (sft, dpo, grpo and others) by its command line. Facts read from trl 1.16.0 and run with its parsers.

What the trainer does not know goes on to accelerate, so `args` holds the flags of both. A preset of accelerate_config
asks for 8 processes and must be a word of its own: `--accelerate_config=zero2` is refused (cli/accelerate_config.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mgpu.catalog import accelerate
from mgpu.memory.recipes import finished, number, of_accelerate, of_file, of_trainer, on, targets
from mgpu.memory.trainings import Lever, levers, trained
from mgpu.values.engine import Complaint, Engine, Spelling, asked_ranks
from mgpu.values.flag import plain
from mgpu.values.plan import Task
from mgpu.values.said import said, written
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob
    from mgpu.values.recipe import Recipe

PRESETS = ("fsdp1", "fsdp2", "multi_gpu", "single_gpu", "zero1", "zero2", "zero3")
TRAINERS = ("distillation", "dpo", "grpo", "kto", "reward", "rloo", "sft")


def check(job: Job) -> Iterable[Complaint]:
    """A trainer that there is, and a preset that starts as many processes as were asked for."""
    if job.trainer not in TRAINERS:
        yield Complaint(f"trl has no trainer {job.trainer}", ("trainer",), f"one of: {', '.join(TRAINERS)}")
    yield from accelerate.complaints(job)
    yield from precisions(job)
    preset, count = said(job, "accelerate_config"), asked_ranks(job)
    if preset == "single_gpu" and count != 1:
        message = "the preset single_gpu starts one process, whatever number is asked for"
        yield Complaint(message, ("args", "accelerate_config"), "remove it, or gpus: 1")
    if isinstance(preset, str) and preset not in PRESETS and "." not in preset and "/" not in preset:
        message = f"trl has no accelerate_config {preset}, and it is no path of a file"
        yield Complaint(message, ("args", written(job, "accelerate_config")), f"one of: {', '.join(PRESETS)}")
    shared = accelerate.way(job)
    if preset and shared:
        yield Complaint(f"the preset {preset} says already how ranks share a model", ("args",), "keep one of them")


def precisions(job: Job) -> Iterable[Complaint]:
    """The trainer's precision wins over that of the launch (transformers/training_args.py), which is not told."""
    launch = said(job, "mixed_precision")
    for name in ("bf16", "fp16"):
        if said(job, name) is True and launch in ("bf16", "fp16") and launch != name:
            message = f"{name} is on, and mixed_precision says {launch}: the trainer takes {name}"
            yield Complaint(message, ("args", written(job, "mixed_precision")), "keep one of them", key=True)


def files(task: Task) -> Mapping[str, Any]:
    """accelerate's config file, where the spec names none: a default one is read otherwise."""
    return {} if said(task.job, "accelerate_config") else {accelerate.FILE: accelerate.settings(task, None)}


def variables(task: Task) -> Mapping[str, Any]:
    """The flags of the launch; a preset says how the ranks work together, and another flag would take its place."""
    known, own = accelerate.variables(task), not said(task.job, "accelerate_config")
    return {**known, "own": own, "launch": known["launch"] if own else None}


AT = {
    "checkpointing": Lever(("args", "gradient_checkpointing"), True),
    "loss": Lever(("args", "use_liger_kernel"), True),
    "optimizer": Lever(("args", "optim"), "adamw_bnb_8bit"),
    "micro_batch": Lever(("args", "per_device_train_batch_size")),
    "sequence": Lever(("args", "max_length")),
    "method": Lever(("args", "use_peft"), True),
}


def recipe(job: Job) -> Recipe:
    """What the flags say. A model is loaded in fp32 unless dtype says otherwise; bf16 and checkpointing are on (trl
    1.16)."""
    given = {plain(name).replace("-", "_"): value for name, value in job.args.items()}
    half = given.get("dtype") in ("bfloat16", "float16")
    start = {"bf16": True, "gradient_checkpointing": True, **given}
    found = of_trainer(start, asked_ranks(job) or 2, precision="bf16" if half else "fp32")
    found = replace(
        found,
        micro_batch=number(given.get("per_device_train_batch_size"), 8),
        method="full" if not on(given.get("use_peft")) else "qlora" if on(given.get("load_in_4bit")) else "lora",
        sequence=number(given.get("max_length"), 1024),
        lora_rank=number(given.get("lora_r"), 16),
        adapted=targets(given.get("lora_target_modules"), ("q", "v")),
    )
    preset = of_file(found, given.get("accelerate_config"))
    flags = {plain(name): value for name, value in job.args.items()}
    return finished(of_accelerate(preset, job.config, flags), job)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes them take less."""
    return levers(recipe(task.job), AT)


def model(job: Job) -> str | None:
    """What it trains, or what `model` says that is."""
    named = said(job, "model_name_or_path")
    return str(named) if named else job.model


ENGINE = Engine(
    name="trl",
    kinds=("training",),
    version="1.16.0",
    image="huggingface/trl:{version}",
    package="trl",
    dimensions=("data",),
    takes=frozenset(("args", "parallel", "version", "model", "recipe")),
    requires=frozenset(("trainer",)),
    lists={"args": "trl"},
    owned={**accelerate.OWNED, "config_file": "accelerate_config"},
    rendezvous=True,
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    check=check,
    files=files,
    variables=variables,
    environment=accelerate.environment,
    memory=trained(recipe),
    recipe=recipe,
    knobs=knobs,
    model=model,
)
