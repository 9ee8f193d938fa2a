"""LLaMA-Factory, which fine-tunes language models from one YAML file. Facts from hiyouga/LLaMA-Factory at ff6d4d12.

It starts itself again with torchrun and takes what that is told from the environment. Its command line is joined with
spaces and split again on the way, so everything is in the YAML, and the path of that must have no space
(src/llamafactory/launcher.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mgpu.memory.recipes import finished, number, of_file, of_trainer, on, targets
from mgpu.memory.trainings import Lever, levers, trained
from mgpu.values.engine import Complaint, Engine, asked_ranks, ranks, threads
from mgpu.values.plan import Task
from mgpu.values.spec import Job

if TYPE_CHECKING:
    from mgpu.values.memory import Knob
    from mgpu.values.recipe import Recipe

FILE = "llamafactory.yaml"


def check(job: Job) -> Iterable[Complaint]:
    """What its parser refuses, and a training that trains nothing."""
    config = job.config
    for name in ("model_name_or_path", "output_dir"):
        if name not in config:
            yield Complaint(f"{name} is missing: LLaMA-Factory needs it", ("config",), f"add {name}:", key=True)
    if not any(config.get(name) for name in ("do_train", "do_eval", "do_predict")):
        message = "without do_train the model is loaded, and nothing is trained"
        yield Complaint(message, ("config",), "add do_train: true", key=True, warning=True)
    if config.get("deepspeed") and config.get("fsdp"):
        yield Complaint("deepspeed and fsdp exclude each other", ("config", "fsdp"), "keep one", key=True)


def environment(task: Task) -> Mapping[str, str]:
    """torchrun always, with one GPU too: DeepSpeed wants it there. The ranks meet at a port of the job's own; that one
    is there for a single machine stops what the environment may hold of several."""
    return {
        **threads(task),
        "FORCE_TORCHRUN": "1",
        "NNODES": "1",
        "NODE_RANK": "0",
        "NPROC_PER_NODE": str(ranks(task.layout)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(task.rendezvous),
    }


def files(task: Task) -> Mapping[str, Any]:
    """The YAML."""
    return {FILE: task.job.config}


AT = {
    "loss": Lever(("config", "enable_liger_kernel"), True),
    "optimizer": Lever(("config", "optim"), "adamw_bnb_8bit"),
    "micro_batch": Lever(("config", "per_device_train_batch_size")),
    "sequence": Lever(("config", "cutoff_len")),
    "method": Lever(("config", "finetuning_type"), "lora"),
}
"""Gradient checkpointing is on unless it is switched off."""


def recipe(job: Job) -> Recipe:
    """What the YAML says. Weights that are trained are in fp32, unless pure_bf16 says otherwise; those that an adapter
    leaves frozen stay in the 16 bits of the model, whatever bf16 says (src/llamafactory/model: patcher.py, adapter.py).
    """
    config = job.config
    pure = on(config.get("pure_bf16"))
    found = of_trainer(config, asked_ranks(job) or 2, precision="bf16" if pure else "fp32", checkpointing=True)
    bits, kind = config.get("quantization_bit"), config.get("finetuning_type", "lora")
    found = replace(
        found,
        method="full" if kind != "lora" else "qlora" if bits == 4 else "lora",
        precision="amp" if kind == "lora" and found.precision == "fp32" else found.precision,
        sequence=number(config.get("cutoff_len"), 2048),
        lora_rank=number(config.get("lora_rank"), 8),
        adapted=targets(config.get("lora_target", "all"), ("q", "v")),
        checkpointing=not on(config.get("disable_gradient_checkpointing")),
        loss="fused" if on(config.get("enable_liger_kernel")) else found.loss,
    )
    return finished(of_file(of_file(found, config.get("deepspeed")), config.get("fsdp") and "fsdp"), job)


def knobs(task: Task) -> Iterable[Knob]:
    """What makes them take less."""
    return levers(recipe(task.job), AT)


def model(job: Job) -> str | None:
    """What it trains, or what `model` says that is."""
    named = job.config.get("model_name_or_path")
    return str(named) if named else job.model


ENGINE = Engine(
    name="llamafactory",
    kinds=("training",),
    version="0.9.6",
    image="hiyouga/llamafactory:{version}",
    package="llamafactory",
    dimensions=("data",),
    takes=frozenset(("parallel", "version", "model", "recipe")),
    requires=frozenset(("config",)),
    lists={"config": "llamafactory"},
    config=FILE,
    rendezvous=True,
    shm=8 * 2**30,
    cache="/cache/huggingface",
    stop_grace=30.0,
    check=check,
    files=files,
    environment=environment,
    memory=trained(recipe),
    recipe=recipe,
    knobs=knobs,
    model=model,
)
