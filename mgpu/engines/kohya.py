"""Kohya's sd-scripts, which train LoRAs and whole image models. Facts from kohya-ss/sd-scripts at 48d368fa (v0.10.1).

The scripts start no ranks: accelerate does, and its flags are `args`. Those of the script are `script_args`, among them
the precision: the script hands its own to accelerate, so the launch gets the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mgpu.catalog import accelerate
from mgpu.values.engine import Complaint, Engine, Spelling, asked_ranks, ranks
from mgpu.values.flag import plain
from mgpu.values.plan import Task
from mgpu.values.spec import Job

STEPS = 1600
"""What max_train_steps is where nobody says it."""


def script_flag(job: Job, name: str) -> Any:
    """What the script is given for this flag, with hyphens or underscores; None where its arguments are words."""
    given = job.script_args.items() if isinstance(job.script_args, Mapping) else ()
    return next((value for flag, value in given if plain(flag) == plain(name)), None)


def check(job: Job) -> Iterable[Complaint]:
    """What the scripts refuse once the models are loaded, and the samples of several GPUs."""
    yield from accelerate.complaints(job)
    if script_flag(job, "log_with") in ("tensorboard", "all") and not script_flag(job, "logging_dir"):
        yield Complaint("log_with needs a folder", ("script_args", "log_with"), "add logging_dir:", key=True)
    if script_flag(job, "blocks_to_swap") and script_flag(job, "cpu_offload_checkpointing"):
        message = "blocks_to_swap and cpu_offload_checkpointing exclude each other"
        yield Complaint(message, ("script_args", "cpu_offload_checkpointing"), "keep one", key=True)
    if count := asked_ranks(job):
        yield from _samples(job, count)


def fits(task: Task) -> Iterable[Complaint]:
    """The samples, where the machine decides how many GPUs there are."""
    return _samples(task.job, ranks(task.layout)) if asked_ranks(task.job) is None else ()


def _samples(job: Job, count: int) -> Iterator[Complaint]:
    """Steps are counted per optimizer step, and each takes a batch on every GPU: with the steps of one GPU, n of them
    train on n times the samples in the same time (kohya-ss/sd-scripts#1118, bmaltais/kohya_ss#2844)."""
    if count < 2 or script_flag(job, "max_train_epochs") or not isinstance(job.script_args, Mapping):
        return
    given = script_flag(job, "max_train_steps")
    steps = given if isinstance(given, int) else STEPS
    said = f"{steps} steps on {count} GPUs are the samples of {count * steps} steps on one"
    name = next((flag for flag in job.script_args if plain(flag) == "max-train-steps"), None)
    path = ("script_args", name) if name else ("script_args",)
    hint = f"for those of {steps} on one: max_train_steps: {-(-steps // count)}, or max_train_epochs"
    yield Complaint(said, path, hint, key=True, warning=True)


def precision(job: Job) -> str:
    """That of the script; the scripts' own default is none."""
    return str(script_flag(job, "mixed_precision") or "no")


def variables(task: Task) -> Mapping[str, Any]:
    """The flags of the launch."""
    return {**accelerate.variables(task), "precision": precision(task.job)}


def files(task: Task) -> Mapping[str, Any]:
    """accelerate's config file: without one of the job's own it would read what lies in HF_HOME."""
    return {accelerate.FILE: accelerate.settings(task, precision(task.job))}


ENGINE = Engine(
    name="kohya",
    kinds=("training",),
    version="0.10.1",
    dimensions=("data",),
    takes=frozenset(("script_args", "args", "parallel", "version", "model")),
    requires=frozenset(("script",)),
    lists={"args": accelerate.LIST, "script_args": "kohya"},
    owned={**accelerate.OWNED, "mixed_precision": "script_args: {mixed_precision: ...}"},
    rendezvous=True,
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation=None, equals=True),
    check=check,
    fits=fits,
    files=files,
    variables=variables,
    environment=accelerate.environment,
)
