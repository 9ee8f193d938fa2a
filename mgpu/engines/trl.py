"""TRL's trainers (sft, dpo, grpo and others) by its command line. Facts read from trl 1.16.0 and run with its parsers.

What the trainer does not know goes on to accelerate, so `args` holds the flags of both. A preset of accelerate_config
asks for 8 processes and must be a word of its own: `--accelerate_config=zero2` is refused (cli/accelerate_config.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mgpu.catalog import accelerate
from mgpu.values.engine import Complaint, Engine, Spelling, asked_ranks, said, written
from mgpu.values.plan import Task
from mgpu.values.spec import Job

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


ENGINE = Engine(
    name="trl",
    kinds=("training",),
    version="1.16.0",
    image="huggingface/trl:{version}",
    package="trl",
    dimensions=("data",),
    takes=frozenset(("args", "parallel", "version", "model")),
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
)
