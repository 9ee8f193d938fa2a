"""Kohya's sd-scripts, which train LoRAs and whole image models. Facts from kohya-ss/sd-scripts at 48d368fa (v0.10.1).

The scripts start no ranks: accelerate does, and its flags are `args`. Those of the script are `script_args`, among them
the precision: the script hands its own to accelerate, so the launch gets the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mgpu.catalog import accelerate
from mgpu.memory.recipes import number, on
from mgpu.values.engine import Complaint, Engine, Spelling, asked_ranks, ranks
from mgpu.values.flag import plain
from mgpu.values.memory import Estimate, Knob, Unknown
from mgpu.values.plan import Task
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Correction
    from mgpu.values.model import Model

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


def model(job: Job) -> str | None:
    """What it trains, or what `model` says that is."""
    named = script_flag(job, "pretrained_model_name_or_path")
    return str(named) if named else job.model


def memory(task: Task, model: Model | None, _: Sequence[Correction]) -> tuple[Estimate, ...] | Unknown:
    """What a training of an image model takes, by its components: every GPU holds all of it."""
    from mgpu.memory.image_training import Drawing, lines

    if model is None:
        return Unknown("the sizes of the model that is trained are not known", "add model: sdxl-base, or the like")
    job = task.job
    drawing = Drawing(
        width=1.0 if script_flag(job, "fp8_base") else 4.0 if precision(job) == "no" else 2.0,
        rank=number(script_flag(job, "network_dim"), 4),
        trained=8 if "8bit" in str(script_flag(job, "optimizer_type")).lower() else 16,
        batch=number(script_flag(job, "train_batch_size"), 1),
        megapixels=_megapixels(script_flag(job, "resolution"), model),
        checkpointing=on(script_flag(job, "gradient_checkpointing")),
        latents=on(script_flag(job, "cache_latents")),
        texts=on(script_flag(job, "cache_text_encoder_outputs")),
        full=not script_flag(job, "network_module"),
    )
    try:
        found = lines(model, drawing)
    except ValueError as error:
        return Unknown(str(error))
    return tuple(Estimate(gpu.index, found, gpu.free) for gpu in task.gpus)


def _megapixels(resolution: Any, model: Model) -> float:
    """Of ``1024,1024`` or ``1024``; where the data's own file says it, what the model was made for."""
    sides = [int(side) for side in str(resolution or "").replace(" ", "").split(",") if side.isdigit()]
    usual = 512 if model.id.startswith("sd-1") else 1024
    first = sides[0] if sides else usual
    return first * (sides[1] if len(sides) > 1 else first) / 1024**2


def knobs(task: Task) -> Iterable[Knob]:
    """What makes it take less."""
    job, named = task.job, ("script_args",)
    if not isinstance(job.script_args, Mapping):
        return
    if not on(script_flag(job, "gradient_checkpointing")):
        yield Knob((*named, "gradient_checkpointing"), True, "gradient checkpointing: about a third more computing", 1)
    if not on(script_flag(job, "cache_latents")):
        yield Knob((*named, "cache_latents"), True, "images encoded once, and the VAE off the GPU", 0)
    if "8bit" not in str(script_flag(job, "optimizer_type")).lower():
        yield Knob((*named, "optimizer_type"), "AdamW8bit", "an optimizer whose states have 8 bits", 4)
    if number(script_flag(job, "train_batch_size"), 1) > 1:
        half = number(script_flag(job, "train_batch_size"), 1) // 2
        yield Knob((*named, "train_batch_size"), half, f"{half} samples at once", 1)


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
    memory=memory,
    knobs=knobs,
    model=model,
)
