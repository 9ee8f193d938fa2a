"""Axolotl, which fine-tunes language models from one YAML file. Facts from its repository at 067b021c (0.18.0).

torchrun starts the ranks: its flags stand behind a lone ``--``. How they share the model is said in the YAML alone, and
Axolotl sets accelerate's variables from it. In a container the spec's folder is not /workspace: Axolotl's own code is
there in its images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from mgpu.memory.recipes import finished, number, of_file, of_fsdp, of_trainer, on, targets
from mgpu.memory.trainings import Lever, levers, trained
from mgpu.values.engine import Complaint, Engine, Spelling, asked_ranks, ranks, threads
from mgpu.values.plan import Task
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob
    from mgpu.values.recipe import Recipe

FILE = "axolotl.yaml"
SIZES = ("tensor_parallel_size", "context_parallel_size", "dp_shard_size", "dp_replicate_size")


def check(job: Job) -> Iterable[Complaint]:
    """What its validation refuses once everything is imported, and sizes that are no number of GPUs."""
    config = job.config
    for name in ("base_model", "datasets"):
        if name not in config and not (name == "datasets" and "pretraining_dataset" in config):
            yield Complaint(f"{name} is missing: Axolotl needs it", ("config",), f"add {name}:", key=True)
    if isinstance(config.get("datasets"), (str, Mapping)):
        message = "datasets wants a list of data sets, each a mapping"
        yield Complaint(message, ("config", "datasets"), "datasets: [{path: ..., type: alpaca}]")
    sharded = next((name for name in ("fsdp_config", "fsdp") if config.get(name)), None)
    if config.get("deepspeed") and sharded == "fsdp_config":
        yield Complaint("deepspeed and fsdp_config exclude each other", ("config", sharded), "keep one", key=True)
    if (_size(job, "dp_shard_size") or 1) > 1 and not sharded:
        message = "dp_shard_size shards with FSDP, and there is no fsdp_config"
        yield Complaint(message, ("config", "dp_shard_size"), "add fsdp_config:", key=True)
    if count := asked_ranks(job):
        yield from _sizes(job, count)


def fits(task: Task) -> Iterable[Complaint]:
    """The sizes, where the machine decides how many GPUs there are."""
    return _sizes(task.job, ranks(task.layout)) if asked_ranks(task.job) is None else ()


def _sizes(job: Job, count: int) -> Iterator[Complaint]:
    """The parallel sizes multiply to a divisor of the ranks; what is left goes to the shards, or to the replicas where
    the shards are said (loaders/model.py, _get_parallel_config_kwargs, which rounds down and then builds a mesh)."""
    given = {name: size for name in SIZES if (size := _size(job, name)) and size > 1}
    product = prod(given.values())
    filled = "dp_shard_size" not in given or "dp_replicate_size" not in given
    if count % product or (product != count and not filled):
        words = " x ".join(f"{name} {size}" for name, size in given.items())
        message = f"{words} is {product}, and the job has {count} GPU{'s' if count > 1 else ''}"
        yield Complaint(message, ("config", next(iter(given))), f"gpus: {product}", key=True)


def _size(job: Job, name: str) -> int | None:
    size = job.config.get(name)
    return size if isinstance(size, int) and not isinstance(size, bool) else None


def variables(task: Task) -> Mapping[str, Any]:
    """One rank a GPU."""
    return {"ranks": ranks(task.layout)}


def files(task: Task) -> Mapping[str, Any]:
    """The YAML."""
    return {FILE: task.job.config}


AT = {
    "checkpointing": Lever(("config", "gradient_checkpointing"), True),
    "loss": Lever(("config", "liger_fused_linear_cross_entropy"), True),
    "optimizer": Lever(("config", "optimizer"), "adamw_bnb_8bit"),
    "micro_batch": Lever(("config", "micro_batch_size")),
    "sequence": Lever(("config", "sequence_len")),
    "method": Lever(("config", "adapter"), "lora"),
}


def recipe(job: Job) -> Recipe:
    """What the YAML says, by its own names, else those of the Trainer; bf16 loads the model itself in bf16, and is on
    where neither it nor fp16 is said (axolotl 0.18, utils/config and utils/schemas/config.py)."""
    config = job.config
    kind = config.get("adapter")
    half = on(config.get("bf16", not on(config.get("fp16")))) or on(config.get("bfloat16"))
    found = of_trainer(
        {**config, "per_device_train_batch_size": config.get("micro_batch_size"), "optim": config.get("optimizer")},
        asked_ranks(job) or 2,
        precision="bf16" if half else "amp" if on(config.get("fp16")) else "fp32",
    )
    liger = on(config.get("liger_fused_linear_cross_entropy")) or on(config.get("cut_cross_entropy"))
    found = replace(
        found,
        method="full" if kind not in ("lora", "qlora") else "qlora" if config.get("load_in_4bit") else "lora",
        sequence=number(config.get("sequence_len"), 2048),
        lora_rank=number(config.get("lora_r"), 8),
        adapted=targets("all" if config.get("lora_target_linear") else config.get("lora_target_modules"), ("q", "v")),
        loss="fused" if liger else found.loss,
    )
    if config.get("fsdp_config") or config.get("fsdp"):
        section = config.get("fsdp_config")
        found = of_fsdp(found, section if isinstance(section, Mapping) else {})
    return finished(of_file(found, config.get("deepspeed")), job)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes them take less."""
    return levers(recipe(task.job), AT)


def model(job: Job) -> str | None:
    """What it trains, or what `model` says that is."""
    return str(job.config["base_model"]) if "base_model" in job.config else job.model


ENGINE = Engine(
    name="axolotl",
    kinds=("training",),
    version="0.18.0",
    image="axolotlai/axolotl:{version}",
    package="axolotl",
    dimensions=("data",),
    takes=frozenset(("args", "parallel", "version", "model", "recipe")),
    requires=frozenset(("config",)),
    lists={"args": "axolotl-train", "config": "axolotl"},
    owned={"launcher": "nothing: torchrun starts the ranks", "cloud": "nothing: it runs here"},
    config=FILE,
    workspace="/workspace/data",
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    spelling=Spelling(negation="--no-{}", equals=True),
    check=check,
    fits=fits,
    files=files,
    variables=variables,
    environment=threads,
    memory=trained(recipe),
    recipe=recipe,
    knobs=knobs,
    model=model,
)
